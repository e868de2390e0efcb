"""Where a clip is set, how it is drawn and where its subject stands.

These are facts like any other: captions tell them, they are read back from
pixels, and an edit of the setting can be scored. Grounds are dull, so that
saturation alone tells an object from what is around it.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
from typing import Any

import numpy as np

from sora_jax.worlds import facts as facts_lib
from sora_jax.worlds import lexicon

# Setting -> its colours: most of the ground, and what is on it.
GROUNDS = {
    "hall": ((122, 122, 124), (106, 106, 109)),
    "jungle": ((40, 58, 44), (58, 80, 58)),
    "night": ((18, 20, 38), (200, 200, 192)),
    "snow": ((230, 233, 238), (208, 215, 226)),
    "sand": ((206, 192, 166), (186, 172, 146)),
}
INKS = ((16, 16, 18), (238, 238, 238))  # on light grounds and on dark ones
SETTINGS = tuple(GROUNDS)
DARK = ("jungle", "night")
STYLES = ("flat", "outlined", "pixelated")
PLACES = ("centre", "left third", "right third", "left edge", "right edge")
EDGE = 0.03  # of a subject near an edge: its distance to it, in short sides
SHORTEST_SIDE = 48  # pixels
LONGEST = 21 / 9  # the greatest aspect
HIDDEN = (4, 8, 16, 24)  # frames out of sight
RAMP = 6  # the most frames of going off and of coming back
CONTRAST = 80  # the least distance from a wall's colour to the ground's
BLOCKS = 32  # blocks of a pixelated clip along its short side
OPTIONS: dict[str, tuple] = {"setting": SETTINGS, "style": STYLES}

WORDS: dict[str, dict[str, lexicon.Phrases]] = {
    "setting": {
        "hall": (("in a grey hall", "in a tiled grey hall"), ("在灰色大厅里",)),
        "jungle": (("in a jungle", "in the jungle"), ("在丛林里", "在丛林中")),
        "night": (("at night", "under the night sky"), ("在夜里", "在夜空下")),
        "snow": (("in snow", "in the snow"), ("在雪地里", "在雪中")),
        "sand": (("on sand", "on the sand"), ("在沙地上", "在沙滩上")),
    },
    "style": {
        "flat": (("in a flat style", "drawn in flat colours"), ("扁平风格",)),
        "outlined": (("in an outlined style", "drawn with outlines"),
                     ("描边风格",)),
        "pixelated": (("in a pixelated style", "drawn in large pixels"),
                      ("像素风格",)),
    },
    "place": {
        "centre": (("in the middle of the frame", "at the centre of the frame"),
                   ("画面中间",)),
        "left third": (("on the left third of the frame",), ("画面左侧三分之一处",)),
        "right third": (("on the right third of the frame",),
                        ("画面右侧三分之一处",)),
        "left edge": (("near the left edge of the frame",), ("靠近画面左边缘",)),
        "right edge": (("near the right edge of the frame",), ("靠近画面右边缘",)),
        "apart": (("far apart", "at the two sides of the frame"), ("相距很远",)),
    },
}


@dataclasses.dataclass(frozen=True)
class Scene:
  """Setting, style and composition.

  Attributes:
    setting: a name in SETTINGS.
    style: a name in STYLES.
    place: where the subject stands at first: in PLACES, "apart" of two
      subjects, "" where the world does not say.
    shift: which part of the ground is seen, in short sides.
  """

  setting: str
  style: str
  place: str = ""
  shift: float = 0.0


def draw(rng: np.random.Generator, setting: str | None, style: str | None,
         places: Sequence[str] = ("",)) -> Scene:
  """A scene, with the setting and style that were asked for.

  Raises:
    ValueError: an unknown setting or style.
  """
  ground, way = facts_lib.pick(rng, SETTINGS), facts_lib.pick(rng, STYLES)
  for name, asked in (("setting", setting), ("style", style)):
    if asked not in (None, *OPTIONS[name]):
      raise ValueError(f"{name}={asked!r}: there are "
                       f"{', '.join(OPTIONS[name])}")
  return Scene(setting or ground, style or way, facts_lib.pick(rng, places),
               float(rng.uniform(0, 8)))


def check(size: tuple[int, int], frames: int, fps: float, fewest: int
          ) -> tuple[float, float]:
  """The aspect (width, height) in short sides of a clip that can be drawn.

  Args:
    size: (W, H) in pixels.
    frames: the number of frames; an image can always be drawn.
    fps: frames per second.
    fewest: the frames that a video of the world needs.

  Raises:
    ValueError: a frame that is too small or too long, or too few frames.
  """
  aspect, (width, height) = facts_lib.frame_aspect(size), size
  if min(size) < SHORTEST_SIDE:
    raise ValueError(f"size {width}x{height}: this world needs a short side of "
                     f"{SHORTEST_SIDE} pixels or more")
  if max(aspect) > LONGEST + 0.1:
    raise ValueError(f"size {width}x{height}: this world is drawn from 9:21 to "
                     "21:9")
  facts_lib.duration(frames, fps, False)
  if 1 < frames < fewest:
    raise ValueError(f"frames={frames}: this world needs {fewest} or more, or "
                     "one (an image)")
  return aspect


def across(place: str, width: float, half: float) -> float:
  """The x of a subject `half` wide to each side, in a frame of `width`."""
  near = half + EDGE
  x = {"centre": width / 2, "left third": width / 3,
       "right third": width * 2 / 3, "left edge": near,
       "right edge": width - near}[place]
  return min(max(x, near), width - near)


def places(width: float, half: float) -> tuple[str, ...]:
  """The places that can be told apart for a subject of that width."""
  third = across("left third", width, half)
  far = third - (half + EDGE) > 0.09 and width / 2 - third > 0.09
  return PLACES if far else ("centre", "left edge", "right edge")


def window(rng: np.random.Generator, frames: int, asked: int | None) -> int:
  """How many of the frames something is out of sight, in the middle of a clip.

  Args:
    rng: the source of what is drawn.
    frames: of the clip.
    asked: the number, drawn from HIDDEN by default.

  Raises:
    ValueError: a number that leaves too little before and after.
  """
  fits = [n for n in HIDDEN if frames - n >= max(5, 0.4 * frames)]
  drawn = facts_lib.pick(rng, fits or (0,))
  if asked is not None and (asked < 1 or frames - asked < 5):
    raise ValueError(f"hidden={asked}: of {frames} frames 1 to {frames - 5} can "
                     "be hidden")
  return asked or drawn


def off_and_back(frames: int, hidden: int, ramp: int = RAMP
                 ) -> tuple[list[float], list[float]]:
  """Knots (frames, way from 0 to 1) of what goes off, stays away, comes back.

  Args:
    frames: of the clip.
    hidden: the frames in which it is away.
    ramp: the most frames of going off and of coming back.
  """
  first = (frames - hidden) // 2
  last = first + hidden - 1
  ramp = min(ramp, first)
  return [first - ramp, first, last, last + ramp], [0, 1, 1, 0]


def pairs(what: Scene) -> list[tuple[str, Any]]:
  """What captions tell of a scene, for lexicon.named."""
  told = [("setting", what.setting), ("style", what.style)]
  return told + ([("place", what.place)] if what.place else [])


def ink(what: Scene) -> tuple[int, int, int] | None:
  """The colour of outlines; None of a style without."""
  if what.style != "outlined":
    return None
  return INKS[what.setting in DARK]


def dim(setting: str) -> tuple[int, int, int]:
  """A dull colour that can be seen in a setting, for what is not an object."""
  return (172, 172, 176) if setting in DARK else (88, 88, 92)


def walls(setting: str) -> list[str]:
  """The dull colours (facts.DULL) that stand out from a setting."""
  most = np.array(GROUNDS[setting][0], float)
  return [name for name, rgb in facts_lib.DULL.items()
          if np.linalg.norm(most - rgb) > CONTRAST]


def ground(setting: str, width: int, height: int, short: int, shift: float
           ) -> np.ndarray:
  """The ground of a setting, uint8 [height, width, 3].

  Args:
    setting: a name in SETTINGS.
    width: in pixels; more than a frame's for a view that a camera passes over.
    height: in pixels.
    short: the short side of a frame in pixels, the unit of the pattern.
    shift: how far the pattern is moved to the left, in short sides.
  """
  x = (np.arange(width, dtype=np.float32) + 0.5) / short + np.float32(shift)
  y = ((np.arange(height, dtype=np.float32) + 0.5) / short)[:, None]
  most, second = (np.array(c, np.float32) for c in GROUNDS[setting])
  share = _PATTERNS[setting](x, y, 24.0 * max(short / 64, 1))
  mixed = most + share[..., None] * (second - most)
  if setting == "jungle":  # trunks, behind the leaves
    trunk = _soft(0.05 - np.abs((x + 0.05 * np.sin(2 * y)) % 0.8 - 0.4), 24.0)
    trunk = np.broadcast_to(trunk, share.shape) * (1 - share)
    mixed += trunk[..., None] * (np.array((58, 50, 40), np.float32) - mixed)
  return np.rint(mixed).astype(np.uint8)


def video(what: Scene, size: tuple[int, int], frames: int) -> np.ndarray:
  """A clip of the ground alone, uint8 [T, H, W, 3]."""
  one = ground(what.setting, *size, min(size), what.shift)
  return np.repeat(one[None], frames, 0)


def finish(what: Scene, clip: np.ndarray) -> np.ndarray:
  """A clip in the style of a scene: pixelated if it is."""
  return pixelate(clip) if what.style == "pixelated" else clip


def block(size: tuple[int, int]) -> int:
  """The side of a block of a pixelated clip in pixels."""
  return max(round(min(size) / BLOCKS), 2)


def pixelate(clip: np.ndarray) -> np.ndarray:
  """Blocks of the mean colour, the last ones cut where they do not fit."""
  frames, height, width, _ = clip.shape
  k = block((width, height))
  h, w = -(-height // k), -(-width // k)
  padded = np.pad(clip, ((0, 0), (0, h * k - height), (0, w * k - width), (0, 0)),
                  "edge") if (h * k, w * k) != (height, width) else clip
  total = np.zeros((frames, h, w, 3), np.uint16 if k < 16 else np.uint32)
  for i in range(k):
    for j in range(k):
      total += padded[:, i::k, j::k]
  mean = ((total + k * k // 2) // (k * k)).astype(np.uint8)
  return mean.repeat(k, 1).repeat(k, 2)[:, :height, :width]


def what_if(facts: Any, key: np.random.Generator,
            changes: Sequence[Callable[[Any], Any]],
            is_held_out: Callable[[Any], bool],
            told: Callable[[Any], Mapping[str, Any]],
            settings: Sequence[str] = SETTINGS) -> Any:
  """Facts of which something else is told: another setting, or a world's own.

  Args:
    facts: with a scene.
    key: picks the change.
    changes: each returns changed facts.
    is_held_out: whether facts are kept out of training; a clip that may be
      trained on is changed to another that may be.
    told: the world's.
    settings: what the setting may become; () leaves it as it is.
  """
  others = [s for s in settings if s != facts.scene.setting]
  moved = lambda f: dataclasses.replace(f, scene=dataclasses.replace(
      f.scene, setting=facts_lib.pick(key, others)))
  while True:
    change = facts_lib.pick(key, (moved,) * bool(others) + tuple(changes))
    found = change(facts)
    if told(found) != told(facts) and (
        is_held_out(facts) or not is_held_out(found)):
      return found


def covered(wall: str) -> list[str]:
  """The settings that a dull colour (facts.DULL) stands out from."""
  return [s for s in SETTINGS if wall in walls(s)]


def _soft(distance, sharp):
  """A share that rises from 0 to 1 where `distance` passes 0."""
  return np.clip(0.5 + sharp * distance, 0, 1)


def _wild(i, j, k):
  """Numbers from 0 to 1 that look random, by cell."""
  return np.modf(np.abs(np.sin(i * 12.9898 + j * 78.233 + k) * 43758.5))[0]


def _hall(x, y, sharp):
  dark = _wild(np.floor((x + 0.15) / 0.3), np.floor((y + 0.15) / 0.3), 1.0) > 0.75
  line = np.minimum(np.abs((x + 0.15) % 0.3 - 0.15), np.abs((y + 0.15) % 0.3 - 0.15))
  return np.maximum(_soft(0.012 - line, 2 * sharp), 0.45 * dark)


def _jungle(x, y, sharp):
  leaves = (np.sin(13 * x + 2.5 * np.sin(7 * y)) * np.sin(11 * y + 2 * np.sin(5 * x)))
  return _soft(leaves - 0.25, sharp / 12)


def _night(x, y, sharp):
  cell = 0.22
  i, j = np.floor(x / cell), np.floor(y / cell)
  dx = x - (i + 0.2 + 0.6 * _wild(i, j, 1.0)) * cell
  dy = y - (j + 0.2 + 0.6 * _wild(i, j, 2.0)) * cell
  return _soft(0.004 + 0.010 * _wild(i, j, 3.0) - np.hypot(dx, dy),
               2 * sharp)


def _snow(x, y, sharp):
  hills = y - 0.08 * np.sin(5 * x) - 0.04 * np.sin(11 * x + 1)
  return _soft(0.05 - np.abs((hills + 0.1) % 0.36 - 0.05), sharp / 3)


def _sand(x, y, sharp):
  waves = (y + 0.02 * np.sin(9 * x) + 0.012 * np.sin(23 * x)) % 0.14
  return _soft(0.014 - np.abs(waves - 0.07), sharp)


_PATTERNS = {"hall": _hall, "jungle": _jungle, "night": _night, "snow": _snow,
             "sand": _sand}

"""Where a clip is set, how it is drawn and where its subject stands.

These are facts like any other: captions tell them, they are read back from
pixels, and an edit of the setting can be scored.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
from typing import Any

import numpy as np

from sora_jax.worlds import facts as facts_lib
from sora_jax.worlds import grounds
from sora_jax.worlds import lexicon

SETTINGS = grounds.SETTINGS
STYLES = ("flat", "outlined", "pixelated")
PLACES = ("centre", "left third", "right third", "left edge", "right edge")
EDGE = 0.03  # of a subject near an edge: its distance to it, in short sides
SHORTEST_SIDE = 48  # pixels
LONGEST = 21 / 9  # the greatest aspect
HIDDEN = (4, 8, 16, 24)  # frames out of sight
RAMP = 6  # the most frames of going off and of coming back
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
  return grounds.INKS[what.setting in grounds.DARK]


def video(what: Scene, size: tuple[int, int], frames: int) -> np.ndarray:
  """A clip of the ground alone, uint8 [T, H, W, 3]."""
  one = grounds.ground(what.setting, *size, min(size), what.shift)
  return np.repeat(one[None], frames, 0)


def finish(what: Scene, clip: np.ndarray) -> np.ndarray:
  """A clip in the style of a scene: pixelated if it is."""
  return grounds.pixelate(clip) if what.style == "pixelated" else clip


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

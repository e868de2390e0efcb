"""The world of orbit: a camera moves around coloured solids on a chequered floor.

Report: "as the camera shifts and rotates, people and scene elements move
consistently through three-dimensional space." Three to five balls, cones and
cylinders stand still; the camera orbits them, dollies or pans. All of them stay
in the frame, and nearer ones cover farther ones.

Held out of training: clips whose colours, shapes and camera move add up to 0
modulo 7, each counted from 0.
"""

import dataclasses

import numpy as np

from sora_jax.worlds import camera
from sora_jax.worlds import facts as facts_lib
from sora_jax.worlds import orbit_parse
from sora_jax.worlds import orbit_words
from sora_jax.worlds import solids

describe = orbit_words.describe
told = orbit_words.told
read = orbit_words.read
parse = orbit_parse.parse
score = orbit_parse.score

SHORTEST = 0.0
OPTIONS = {"objects": (3, 4, 5), "background": ("plain", "textured")}
# Direction of a move -> sign of its amount.
MOVES = {"orbits": {"right": 1, "left": -1}, "dollies": {"in": 1, "out": -1},
         "pans": {"right": 1, "left": -1}}
SKIES = ("black", "navy", "grey", "beige", "white")
APART = 0.12  # the least gap between solids
RANGE = 1.15  # the farthest axis of a solid from the middle of the floor
SKY = 0.06  # the least height of the sky in short sides, or none is seen
EDGE = 0.02  # short sides from the edge of the frame
SEEN = 0.5  # the greatest share of a solid that another may cover
CLEAR = 0.3  # the least share of the frames in which none covers it
RATES = {"orbits": (0.35, 0.6), "dollies": (0.12, 0.2), "pans": (0.11, 0.17)}
# The least and the greatest amount of a move in a clip.
LIMITS = {"orbits": (0.3, 5.5), "dollies": (0.12, 0.4), "pans": (0.12, 0.34)}


@dataclasses.dataclass(frozen=True)
class Facts:
  """What is true of a clip.

  Attributes:
    solids: three to five, no two of one colour.
    path: of the camera.
    direction: of its move, one of MOVES[path.move]; "none" if it stands.
    floor: the colours of the squares, names in facts.DULL.
    sky: the colour above them; "" where the camera looks down too far.
    size: (W, H) in pixels.
    frames: the number of frames; frame i shows time i / fps.
    fps: frames per second.
    broken: the law that is broken, "" if none.
  """

  solids: tuple[solids.Solid, ...]
  path: camera.Path
  direction: str
  floor: tuple[str, str]
  sky: str
  size: tuple[int, int]
  frames: int
  fps: float
  broken: str = ""

  def __post_init__(self):
    facts_lib.frame_aspect(self.size)
    if min(self.size) < 48:
      raise ValueError(f"size {self.size[0]}x{self.size[1]}: {len(self.solids)} "
                       "solids need a short side of 48 pixels or more")


def is_held_out(facts: Facts) -> bool:
  """Whether a clip is kept out of training, by the rule above."""
  if facts.path.move not in MOVES:
    return False
  moves = [(m, d) for m, names in MOVES.items() for d in names]
  total = sum(list(facts_lib.COLOURS).index(s.colour) +
              solids.SHAPES.index(s.shape) for s in facts.solids)
  return (total + 3 * moves.index((facts.path.move, facts.direction))) % 7 == 0


def sample(key: np.random.Generator, size: tuple[int, int], frames: int,
           fps: float, held_out: bool = False, *, objects: int | None = None,
           background: str | None = None) -> Facts:
  """Draws the facts of a clip; arguments as in `balls.sample`.

  Args:
    key, size, frames, fps, held_out: as in contracts.World.
    objects: 3, 4 or 5 solids.
    background: "plain" is a floor of two like colours, "textured" of unlike.

  Raises:
    ValueError: a size, duration or number of solids that cannot be drawn.
  """
  seconds = facts_lib.duration(frames, fps, held_out)
  count = objects or int(key.integers(3, 6))
  if count not in OPTIONS["objects"]:
    raise ValueError(f"objects={objects}: a clip has 3, 4 or 5 solids")
  if background not in (None, *OPTIONS["background"]):
    raise ValueError(f"background={background!r}: there are plain and textured")
  while True:
    facts = _draw(key, size, frames, fps, seconds, count, background)
    if is_held_out(facts) == held_out and _all_seen(facts):
      return facts


def _draw(rng, size, frames, fps, seconds, count, background):
  """Facts that may not be seen in full."""
  move = facts_lib.pick(rng, MOVES)
  direction = facts_lib.pick(rng, MOVES[move])
  amount = np.clip(rng.uniform(*RATES[move]) * seconds, *LIMITS[move])
  amount *= MOVES[move][direction] if seconds else 0
  distance = rng.uniform(3.8, 4.2) * (1 - max(
      0, -amount if move == "dollies" else 0) / 2)
  path = camera.Path(move if seconds else "stands", float(amount),
                     float(rng.uniform(0, 2 * np.pi)),
                     float(rng.uniform(0.24, 0.46)), float(distance))
  names = rng.permutation(list(facts_lib.COLOURS))[:count]
  drawn = []
  while len(drawn) < count:
    r, a = RANGE * np.sqrt(rng.random()), rng.uniform(0, 2 * np.pi)
    new = solids.Solid(
        str(names[len(drawn)]), facts_lib.pick(rng, solids.SHAPES),
        facts_lib.pick(rng, solids.SIZES),
        (round(float(r * np.cos(a)), 3), round(float(r * np.sin(a)), 3)))
    if all(np.hypot(new.place[0] - s.place[0], new.place[1] - s.place[1]) >
           new.radius + s.radius + APART for s in drawn):
      drawn.append(new)
    elif rng.random() < 0.02:
      drawn.clear()  # they do not fit
  like = rng.random() < 0.6 if background is None else background == "plain"
  pairs = facts_lib.TEXTURES if like else (("black", "grey"), ("grey", "white"),
                                           ("brown", "beige"), ("navy", "beige"))
  floor = facts_lib.pick(rng, pairs)
  sky = facts_lib.pick(rng, [s for s in SKIES if s not in floor])
  sky = sky if camera.horizon(path, size) > SKY * min(size) else ""
  return Facts(tuple(drawn), path, direction if seconds else "none", floor, sky,
               size, frames, fps)


def _all_seen(facts):
  """Whether every solid is in the frame in all frames, and most of it seen."""
  view = poses(dataclasses.replace(facts, frames=min(facts.frames, 9)))
  margin = EDGE * min(facts.size)
  spans, depths = [], []
  for solid in facts.solids:
    points, depth = camera.project(view, solids.outline(solid), facts.size)
    if points.min() < margin or (points > np.array(facts.size) - margin).any():
      return False
    spans.append((points.min(1), points.max(1)))
    depths.append(depth.mean(1))
  for i, (low, high) in enumerate(spans):
    open_frames, clear = np.ones((2, len(low)), bool)
    for j, (a, b) in enumerate(spans):
      if i != j:
        shared = np.minimum(high, b) - np.maximum(low, a)
        share = np.maximum(shared, 0).prod(-1) / (high - low).prod(-1)
        behind = depths[j] > depths[i]
        open_frames &= behind | (share < SEEN)
        clear &= behind | (share == 0)
    if open_frames.mean() < 0.75 or clear.mean() < CLEAR:
      return False
  return True


def times(facts: Facts) -> np.ndarray:
  """The share of the clip that has passed, float64 [T]."""
  return np.arange(facts.frames) / max(facts.frames - 1, 1)


def poses(facts: Facts) -> camera.Poses:
  """The camera in every frame."""
  return camera.poses(facts.path, times(facts))


def render(facts: Facts) -> np.ndarray:
  """The clip, uint8 [T, H, W, 3]."""
  view = poses(facts)
  rgb = lambda name: np.array(facts_lib.DULL[name], np.float32)
  floor = np.stack([*map(rgb, facts.floor)])
  video = camera.ground(view, facts.size, floor,
                        rgb(facts.sky) if facts.sky else floor.mean(0))
  solids.draw(video, view, facts.solids)
  return video

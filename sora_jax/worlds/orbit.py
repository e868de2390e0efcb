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
from sora_jax.worlds import rows_space
from sora_jax.worlds import scene
from sora_jax.worlds import solids
from sora_jax.worlds import twins

describe = orbit_words.describe
told = orbit_words.told
read = orbit_words.read
parse = orbit_parse.parse
score = orbit_parse.score

SHORTEST = 0.0
LAWS = ("continuity", "immutability", "rigidity")
ROWS = rows_space.ORBIT
UNPAIRED = ("rigidity",)  # no lawful clip ends as its twin does
OPTIONS = {"objects": (3, 4, 5), "background": ("plain", "textured")}
# Direction of a move -> sign of its amount.
MOVES = {"orbits": {"right": 1, "left": -1}, "dollies": {"in": 1, "out": -1},
         "pans": {"right": 1, "left": -1}}
SKIES = ("black", "navy", "grey", "beige", "white")
APART = 0.12  # the least gap between solids
RANGE = 0.95  # the farthest axis of a solid from the middle of the floor
SKY = 0.06  # the least height of the sky in short sides, or none is seen
EDGE = 0.02  # short sides from the edge of the frame
DISTANCE, ELEVATION = (4.3, 4.7), (0.28, 0.54)  # of the camera
CONTRASTS = (("black", "grey"), ("grey", "white"), ("brown", "beige"),
             ("navy", "beige"))  # floors of unlike squares
SEEN = 0.5  # the greatest share of a solid that another may cover
CLEAR = 0.3  # the least share of the frames in which none covers it
RATES = {"orbits": (0.35, 0.6), "dollies": (0.1, 0.15), "pans": (0.08, 0.12)}
# The least and the greatest amount of a move in a clip.
LIMITS = {"orbits": (0.3, 5.5), "dollies": (0.15, 0.3), "pans": (0.12, 0.24)}


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
  scene.check(size, frames, fps, 1)
  seconds = facts_lib.duration(frames, fps, held_out)
  count = objects or int(key.integers(3, 6))
  if count not in OPTIONS["objects"]:
    raise ValueError(f"objects={objects}: a clip has 3, 4 or 5 solids")
  if background not in (None, *OPTIONS["background"]):
    raise ValueError(f"background={background!r}: there are plain and textured")
  while True:
    facts = _draw(key, size, frames, fps, seconds, count, background)
    if facts and is_held_out(facts) == held_out:
      return facts


def _draw(rng, size, frames, fps, seconds, count, background):
  """Facts, or None where not all solids are seen well."""
  move = facts_lib.pick(rng, MOVES)
  direction = facts_lib.pick(rng, MOVES[move])
  amount = np.clip(rng.uniform(*RATES[move]) * seconds, *LIMITS[move])
  amount *= MOVES[move][direction] if seconds else 0
  distance = rng.uniform(*DISTANCE) * (1 + amount * (move == "dollies") / 2)
  path = camera.Path(move if seconds else "stands", float(amount),
                     float(rng.uniform(0, 2 * np.pi)),
                     float(rng.uniform(*ELEVATION)), float(distance))
  placed = _draw_solids(rng, path, size, min(frames, 9), count)
  like = rng.random() < 0.6 if background is None else background == "plain"
  floor = facts_lib.pick(rng, facts_lib.TEXTURES if like else CONTRASTS)
  sky = facts_lib.pick(rng, [s for s in SKIES if s not in floor])
  sky = sky if camera.horizon(path, size) > SKY * min(size) else ""
  return placed and Facts(placed, path, direction if seconds else "none", floor,
                          sky, size, frames, fps)


def _draw_solids(rng, path, size, frames, count):
  """Solids that are in the frame in all frames and mostly seen, or None."""
  view = camera.poses(path, np.arange(frames) / max(frames - 1, 1))
  names = rng.permutation(list(facts_lib.COLOURS))[:count]
  drawn, spans, covered = [], [], []
  for _ in range(20 * count):
    r, a = RANGE * np.sqrt(rng.random()), rng.uniform(0, 2 * np.pi)
    new = solids.Solid(
        str(names[len(drawn)]), facts_lib.pick(rng, solids.SHAPES),
        facts_lib.pick(rng, solids.SIZES),
        (round(float(r * np.cos(a)), 3), round(float(r * np.sin(a)), 3)))
    if any(np.hypot(new.place[0] - s.place[0], new.place[1] - s.place[1]) <
           new.radius + s.radius + APART for s in drawn):
      continue
    span = _span(new, view, path, size)
    if span is None:
      continue
    hidden, over = np.zeros(frames), []
    for other, share in zip(spans, covered):
      shared = np.maximum(np.minimum(span[1], other[1]) -
                          np.maximum(span[0], other[0]), 0).prod(-1)
      nearer = span[2] < other[2]
      over.append(np.maximum(share, np.where(
          nearer, shared / (other[1] - other[0]).prod(-1), 0)))
      hidden = np.maximum(hidden, np.where(
          nearer, 0, shared / (span[1] - span[0]).prod(-1)))
    if all((x < SEEN).mean() >= 0.75 and (x == 0).mean() >= CLEAR
           for x in (*over, hidden)):
      drawn, spans, covered = drawn + [new], spans + [span], over + [hidden]
      if len(drawn) == count:
        return tuple(drawn)
  return None


def _span(solid, view, path, size):
  """(low [T, 2], high, depth [T]) in pixels of what a solid covers; None where
  it leaves the frame."""
  foot = np.array([*solid.place, 0])
  at, depth = camera.project(view, np.stack([foot, foot + [0, 0, solid.height]]),
                             size)
  side = camera.focal(size) * solid.radius / depth[:, 0]
  lid = side * np.sin(path.elevation)
  low = np.stack([at[:, 0, 0] - side, at[:, 1, 1] - lid], -1)
  high = np.stack([at[:, 0, 0] + side, at[:, 0, 1] + lid], -1)
  margin = EDGE * min(size)
  inside = low.min() >= margin and (high <= np.array(size) - margin).all()
  return (low, high, depth[:, 0]) if inside else None


def times(facts: Facts) -> np.ndarray:
  """The share of the clip that has passed, float64 [T]."""
  return np.arange(facts.frames) / max(facts.frames - 1, 1)


def poses(facts: Facts) -> camera.Poses:
  """The camera in every frame."""
  return camera.poses(facts.path, times(facts))


def render(facts: Facts) -> np.ndarray:
  """The clip, uint8 [T, H, W, 3]."""
  if facts.broken == "rigidity":
    return _draw_clip(facts, _cardboard(facts))
  return twins.render(facts, _draw_clip, counterpart, facts.frames // 2)


def _draw_clip(facts, shift=None):
  view = poses(facts)
  rgb = lambda name: np.array(facts_lib.DULL[name], np.float32)
  floor = np.stack([*map(rgb, facts.floor)])
  video = camera.ground(view, facts.size, floor,
                        rgb(facts.sky) if facts.sky else floor.mean(0))
  solids.draw(video, view, facts.solids, shift)
  return video


def _cardboard(facts):
  """[T, solids, 2] by how many pixels solids are off their places: from the
  middle on each goes its own way, by turns across, up and down the image."""
  half = facts.frames // 2
  after = np.maximum(np.arange(facts.frames) - half + 1, 0) / facts.frames
  ways = np.array([(1, 0), (-1, 0), (0, 0.6), (0.7, -0.5), (-0.7, -0.5)])
  return 0.35 * min(facts.size) * after[:, None, None] * ways[:len(facts.solids)]


def counterpart(facts: Facts, law: str) -> Facts:
  """The lawful clip that `twin(facts, law)` ends as, and begins as facts.

  Raises:
    ValueError: an image, another law, or rigidity: no clip ends as cardboard.
  """
  twins.check(facts, law, LAWS)
  if law in UNPAIRED:
    raise ValueError(f"law {law!r}: no lawful clip ends as its twin does")
  if law == "immutability":
    return dataclasses.replace(facts, solids=twins.recoloured(facts.solids))
  first, second, *rest = facts.solids
  return dataclasses.replace(facts, solids=(
      dataclasses.replace(first, place=second.place),
      dataclasses.replace(second, place=first.place), *rest))


def twin(facts: Facts, law: str) -> Facts:
  """The same clip, but from its middle on it is in breach of a law.

    continuity     two solids stand in each other's places
    immutability   a solid is of another colour
    rigidity       each solid goes its own way in the image, like cardboard
  """
  return twins.broken(facts, law, LAWS)


def what_if(facts: Facts, key: np.random.Generator) -> Facts:
  """The same clip with another floor, or a solid of another colour or shape, or
  the camera the other way round."""
  colours = [c for c in facts_lib.COLOURS
             if c not in {s.colour for s in facts.solids}]
  i = int(key.integers(len(facts.solids)))
  of = facts.solids[i]
  back = {"right": "left", "left": "right"}.get(facts.direction)
  shapes = [s for s in solids.SHAPES if s != of.shape]
  floors = [f for f in (*facts_lib.TEXTURES, *CONTRASTS)
            if set(f) != set(facts.floor) and facts.sky not in f]
  change = lambda **k: dataclasses.replace(facts, solids=(
      *facts.solids[:i], dataclasses.replace(of, **k), *facts.solids[i + 1:]))
  found = [change(colour=c) for c in colours] + [
      change(shape=s) for s in shapes] + [
          dataclasses.replace(facts, floor=f) for f in floors]
  if back:
    found.append(dataclasses.replace(facts, direction=back, path=(
        dataclasses.replace(facts.path, amount=-facts.path.amount))))
  allowed = [f for f in found if _inside(f) and (
      is_held_out(facts) or not is_held_out(f))]
  return facts_lib.pick(key, allowed)


def vary(facts: Facts, key: np.random.Generator) -> Facts:
  """The same scene with solids of other colours and another floor, not held out."""
  while True:
    colours = key.permutation(list(facts_lib.COLOURS))
    made = tuple(dataclasses.replace(s, colour=str(c))
                 for s, c in zip(facts.solids, colours))
    other = dataclasses.replace(facts, solids=made,
                                floor=facts_lib.pick(key, CONTRASTS))
    if not is_held_out(other):
      return other


def _inside(facts):
  """Whether every solid stays in the frame."""
  view = poses(facts)
  return all(_span(s, view, facts.path, facts.size) for s in facts.solids)

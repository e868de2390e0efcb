"""The world of shatter: a pane or a ball breaks, and its pieces fall and stay.

Report: "it does not accurately model the physics of many basic interactions,
like glass shattering." A pane that stands on the floor is hit by a ball and
breaks around the place that was hit; or a ball drops and breaks on the floor.
Where the hit is soft, nothing breaks: the ball bounces off. Rigid bodies by
pymunk; the pieces have the area of the whole, and none comes back.

Held out of training: clips whose two colours, side and height add up to 0 modulo
7, each counted from 0.
"""

import dataclasses
import functools

import numpy as np

from sora_jax.worlds import facts as facts_lib
from sora_jax.worlds import pieces as pieces_lib
from sora_jax.worlds import polygons
from sora_jax.worlds import raster
from sora_jax.worlds import rigid
from sora_jax.worlds import rows_failures
from sora_jax.worlds import scene
from sora_jax.worlds import shatter_parse
from sora_jax.worlds import shatter_words
from sora_jax.worlds import twins

describe = shatter_words.describe
told = shatter_words.told
read = shatter_words.read
parse = shatter_parse.parse
score = shatter_parse.score

SHORTEST = 1.5
LAWS = ("unbreaking", "immutability")
ROWS = rows_failures.SHATTER
NEEDS = ("pymunk",)
OPTIONS = {"background": ("plain", "textured")}
THINGS = ("pane", "ball")
SIDES = {"right": 1, "left": -1, "down": 0}  # where the ball goes
HEIGHTS, DROPS = shatter_parse.HEIGHTS, shatter_parse.DROPS
PANE, BALL, WHOLE = shatter_parse.PANE, shatter_parse.BALL, shatter_parse.WHOLE
GRAVITY, FLOOR = shatter_parse.GRAVITY, shatter_parse.FLOOR
PARTNERS = twins.PARTNERS
COUNTS = (4, 7)  # the fewest and the most pieces
SPEED = {True: 0.7, False: 0.35}  # of the ball that hits, if the pane breaks
WHEN = (0.35, 0.5)  # seconds until the pane is hit
BOUNCE = 0.6  # elasticity of what does not break
BURST = 0.8  # the speed of pieces away from the hit, short sides / s
EDGE = 0.04


@dataclasses.dataclass(frozen=True)
class Part:
  """What moves as one.

  Attributes:
    outline: its corners around its centroid, [N, 2] short sides.
    begin: the first frame in which it is there.
    path: [n, 3] x, y and angle in this frame and the next ones.
  """

  outline: np.ndarray
  begin: int
  path: np.ndarray


@dataclasses.dataclass(frozen=True)
class Facts:
  """What is true of a clip.

  Attributes:
    thing: what is hit, one of THINGS.
    colour: of it, a name in facts.COLOURS.
    hitter: the colour of the ball that hits the pane; "" where a ball drops.
    direction: of the ball, a name in SIDES.
    height: where it hits, or from where it drops, a name in HEIGHTS.
    breaks: whether the thing breaks.
    pieces: their number, if it breaks.
    floor: the colour of the floor, a name in facts.DULL.
    background: what is behind them.
    place: x of the thing's middle, in short sides.
    when: of the hit, in seconds.
    seed: of the cracks.
    size, frames, fps, broken: as in facts.Facts.
  """

  thing: str
  colour: str
  hitter: str
  direction: str
  height: str
  breaks: bool
  pieces: int
  floor: str
  background: facts_lib.Background
  place: float
  when: float
  seed: int
  size: tuple[int, int]
  frames: int
  fps: float
  broken: str = ""


def is_held_out(facts: Facts) -> bool:
  """Whether a clip is kept out of training, by the rule above."""
  if facts.frames == 1:
    return False
  colours = list(facts_lib.COLOURS)
  return (colours.index(facts.colour) +
          (2 * colours.index(facts.hitter) if facts.hitter else 0) +
          3 * list(SIDES).index(facts.direction) +
          list(HEIGHTS).index(facts.height)) % 7 == 0


def sample(key: np.random.Generator, size: tuple[int, int], frames: int,
           fps: float, held_out: bool = False, *,
           background: str | None = None) -> Facts:
  """Draws the facts of a clip; arguments as in contracts.World and OPTIONS.

  Raises:
    ValueError: a size or duration that cannot be drawn.
  """
  width, _ = scene.check(size, frames, fps, 1)
  seconds = facts_lib.duration(frames, fps, held_out)
  if seconds and seconds < SHORTEST:
    raise ValueError(f"seconds={seconds}: to break and to fall takes {SHORTEST} "
                     "or more; use more frames, or one (an image)")
  ground = facts_lib.draw_background(key, background)
  floor = facts_lib.pick(key, [c for c in facts_lib.DULL
                               if c not in ground.colours])
  while True:
    thing = facts_lib.pick(key, THINGS)
    drops = thing == "ball"
    # Orange has no partner to change its colour with.
    names = key.permutation(list(PARTNERS))[:2]
    breaks = bool(key.random() < 0.75)
    direction = "down" if drops else facts_lib.pick(key, ("right", "left"))
    height = facts_lib.pick(key, HEIGHTS)
    when = np.sqrt(2 * DROPS[height] / GRAVITY) if drops else key.uniform(*WHEN)
    # The way of the ball before it hits lies in the frame.
    half = WHOLE / 2 + 0.1 if drops else PANE[0] / 2 + 0.2
    way = half if drops else PANE[0] / 2 + BALL + SPEED[breaks] * when + EDGE
    place = key.uniform(way, max(width - half, way))
    place = width - place if direction == "left" else place
    facts = Facts(
        thing, str(names[0]), "" if drops else str(names[1]), direction, height,
        breaks, int(key.integers(COUNTS[0], COUNTS[1] + 1)),
        floor, ground, float(place), float(when), int(key.integers(2**31)), size,
        frames, fps)
    if is_held_out(facts) == held_out:
      return facts


def whole(facts: Facts) -> np.ndarray:
  """The outline of the thing at rest before it breaks, [N, 2] short sides.

  Of a ball: on the floor, where it breaks.
  """
  _, height = facts_lib.frame_aspect(facts.size)
  if facts.thing == "pane":
    w, h = PANE
    x, y = facts.place, height - FLOOR
    return np.array([[x - w / 2, y - h], [x + w / 2, y - h], [x + w / 2, y],
                     [x - w / 2, y]])
  angle = np.arange(24) * np.pi / 12
  return np.array([facts.place, height - FLOOR - WHOLE / 2]) + (
      WHOLE / 2 * np.stack([np.cos(angle), np.sin(angle)], -1))


def hit(facts: Facts) -> np.ndarray:
  """Where the thing is hit, [2] in short sides."""
  outline = whole(facts)
  low, high = outline.min(0), outline.max(0)
  if facts.thing == "ball":
    return np.array([facts.place, high[1]])
  side = SIDES[facts.direction]
  return np.array([facts.place - side * PANE[0] / 2,
                   high[1] - HEIGHTS[facts.height] * (high - low)[1]])


@functools.lru_cache(maxsize=64)
def motion(facts: Facts) -> tuple[np.ndarray, tuple[Part, ...]]:
  """The hitter's centre [T, 2], [0, 2] without one, and all parts.

  Raises:
    ValueError: pymunk is not installed.
  """
  outline, where = whole(facts), hit(facts)
  times = np.arange(facts.frames) / facts.fps
  hits = int((times < facts.when).sum())  # the frames before it
  before, after = times[:hits] - facts.when, times[hits:] - facts.when
  side, centre = SIDES[facts.direction], rigid.centroid(outline)
  hitter, stay = np.zeros((0, 2)), np.zeros((hits, 3)) + [*centre, 0]
  space = rigid.space(GRAVITY)
  width, height = facts_lib.frame_aspect(facts.size)
  rigid.add_walls(space, (0, -1, width, height - FLOOR), 0.5, 0.7)
  moving = []
  if facts.thing == "pane":
    speed = np.array([side * SPEED[facts.breaks], GRAVITY * facts.when])
    start = where - [side * BALL / 2, 0]
    hitter = start + before[:, None] * speed + np.stack(
        [0 * before, GRAVITY / 2 * before**2], -1)
    moving.append(rigid.add_disc(space, start, speed, BALL / 2, 0.5, 0.5))
  else:
    fallen = np.sqrt(2 * GRAVITY * DROPS[facts.height])
    stay[:, 1] += before * fallen + GRAVITY / 2 * before**2
  if facts.breaks:
    made = pieces_lib.break_up(outline, where, facts.pieces, facts.seed)
    for piece in made:
      away = rigid.centroid(piece) - where
      push = BURST * away / np.hypot(*away) + [side * 0.3, 0]
      moving.append(rigid.add_piece(space, piece, push, 0.1, 0.5))
  elif facts.thing == "pane":
    made = [outline]
    rigid.add_fixed(space, outline, BOUNCE / 0.5)
  else:
    made = [outline]
    moving.append(rigid.add_disc(space, centre, (0, fallen), WHOLE / 2,
                                  BOUNCE / 0.5, 0.7))
  path = rigid.run(space, after, moving)
  if facts.thing == "pane":
    hitter, path = np.concatenate([hitter, path[:, 0, :2]]), path[:, 1:]
  local = lambda corners: corners - rigid.centroid(corners)
  if not facts.breaks:
    rest = path[:, 0] if path.shape[1] else np.zeros((len(after), 3)) + [*centre, 0]
    return hitter, (Part(local(outline), 0, np.concatenate([stay, rest])),)
  return hitter, (Part(local(outline), 0, stay), *(
      Part(local(p), hits, path[:, i]) for i, p in enumerate(made)))


def render(facts: Facts) -> np.ndarray:
  """The clip, uint8 [T, H, W, 3].

  Raises:
    ValueError: pymunk is not installed.
  """
  # Between the hit and the end.
  hits = int(facts.when * facts.fps) + 1
  when = (hits + facts.frames) // 2 if facts.broken == "unbreaking" else hits // 2
  return twins.render(facts, _draw_clip, counterpart, when)


def _draw_clip(facts):
  scale = min(facts.size)
  ground = raster.background(facts.background, facts.size)
  video = np.repeat(ground[None], facts.frames, 0)
  top = facts.size[1] - FLOOR * scale
  rgb = np.array(facts_lib.DULL[facts.floor], np.float32)
  share = np.clip(np.arange(facts.size[1]) + 1 - top, 0, 1)[:, None, None]
  video[:] = video + share * (rgb - video) + 0.5
  hitter, parts = motion(facts)
  colour = np.array(facts_lib.COLOURS[facts.colour], np.float32)
  for part in parts:
    if len(part.path):
      points = corners(part) * scale
      at = polygons.window(points, facts.size)
      polygons.blend(video[part.begin:part.begin + len(points)], at,
                     polygons.coverage(points, at.x, at.y), colour)
  if len(hitter):
    raster.draw(video, "disc", facts.hitter, hitter * scale, BALL * scale)
  return video


def corners(part: Part) -> np.ndarray:
  """The corners of a part in the frame, [n, N, 2] short sides."""
  c, s = np.cos(part.path[:, 2]), np.sin(part.path[:, 2])
  turn = np.stack([np.stack([c, -s], -1), np.stack([s, c], -1)], -2)
  return np.einsum("tij,nj->tni", turn, part.outline) + part.path[:, None, :2]


def counterpart(facts: Facts, law: str) -> Facts:
  """The lawful clip that `twin(facts, law)` ends as, and begins as facts."""
  twins.check(facts, law, LAWS)
  if law == "unbreaking":
    return dataclasses.replace(facts, breaks=not facts.breaks)
  other = PARTNERS[facts.colour]
  hitter = facts.colour if facts.hitter == other else facts.hitter
  return dataclasses.replace(facts, colour=other, hitter=hitter)


def twin(facts: Facts, law: str) -> Facts:
  """The same clip in breach of a law.

    unbreaking     what lies in pieces is whole again, or what is whole lies in
                   pieces that nothing has hit
    immutability   before the hit, the thing changes its colour
  """
  return twins.broken(facts, law, LAWS)


def what_if(facts: Facts, key: np.random.Generator) -> Facts:
  """The same clip with another colour, another height, or another outcome."""
  unused = [c for c in PARTNERS if c not in (facts.colour, facts.hitter)]
  found = [dataclasses.replace(facts, colour=c) for c in unused]
  if facts.hitter:
    found += [dataclasses.replace(facts, hitter=c) for c in unused]
  if facts.frames > 1:
    found.append(dataclasses.replace(facts, breaks=not facts.breaks))
  if facts.frames > 1 and facts.hitter:
    found += [dataclasses.replace(facts, height=h) for h in HEIGHTS
              if h != facts.height]
  return facts_lib.pick(key, [f for f in found if is_held_out(facts)
                              or not is_held_out(f)])

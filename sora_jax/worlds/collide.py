"""The world of collide: balls that meet each other and the walls of the frame.

Rigid bodies by pymunk. The mass of a ball is the square of its radius; nothing
rubs. What is given up at a touch is the elasticity: 1 keeps all speed. There is
no gravity, or it pulls down.

Held out of training: clips whose colours, sizes and directions add up to 0
modulo 7, each counted from 0.
"""

import dataclasses
import functools

import numpy as np

from sora_jax.worlds import collide_parse
from sora_jax.worlds import collide_words
from sora_jax.worlds import facts as facts_lib
from sora_jax.worlds import raster
from sora_jax.worlds import rigid
from sora_jax.worlds import rows_failures
from sora_jax.worlds import scene
from sora_jax.worlds import twins

describe = collide_words.describe
told = collide_words.told
read = collide_words.read
parse = collide_parse.parse
score = collide_parse.score

SHORTEST = 1.0
LAWS = ("solidity", "immutability")
ROWS = rows_failures.COLLIDE
NEEDS = ("pymunk",)
OPTIONS = {"objects": (2, 3, 4), "background": ("plain", "textured")}
SIZES = collide_parse.SIZES
GRAVITY = collide_parse.GRAVITY
BOUNCE = collide_parse.BOUNCE
SPEEDS = (0.3, 0.7)  # short sides / s
CLOSING = 0.35  # the least speed with which two meet
ASIDE = 0.8  # radians by which they may meet aside of the line of their ways
GAP = 0.03
PART = 0.3  # seconds in which two that have met touch nothing
SHOWN = 0.35  # seconds in which a ball touches nothing at first


@dataclasses.dataclass(frozen=True)
class Ball:
  """One ball.

  Attributes:
    colour: a name in facts.COLOURS.
    size: a name in SIZES.
    direction: of its motion at first, a name in facts.DIRECTIONS, or "none".
    start: its centre (x, y) at time 0, in short sides.
    velocity: at time 0, in short sides a second.
  """

  colour: str
  size: str
  direction: str
  start: tuple[float, float]
  velocity: tuple[float, float]

  @property
  def diameter(self) -> float:
    """In short sides."""
    return SIZES[self.size]


@dataclasses.dataclass(frozen=True)
class Facts:
  """What is true of a clip.

  Attributes:
    balls: two to four, no two of one colour.
    gravity: a name in GRAVITY.
    bounce: a name in BOUNCE.
    meet: the colours of the two balls that touch first; () in an image.
    background: what is behind them.
    size, frames, fps, broken: as in facts.Facts.
  """

  balls: tuple[Ball, ...]
  gravity: str
  bounce: str
  meet: tuple[str, ...]
  background: facts_lib.Background
  size: tuple[int, int]
  frames: int
  fps: float
  broken: str = ""


def is_held_out(facts: Facts) -> bool:
  """Whether a clip is kept out of training, by the rule above."""
  if facts.frames == 1:
    return False
  where = lambda name, names: list(names).index(name)
  return sum(where(b.colour, facts_lib.COLOURS) + where(b.size, SIZES) +
             3 * where(b.direction, facts_lib.DIRECTIONS)
             for b in facts.balls) % 7 == 0


def sample(key: np.random.Generator, size: tuple[int, int], frames: int,
           fps: float, held_out: bool = False, *, objects: int | None = None,
           background: str | None = None) -> Facts:
  """Draws the facts of a clip; arguments as in contracts.World and OPTIONS.

  Raises:
    ValueError: a size, duration or number of balls that cannot be drawn, or
      pymunk is not installed.
  """
  aspect = scene.check(size, frames, fps, 1)
  seconds = facts_lib.duration(frames, fps, held_out)
  if seconds and seconds < SHORTEST:
    raise ValueError(f"seconds={seconds}: to meet and to part takes {SHORTEST} "
                     "or more; use more frames, or one (an image)")
  count = objects or int(key.choice((2, 3, 4), p=(0.5, 0.3, 0.2)))
  if count not in OPTIONS["objects"]:
    raise ValueError(f"objects={objects}: a clip has 2, 3 or 4 balls")
  ground = facts_lib.draw_background(key, background)
  while True:
    gravity = facts_lib.pick(key, GRAVITY)
    balls = _draw_balls(key, aspect, seconds, count, GRAVITY[gravity])
    if balls is None:
      continue
    facts = Facts(balls, gravity, facts_lib.pick(key, BOUNCE), (), ground, size,
                  frames, fps)
    if is_held_out(facts) != held_out:
      continue
    if not seconds:
      return facts
    when, pair, first, part = touches(facts)
    # All go their way for a while; two meet, and they are seen to part.
    if pair and min(first) >= min(SHOWN, seconds / 4) and (
        when <= min(0.65 * seconds, 4)) and part >= PART:
      return dataclasses.replace(
          facts, meet=tuple(balls[i].colour for i in pair))


def _draw_balls(rng, aspect, seconds, count, gravity):
  """`count` balls, the first two on the way to each other; None if not in."""
  names = rng.permutation(list(facts_lib.COLOURS))[:count]
  sizes = [facts_lib.pick(rng, ("small", "small", "large")) for _ in names]
  d = np.array([SIZES[s] for s in sizes])
  directions = [facts_lib.pick(rng, facts_lib.DIRECTIONS) for _ in names]
  along = np.array([facts_lib.DIRECTIONS[w] for w in directions], float)
  speed = rng.uniform(*SPEEDS, count)[:, None] * bool(seconds)
  velocity = speed * (along + rng.uniform(-0.35, 0.35, (count, 1)) *
                      along[:, ::-1])
  # The first two touch at `when`, in about the line of their ways.
  when = min(rng.uniform(0.3, 0.55) * seconds, 1.5)
  way = velocity[0] - velocity[1]
  if seconds and np.hypot(*way) < CLOSING / np.cos(ASIDE):
    return None
  angle = np.arctan2(way[1], way[0]) + rng.uniform(-ASIDE, ASIDE)
  apart = (d[0] + d[1]) / 2 * np.array([np.cos(angle), np.sin(angle)])
  apart = apart + way * when + (0 if seconds else GAP) * np.sign(apart)
  t = np.linspace(0, when + PART / 2, 9)[:, None, None]
  fall = np.array([0, gravity / 2]) * t * t * bool(seconds)
  pair = np.array([[0, 0], apart]) + velocity[:2] * t + fall
  low = (d[:2, None] / 2 + GAP - pair).max((0, 1))
  high = (np.array(aspect) - d[:2, None] / 2 - GAP - pair).min((0, 1))
  if (low > high).any():
    return None
  first = rng.uniform(low, high)
  paths, start = list((first + pair).transpose(1, 0, 2)), [first, first + apart]
  for i in range(2, count):
    for _ in range(20):
      place = [rng.uniform(d[i] / 2 + GAP, a - d[i] / 2 - GAP) for a in aspect]
      path = place + velocity[i] * t[:, 0] + fall[:, 0]
      early = t[:, 0, 0] <= min(SHOWN, seconds / 4)
      gap = np.hypot(*(np.array(paths) - path).transpose(2, 0, 1))
      if (gap[:, early] > ((d[:i] + d[i]) / 2 + GAP)[:, None]).all() and (
          (path > d[i] / 2) & (path < aspect - d[i] / 2))[early].all():
        paths.append(path)
        start.append(np.array(place))
        break
    else:
      return None
  return tuple(Ball(str(names[i]), sizes[i], directions[i] if seconds else "none",
                    tuple(map(float, start[i])), tuple(map(float, velocity[i])))
               for i in range(count))


def touches(facts: Facts) -> tuple[float, tuple[int, ...], list[float], float]:
  """Which balls touch first, and when each first touches anything.

  Returns:
    (seconds, (i, j), seconds by ball, how long the two then touch nothing):
    infinity where nothing touches.
  """
  rate = 60
  path = _path(dataclasses.replace(
      facts, frames=int((facts.frames - 1) / facts.fps * rate) + 1,
      fps=float(rate)))
  r = np.array([b.diameter / 2 for b in facts.balls])
  far, near = np.array(facts_lib.frame_aspect(facts.size)), 0.012
  gap = np.hypot(*(path[:, :, None] - path[:, None]).transpose(3, 0, 1, 2))
  met = (gap - r - r[:, None] < near) & ~np.eye(len(r), dtype=bool)
  wall = ((path < r[:, None] + near) | (path > far - r[:, None] - near)).any(-1)
  some = met.any(-1) | wall  # [T, balls]
  first = np.where(some.any(0), some.argmax(0) / rate, np.inf)
  if not met.any():
    return np.inf, (), list(first), 0.0
  at = int(met.any((1, 2)).argmax())
  i, j = sorted(map(int, np.argwhere(met[at])[0]))
  apart = at + int((~met[at:, i, j]).argmax())
  again = some[apart:, [i, j]].any(1)
  part = again.argmax() if again.any() else len(again)
  return at / rate, (i, j), list(first), float(part / rate)


@functools.lru_cache(maxsize=64)
def _path(facts):
  """The centres of the balls [T, balls, 2], in short sides."""
  of = lambda name: np.array([getattr(b, name) for b in facts.balls])
  return rigid.discs(
      facts_lib.frame_aspect(facts.size), of("start"), of("velocity"),
      of("diameter") / 2, GRAVITY[facts.gravity], BOUNCE[facts.bounce],
      np.arange(facts.frames) / facts.fps)


def positions(facts: Facts) -> np.ndarray:
  """The centres of the balls in every frame, [T, balls, 2] in short sides."""
  return _path(facts).copy()


def render(facts: Facts) -> np.ndarray:
  """The clip, uint8 [T, H, W, 3].

  Raises:
    ValueError: pymunk is not installed.
  """
  when = facts.frames // 2
  if facts.broken == "solidity":
    when = int(touches(dataclasses.replace(facts, broken=""))[0] * facts.fps) + 1
  return twins.render(facts, _draw_clip, counterpart, when)


def _draw_clip(facts):
  centres = positions(facts) * min(facts.size)
  ground = raster.background(facts.background, facts.size)
  video = np.repeat(ground[None], facts.frames, 0)
  for i, ball in enumerate(facts.balls):
    raster.draw(video, "disc", ball.colour, centres[:, i],
                ball.diameter * min(facts.size))
  return video


def counterpart(facts: Facts, law: str) -> Facts:
  """The lawful clip that `twin(facts, law)` ends as, and begins as facts."""
  twins.check(facts, law, LAWS)
  if law == "solidity":
    a, b = facts.meet
    swap = {a: b, b: a}
    balls = tuple(dataclasses.replace(x, colour=swap.get(x.colour, x.colour))
                  for x in facts.balls)
    return dataclasses.replace(facts, balls=balls)
  balls = twins.recoloured(facts.balls)
  names = {x.colour: y.colour for x, y in zip(facts.balls, balls)}
  return dataclasses.replace(facts, balls=balls,
                             meet=tuple(names[c] for c in facts.meet))


def twin(facts: Facts, law: str) -> Facts:
  """The same clip in breach of a law.

    solidity       the two that meet go through each other: each goes on as the
                   other should
    immutability   from the middle on a ball is of another colour
  """
  return twins.broken(facts, law, LAWS)


def what_if(facts: Facts, key: np.random.Generator) -> Facts:
  """The same clip with a ball of another colour, another gravity or elasticity,
  under which the same two meet."""
  i = int(key.integers(len(facts.balls)))
  of = facts.balls[i]
  unused = [c for c in facts_lib.COLOURS
            if c not in {b.colour for b in facts.balls}]
  found = [dataclasses.replace(
      facts, meet=tuple(c if m == of.colour else m for m in facts.meet),
      balls=(*facts.balls[:i], dataclasses.replace(of, colour=c),
             *facts.balls[i + 1:])) for c in unused]
  if facts.frames > 1:
    found += [dataclasses.replace(facts, gravity=g) for g in GRAVITY
              if g != facts.gravity]
    found += [dataclasses.replace(facts, bounce=b) for b in BOUNCE
              if b != facts.bounce]
  found = [found[j] for j in key.permutation(len(found))]
  return next(f for f in found if (is_held_out(facts) or not is_held_out(f))
              and _meets(f))


def _meets(facts):
  """Whether the two that are told to meet first do."""
  pair = touches(facts)[1] if facts.frames > 1 else ()
  return {facts.balls[i].colour for i in pair} == set(facts.meet)

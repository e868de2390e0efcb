"""The world of balls: one to three discs, squares and triangles that move.

Most objects go straight on; some bounce off an edge of the frame, some fall and
bounce on the floor, and in some clips two of them collide. Objects never
overlap, and each goes far enough that its direction can be seen.
"""

import numpy as np

from sora_jax.worlds import captions
from sora_jax.worlds import facts as facts_lib
from sora_jax.worlds import laws
from sora_jax.worlds import motion
from sora_jax.worlds import parse as parse_lib
from sora_jax.worlds import raster
from sora_jax.worlds import reading
from sora_jax.worlds import rows_failures

# As in every flat world.
OPTIONS = facts_lib.OPTIONS
LAWS = laws.LAWS
ROWS = rows_failures.BALLS
render = raster.render
describe = captions.describe
told = reading.told
read = reading.read
parse = parse_lib.parse
score = parse_lib.score
twin = laws.twin
what_if = laws.what_if

SPEEDS = (0.12, 0.5)  # short sides per second of straight motion
TRAVEL = 0.3  # the least way of a straight mover in a clip of 1 s or more
EDGE = 0.02  # the least distance to the edge of the frame at the start
GAP = 0.04  # the least distance between objects
LARGE = (0.5, 0.4, 0.2)  # share of large objects, by the number of objects
SHORTEST = 0.0  # seconds of the shortest video


def sample(key: np.random.Generator, size: tuple[int, int], frames: int,
           fps: float, held_out: bool = False, *, objects: int | None = None,
           background: str | None = None) -> facts_lib.Facts:
  """Draws the facts of a clip: a pure function of its arguments.

  Args:
    key: the source of what is drawn.
    size: (W, H) in pixels; what is drawn depends on the aspect alone.
    frames: the number of frames; 1 is an image.
    fps: frames per second; what is drawn depends on the duration alone.
    held_out: draws only combinations that the held-out rule keeps out of
      training, for every object; by default it draws none of them.
    objects: 1, 2 or 3; drawn (60, 25, 15 %) by default.
    background: "plain" or "textured"; drawn by default.

  Raises:
    ValueError: a size, duration or number of objects that cannot be drawn.
  """
  aspect = facts_lib.frame_aspect(size)
  seconds = facts_lib.duration(frames, fps, held_out)
  count = facts_lib.draw_count(key, objects)
  ground = facts_lib.draw_background(key, background)
  collide = count > 1 and seconds >= 1 and key.random() < 0.25
  large = LARGE[count - 1]
  while True:
    drawn = _draw_objects(key, aspect, seconds, count, collide, large, held_out)
    if drawn:
      return facts_lib.Facts("balls", ground, drawn, seconds, aspect, None,
                             size, frames, fps)
    large *= 0.7  # fewer large objects where they do not fit


def _draw_objects(rng, aspect, seconds, count, collide, large, held):
  """`count` objects that keep apart, or None where the draw did not fit."""
  things = ()
  if collide:
    things = _draw_colliding(rng, aspect, seconds, large, held)
    if not things:
      return None
  paths = _paths(things, aspect, seconds)
  for _ in range(30 * count):
    if len(things) == count:
      return things
    thing = _draw_object(rng, aspect, seconds, large, held,
                         {o.colour for o in things})
    if thing is None:
      continue
    path = _paths((thing,), aspect, seconds)
    if _apart(path, thing.diameter, paths, [o.diameter for o in things]):
      things += (thing,)
      paths = np.concatenate([paths, path], 1)
  return things if len(things) == count else None


def _draw_object(rng, aspect, seconds, large, held, used):
  """One object that moves by itself; None if no colour is left for it."""
  kind = "still"
  if seconds:
    kind = facts_lib.pick(rng, ("straight",) * 6 + ("bounce", "fall"))
    kind = kind if seconds >= 1 else "straight"
  direction = facts_lib.pick(rng, facts_lib.DIRECTIONS)
  direction = {"still": "none", "fall": "down"}.get(kind, direction)
  shape = facts_lib.pick(rng, facts_lib.SHAPES)
  colour = facts_lib.draw_colour(rng, shape, direction, used, held)
  size = "large" if rng.random() < large else "small"
  d = facts_lib.SIZES[size]
  start = [rng.uniform(d / 2 + EDGE, a - d / 2 - EDGE) for a in aspect]
  velocity = [0.0, 0.0]
  if kind == "fall":
    start[1] = d / 2 + EDGE + rng.uniform(0.0, 0.1)
  elif kind != "still":
    axis = 0 if direction in ("right", "left") else 1
    draw = _draw_straight if kind == "straight" else _draw_bounce
    x, speed = draw(rng, aspect[axis] - d - 2 * EDGE, seconds)
    sign = sum(facts_lib.DIRECTIONS[direction])
    low = d / 2 + EDGE
    start[axis] = low + x if sign > 0 else aspect[axis] - low - x
    velocity[axis] = sign * speed
  if colour is None:
    return None
  return facts_lib.Object(colour, shape, size, kind, direction,
                          tuple(map(float, start)), tuple(map(float, velocity)))


def _draw_straight(rng, room, seconds):
  """(start, speed) of an object with `room` to move in, from 0 to room."""
  fastest = min(SPEEDS[1], room / seconds)
  slowest = max(SPEEDS[0], min(TRAVEL, 0.9 * room) / seconds
                if seconds >= 1 else SPEEDS[0])
  speed = rng.uniform(min(slowest, 0.8 * fastest), fastest)
  return rng.uniform(0, room - speed * seconds), speed


def _draw_bounce(rng, room, seconds):
  """(start, speed) of an object that reaches `room` and comes back."""
  there = rng.uniform(0.2, min(0.45, 0.8 * room))
  back = rng.uniform(0.15, min(0.35, 0.7 * room))
  # It meets the edge EDGE behind the room.
  speed = min((there + back + 2 * EDGE) / seconds, 0.6)
  there = min(there, speed * seconds - 0.15)
  return room - there, max(speed, SPEEDS[0])


def _draw_colliding(rng, aspect, seconds, large, held):
  """Two objects that meet head on, once in the clip; () if they do not fit."""
  axis = int(rng.integers(2))
  sizes = ["large" if rng.random() < large else "small" for _ in range(2)]
  diameters = [facts_lib.SIZES[s] for s in sizes]
  # Both go the same way before they touch, at 40 to 55 % of the clip.
  touch = min(rng.uniform(0.4, 0.55) * seconds, 1.5)
  room = aspect[axis] - sum(diameters) - 2 * EDGE
  way = rng.uniform(0.15, max(min(0.5 * touch, room / 2, 0.3), 0.15))
  if 2 * way > room:
    return ()
  first = diameters[0] / 2 + EDGE + rng.uniform(0, room - 2 * way)
  along = (first, first + sum(diameters) / 2 + 2 * way)
  side = max(diameters) / 2 + EDGE
  across = rng.uniform(side, aspect[1 - axis] - side)
  names = (("right", "left"), ("down", "up"))[axis]
  things = ()
  for i in range(2):
    # Triangles would touch at a corner only: discs and squares meet in full.
    shape = facts_lib.pick(rng, ("disc", "square"))
    colour = facts_lib.draw_colour(rng, shape, names[i],
                                   {o.colour for o in things}, held)
    if colour is None:
      return ()
    start, velocity = [across, across], [0.0, 0.0]
    start[axis], velocity[axis] = along[i], (1 - 2 * i) * way / touch
    things += (facts_lib.Object(colour, shape, sizes[i], "collide", names[i],
                                tuple(map(float, start)),
                                tuple(map(float, velocity))),)
  return things


def _paths(things, aspect, seconds):
  """The centres of `things` over a clip, [times, objects, 2]."""
  times = np.linspace(0, seconds, int(16 * seconds) + 2)
  if not things:
    return np.zeros((len(times), 0, 2))
  nothing = facts_lib.Background("plain", ("grey",))
  return motion.positions(
      facts_lib.Facts("balls", nothing, things, seconds, aspect, None,
                      (1, 1), 1, 1.0), times)


def _apart(path, diameter, paths, diameters):
  """Whether an object on `path` never comes near the objects on `paths`."""
  gaps = np.abs(path - paths).max(-1) - (diameter + np.array(diameters)) / 2
  return bool((gaps > GAP).all())

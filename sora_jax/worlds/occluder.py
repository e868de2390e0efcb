"""The world of the occluder: objects pass behind a wall and come out again.

Report: "our model can persist people, animals and objects even when they are
occluded or leave the frame." An object is seen before the wall, is wholly
hidden for at least two frames at 8 a second, and is seen on the far side before
the clip ends. It moves straight on throughout.
"""

import dataclasses

import numpy as np

from sora_jax.worlds import captions
from sora_jax.worlds import facts as facts_lib
from sora_jax.worlds import laws
from sora_jax.worlds import parse as parse_lib
from sora_jax.worlds import raster
from sora_jax.worlds import reading
from sora_jax.worlds import rows_permanence

# As in every flat world.
OPTIONS = facts_lib.OPTIONS
LAWS = laws.LAWS
ROWS = rows_permanence.OCCLUDER
render = raster.render
describe = captions.describe
told = reading.told
read = reading.read
parse = parse_lib.parse
score = parse_lib.score
twin = laws.twin
what_if = laws.what_if

SHORTEST = 1.5  # seconds of the shortest video
HIDDEN = 0.27  # seconds wholly behind the wall: two frames at 8 a second
SEEN = 0.14  # seconds wholly before and beyond it, in clips of 2 s and more
EDGE = 0.02  # the least distance to the edge of the frame
GAP = 0.04  # the least distance between lanes
CONTRAST = 60  # the least distance from the wall's colour to the background's
LARGE = (0.5, 0.4, 0.2)  # share of large objects, by the number of objects


def sample(key: np.random.Generator, size: tuple[int, int], frames: int,
           fps: float, held_out: bool = False, *, objects: int | None = None,
           background: str | None = None) -> facts_lib.Facts:
  """Draws the facts of a clip; arguments and errors as in `balls.sample`.

  Raises:
    ValueError: also a clip of less than 1.5 seconds that is no image.
  """
  aspect = facts_lib.frame_aspect(size)
  seconds = facts_lib.duration(frames, fps, held_out)
  if seconds and seconds < SHORTEST:
    raise ValueError(f"seconds={seconds}: to pass behind the wall takes "
                     f"{SHORTEST} or more; use more frames, or one (an image)")
  count = facts_lib.draw_count(key, objects)
  ground = facts_lib.draw_background(key, background)
  colour = _draw_wall_colour(key, ground)
  axis = int(key.random() > (0.7 if aspect[0] >= aspect[1] else 0.4))
  large = LARGE[count - 1]
  while True:
    drawn = _draw(key, aspect, seconds, axis, count, large, held_out)
    if drawn:
      (low, high), things = drawn
      wall = facts_lib.Wall("xy"[axis], low, high, colour)
      return facts_lib.Facts("occluder", ground, things, seconds, aspect, wall,
                             size, frames, fps)
    large *= 0.7  # fewer large objects where they do not fit


def empty(facts: facts_lib.Facts) -> facts_lib.Facts:
  """The same clip with the wall alone; no caption tells it."""
  return dataclasses.replace(facts, objects=())


def _draw_wall_colour(rng, background):
  """A dull colour that stands out from the background."""
  dull = {k: np.array(v, float) for k, v in facts_lib.DULL.items()}
  return facts_lib.pick(rng, [
      name for name, rgb in dull.items()
      if all(np.linalg.norm(rgb - dull[c]) > CONTRAST
             for c in background.colours)])


def _draw(rng, aspect, seconds, axis, count, large, held):
  """(the wall's edges, objects), or None where the draw does not fit."""
  length = aspect[axis]
  sizes = ["large" if rng.random() < large else "small" for _ in range(count)]
  diameters = [facts_lib.SIZES[s] for s in sizes]
  across = _draw_lanes(rng, aspect[1 - axis], diameters)
  widest = max(diameters)
  time = seconds or 2.0
  # The least speed with which the widest object crosses a wall of the least
  # width w = d + HIDDEN v in a way of w + d + 2 seen v = v time.
  seen = _seen(time)
  speed = 2 * widest / (time - HIDDEN - 2 * seen)
  width = (widest + HIDDEN * speed) * rng.uniform(1.0, 1.15)
  room = length - 2 * (widest + EDGE) - width
  if across is None or room < 2 * seen * speed:
    return None
  low = widest + EDGE + room * rng.uniform(0.4, 0.6)
  things = ()
  for size, d, lane in zip(sizes, diameters, across):
    used = {o.colour for o in things}
    thing = _draw_object(rng, (low, low + width), length, seconds, axis, size,
                         d, lane, used, held)
    if thing is None:
      return None
    things += (thing,)
  return (float(low), float(low + width)), things


def _seen(seconds):
  """The seconds that an object is whole before and beyond the wall."""
  return min(SEEN, SEEN * (seconds - 1))


def _draw_lanes(rng, breadth, diameters):
  """Centres of lanes that keep apart, in drawn order; None if they do not."""
  order = rng.permutation(len(diameters))
  room = breadth - sum(diameters) - 2 * EDGE - GAP * (len(order) - 1)
  if room < 0:
    return None
  cuts = np.diff(np.sort(rng.uniform(0, room, len(order))), prepend=0.0)
  centres, begin = {}, EDGE
  for i, cut in zip(order, cuts):
    centres[i] = begin + cut + diameters[i] / 2
    begin += cut + diameters[i] + GAP
  return [centres[i] for i in range(len(diameters))]


def _draw_object(rng, wall, length, seconds, axis, size, d, lane, used,
                 held):
  """One object that passes behind the wall; None if no draw does."""
  names = (("right", "left"), ("down", "up"))[axis]
  forward = rng.random() < 0.5
  direction = names[0 if forward else 1] if seconds else "none"
  shape = facts_lib.pick(rng, facts_lib.SHAPES)
  colour = facts_lib.draw_colour(rng, shape, direction, used, held)
  # Way x is counted from the edge of the frame that the object comes from.
  near, far = wall if forward else (length - wall[1], length - wall[0])
  seen = _seen(seconds)
  for _ in range(50):
    x = rng.uniform(d / 2 + EDGE, near - d / 2)
    end = rng.uniform(far + d / 2, length - d / 2 - EDGE)
    speed = (end - x) / seconds if seconds else 0.0
    margin = seen * speed
    if (x + margin <= near - d / 2 and end - margin >= far + d / 2
        and far - near - d >= HIDDEN * speed and colour):
      break
  else:
    return None
  along = x if forward else length - x
  velocity = speed if forward else -speed
  start = (along, lane) if axis == 0 else (lane, along)
  return facts_lib.Object(
      colour, shape, size, "pass" if seconds else "still", direction,
      tuple(map(float, start)),
      (float(velocity), 0.0) if axis == 0 else (0.0, float(velocity)))

"""Rigid bodies by pymunk: discs and convex pieces under gravity, in a box.

Lengths are short sides, times seconds, y points down. A body's mass is its area,
as if all were of one material. The clock ticks TICKS times a second whatever
the frame rate, so that the motion is the same at every rate.
"""

from collections.abc import Sequence
import importlib
from typing import Any

import numpy as np
import numpy.typing as npt

from sora_jax import extras

TICKS = 240


def pymunk() -> Any:
  """The package.

  Raises:
    ValueError: it is not installed.
  """
  try:
    return importlib.import_module("pymunk")
  except ImportError as e:
    raise ValueError("the worlds collide and shatter need pymunk, which is not "
                     f"installed: {extras.install('worlds')}") from e


def space(gravity: float) -> Any:
  """An empty pymunk.Space."""
  made = pymunk().Space()
  made.gravity = 0, gravity
  made.collision_slop = 0.002
  made.iterations = 20
  return made


def add_walls(where: Any, box: tuple[float, float, float, float],
              elasticity: float, friction: float = 0.0) -> None:
  """Four walls around the box (x0, y0, x1, y1)."""
  x0, y0, x1, y1 = box
  thick = 0.5
  for a, b in (((x0 - thick, y0 - 9), (x0 - thick, y1 + 9)),
               ((x1 + thick, y0 - 9), (x1 + thick, y1 + 9)),
               ((x0 - 9, y0 - thick), (x1 + 9, y0 - thick)),
               ((x0 - 9, y1 + thick), (x1 + 9, y1 + thick))):
    wall = pymunk().Segment(where.static_body, a, b, thick)
    wall.elasticity, wall.friction = elasticity, friction
    where.add(wall)


def add_disc(where: Any, place: npt.ArrayLike, velocity: npt.ArrayLike,
             radius: float, elasticity: float, friction: float = 0.0) -> Any:
  """A disc; a pymunk.Body."""
  lib, mass = pymunk(), np.pi * radius**2
  # Without friction a disc never turns.
  body = lib.Body(mass, lib.moment_for_circle(mass, 0, radius)
                  if friction else float("inf"))
  body.position, body.velocity = _pair(place), _pair(velocity)
  shape = lib.Circle(body, radius)
  shape.elasticity, shape.friction = elasticity, friction
  where.add(body, shape)
  return body


def add_piece(where: Any, corners: np.ndarray, velocity: npt.ArrayLike,
              elasticity: float, friction: float) -> Any:
  """A convex piece with corners [N, 2]; a pymunk.Body at its centroid."""
  lib = pymunk()
  centre = centroid(corners)
  local = [tuple(c) for c in corners - centre]
  mass = area(corners)
  body = lib.Body(mass, lib.moment_for_poly(mass, local))
  body.position, body.velocity = _pair(centre), _pair(velocity)
  shape = lib.Poly(body, local)
  shape.elasticity, shape.friction = elasticity, friction
  where.add(body, shape)
  return body


def add_fixed(where: Any, corners: np.ndarray, elasticity: float) -> None:
  """A convex thing with corners [N, 2] that never moves."""
  shape = pymunk().Poly(where.static_body, [tuple(c) for c in corners])
  shape.elasticity, shape.friction = elasticity, 0.5
  where.add(shape)


def run(where: Any, ends: np.ndarray, bodies: Sequence[Any]) -> np.ndarray:
  """Lets time pass.

  Args:
    where: the space.
    ends: [T] times, ascending from 0.
    bodies: whose places are asked for.

  Returns:
    [T, len(bodies), 3]: x, y and angle at `ends`; between two ticks on a
    straight line.
  """
  found, tick, state = [], 0, _state(bodies)
  for end in np.round(np.asarray(ends) * TICKS, 6):
    before = state
    while tick < end:
      if tick + 1 >= end:
        before = _state(bodies)
      where.step(1 / TICKS)
      tick += 1
    state = _state(bodies)
    found.append(state + (state - before) * (end - tick))
  return np.stack(found) if found else np.zeros((0, len(bodies), 3))


def _pair(vector):
  x, y = np.asarray(vector)
  return float(x), float(y)


def _state(bodies):
  return np.array([(*b.position, b.angle) for b in bodies]).reshape(-1, 3)


def discs(aspect: tuple[float, float], start: np.ndarray, velocity: np.ndarray,
          radius: np.ndarray, gravity: float, elasticity: float,
          times: np.ndarray) -> np.ndarray:
  """The centres of discs [T, n, 2] at `times`, in a box of a frame's aspect.

  Args:
    aspect: (width, height) of the box.
    start, velocity: [n, 2].
    radius: [n].
    gravity: downward.
    elasticity: the share of speed that is kept at a touch.
    times: [T], ascending from 0.
  """
  where = space(gravity)
  each = elasticity**0.5  # pymunk multiplies those of the two that touch
  add_walls(where, (0, 0, *aspect), each)
  made = [add_disc(where, p, v, r, each)
          for p, v, r in zip(start, velocity, radius)]
  return run(where, times, made)[..., :2]


def area(corners: np.ndarray) -> float:
  """The area of a polygon [N, 2]."""
  x, y = corners.T
  return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)


def centroid(corners: np.ndarray) -> np.ndarray:
  """The centroid [2] of a polygon [N, 2]."""
  x, y = corners.T
  cross = x * np.roll(y, -1) - y * np.roll(x, -1)
  return np.array([((x + np.roll(x, -1)) * cross).sum(),
                   ((y + np.roll(y, -1)) * cross).sum()]) / (3 * cross.sum())

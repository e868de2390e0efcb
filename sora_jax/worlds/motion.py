"""Physics in continuous time: straight lines, bounces, falls and collisions.

Between events every object has constant acceleration,

  p(t) = p + v dt + a dt^2 / 2,

and the times of events (an object reaches an edge of the frame, two colliding
objects touch) are roots of that equation, solved in closed form. Positions at a
time therefore do not depend on the frame rate at which they are asked for.
Objects collide elastically, like discs whose mass is the square of their
diameter; only objects of motion "collide" touch each other.
"""

import numpy as np
import numpy.typing as npt

from sora_jax.worlds import facts as facts_lib

GRAVITY = 1.0  # short sides / s^2, on objects of motion "fall"
RESTITUTION = 0.75  # speed kept when a falling object hits the floor
REST = 0.08  # a falling object slower than this stays on the floor


def positions(facts: facts_lib.Facts, times: npt.ArrayLike) -> np.ndarray:
  """Centres of the objects at `times`: [len(times), objects, 2] float64."""
  times = np.asarray(times, np.float64)
  begins, *pieces = zip(*_pieces(facts, float(times.max(initial=0.0))))
  i = np.searchsorted(begins, times, side="right") - 1
  dt = (times - np.asarray(begins)[i])[:, None, None]
  p, v, a = (np.stack(x)[i] for x in pieces)  # [T, n, 2]
  return p + v * dt + 0.5 * a * dt * dt


def frame_times(facts: facts_lib.Facts) -> np.ndarray:
  """The times of the frames of a clip, [T] seconds: frame i is at i / fps."""
  return np.arange(facts.frames) / facts.fps


def _pieces(facts, until):
  """The pieces (begin, p, v, a) of the motion from time 0 to `until`."""
  objects = facts.objects
  p = np.array([o.start for o in objects], np.float64).reshape(-1, 2)
  v = np.array([o.velocity for o in objects], np.float64).reshape(-1, 2)
  a = np.zeros_like(p)
  a[:, 1] = [GRAVITY * (o.motion == "fall") for o in objects]
  r = np.array([o.diameter / 2 for o in objects])
  colliding = [i for i, o in enumerate(objects) if o.motion == "collide"]
  pieces, now = [(0.0, p, v, a)], 0.0
  while True:
    dt, event = _next_event(p, v, a, r, facts.aspect, colliding)
    now += dt
    if event is None or now > until:
      return pieces
    p, v, a = p + v * dt + 0.5 * a * dt * dt, v + a * dt, a.copy()
    if event[0] == "edge":
      _, i, axis, bound = event
      p[i, axis] = bound
      v[i, axis] *= -RESTITUTION if a[i, axis] else -1.0
      if a[i, axis] and abs(v[i, axis]) < REST:
        v[i, axis] = a[i, axis] = 0.0
    else:
      _collide(p, v, r, *event[1:])
    pieces.append((now, p, v, a))


def _next_event(p, v, a, r, aspect, colliding):
  """(time to the next event, event); (inf, None) if there is none."""
  best, event = np.inf, None
  for i in range(len(p)):
    for axis in (0, 1):
      x, speed, pull = p[i, axis], v[i, axis], a[i, axis]
      far = aspect[axis] - r[i]
      if pull:
        bound = far
        dt = (np.sqrt(speed**2 + 2 * pull * max(far - x, 0.0)) - speed) / pull
      elif speed:
        bound = far if speed > 0 else r[i]
        dt = max((bound - x) / speed, 0.0)
      else:
        continue
      if dt < best:
        best, event = dt, ("edge", i, axis, bound)
  for n, i in enumerate(colliding):
    for j in colliding[n + 1:]:
      dp, dv = p[j] - p[i], v[j] - v[i]
      b, vv = dp @ dv, dv @ dv
      disc = b * b - vv * (dp @ dp - (r[i] + r[j])**2)
      if b < 0 and disc > 0:
        dt = max((-b - np.sqrt(disc)) / vv, 0.0)
        if dt < best:
          best, event = dt, ("touch", i, j)
  return best, event


def _collide(p, v, r, i, j):
  """Changes v in place: i and j exchange momentum along their line."""
  line = p[j] - p[i]
  line = line / np.sqrt(line @ line)
  mi, mj = r[i]**2, r[j]**2
  push = 2 * ((v[i] - v[j]) @ line) / (mi + mj) * line
  v[i] -= mj * push
  v[j] += mi * push


def floor_time(facts: facts_lib.Facts, thing: facts_lib.Object) -> float:
  """When an object that falls from rest first reaches the floor."""
  drop = facts.aspect[1] - thing.diameter / 2 - thing.start[1]
  return float(np.sqrt(2 * drop / GRAVITY))

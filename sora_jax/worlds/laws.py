"""Clips that differ from a clip in one thing: a law broken, or a fact changed.

  permanence     the first object is gone from the middle of the clip on
  immutability   it is of another colour from there on
  continuity     it is back where it was at the start, and comes again
"""

from collections.abc import Iterator
import dataclasses
import itertools

import numpy as np

from sora_jax.worlds import facts as facts_lib
from sora_jax.worlds import motion

LAWS = ("permanence", "immutability", "continuity")
OPPOSITE = {"right": "left", "left": "right", "up": "down", "down": "up"}
Seen = tuple[slice, facts_lib.Object, np.ndarray]


def twin(facts: facts_lib.Facts, law: str) -> facts_lib.Facts:
  """The same clip with one of LAWS broken in its middle.

  Raises:
    ValueError: another law, or an image, which shows none.
  """
  if law not in LAWS:
    raise ValueError(f"there is no law {law!r}; there are {', '.join(LAWS)}")
  if facts.frames < 2:
    raise ValueError(f"frames={facts.frames}: an image breaks no law; use 2 or "
                     "more")
  return dataclasses.replace(facts, broken=law)


def seen(facts: facts_lib.Facts, centres: np.ndarray) -> Iterator[Seen]:
  """What is to be drawn of each object, the law broken if there is one.

  Args:
    facts: of the clip.
    centres: [T, objects, 2], by the physics.

  Yields:
    (frames, object, its centre in each of them [frames, 2]).
  """
  whole, half = slice(None), facts.frames // 2
  for i, thing in enumerate(facts.objects):
    if i or not facts.broken:
      yield whole, thing, centres[:, i]
      continue
    yield slice(half), thing, centres[:half, i]
    after = slice(half, None)
    if facts.broken == "immutability":
      colour = _unused(facts)[0]
      yield after, dataclasses.replace(thing, colour=colour), centres[half:, i]
    elif facts.broken == "continuity":
      yield after, thing, centres[:facts.frames - half, i]


def what_if(facts: facts_lib.Facts,
            key: np.random.Generator) -> facts_lib.Facts:
  """The same clip, but one object has another colour, shape or direction.

  A clip that may be trained on is changed to another that may be.
  """
  found = {"colour": [_with(facts, i, colour=colour)
                      for i in range(len(facts.objects))
                      for colour in _unused(facts)],
           "shape": [_with(facts, i, shape=shape)
                     for i, o in enumerate(facts.objects)
                     for shape in facts_lib.SHAPES
                     # Colliding triangles would touch at a corner only.
                     if shape != o.shape and (o.motion, shape) != (
                         "collide", "triangle")],
           "direction": [_back(facts, i) for i, o in enumerate(facts.objects)
                         if o.motion in ("straight", "pass")]}
  allowed = [[f for f in some if _apart(f) and (
      facts_lib.held_out(facts) or not facts_lib.held_out(f))]
             for some in found.values()]
  return facts_lib.pick(key, facts_lib.pick(key, filter(None, allowed)))


def _unused(facts):
  """The colours that no object has."""
  return [c for c in facts_lib.COLOURS
          if c not in {o.colour for o in facts.objects}]


def _with(facts, i, **change):
  """The facts with object i changed."""
  objects = list(facts.objects)
  objects[i] = dataclasses.replace(objects[i], **change)
  return dataclasses.replace(facts, objects=tuple(objects))


def _back(facts, i):
  """The facts with object i on the same way from its end to its start."""
  thing = facts.objects[i]
  end = motion.positions(facts, [facts.seconds])[0, i]
  return _with(facts, i, direction=OPPOSITE[thing.direction],
               start=tuple(map(float, end)),
               velocity=tuple(-v for v in thing.velocity))


def _apart(facts):
  """Whether no two objects overlap that do not collide."""
  paths = motion.positions(facts, np.linspace(
      0, facts.seconds, int(16 * facts.seconds) + 2))
  for (i, a), (j, b) in itertools.combinations(enumerate(facts.objects), 2):
    gap = np.abs(paths[:, i] - paths[:, j]).max(-1)
    if {a.motion, b.motion} != {"collide"} and gap.min() <= (
        a.diameter + b.diameter) / 2:
      return False
  return True

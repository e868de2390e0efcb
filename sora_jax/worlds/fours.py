"""Fours: two lawful clips and two that break a law, of the very same frames.

The lawful clips are A and B; the others begin as one of them and end as the
other. So each frame is as often lawful as not, at the same place in time, and
whoever sees frames singly cannot tell which clips are which.
"""

import dataclasses
from typing import Any

import numpy as np

from sora_jax import contracts


def partner(world: contracts.World, facts: Any, law: str) -> Any:
  """The lawful facts that a clip ends as where the law is broken.

  None of a law without: then only a pair can be made, which frames taken singly
  may tell.
  """
  if hasattr(world, "counterpart") and law not in getattr(world, "UNPAIRED", ()):
    return world.counterpart(facts, law)
  empty = getattr(world, "empty", None)
  return empty(facts) if empty and law == "permanence" else None


def four(world: contracts.World, facts: Any, law: str) -> np.ndarray:
  """The clips A, B, A that ends as B, and B that ends as A.

  Of a law without a partner: A, A, and its twin two times.

  Returns:
    uint8 [4, T, H, W, 3].
  """
  a, broken = world.render(facts), world.render(world.twin(facts, law))
  other = partner(world, facts, law)
  if other is None:
    return np.stack([a, a, broken, broken])
  b, when = world.render(other), int((a != broken).any((1, 2, 3)).argmax())
  return np.stack([a, b, np.concatenate([a[:when], b[when:]]),
                   np.concatenate([b[:when], a[when:]])])


def sample(world: contracts.World, key: np.random.Generator,
           size: tuple[int, int], frames: int, fps: float) -> Any:
  """Held-out facts of as few objects as can be, and not of none.

  Raises:
    ValueError: a size or duration that the world cannot draw.
  """
  options = getattr(world, "OPTIONS", {})
  fewest = {"objects": min(options["objects"])} if "objects" in options else {}
  facts = world.sample(key, getattr(world, "SIZE", size), frames, fps,
                       held_out=True, **fewest)
  if getattr(facts, "empty", False):
    facts = dataclasses.replace(facts, empty=False)
  return facts

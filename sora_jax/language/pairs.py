"""Pairs of the worlds: a short caption, English or Chinese, and a descriptive one.

Nothing is rendered. Pair i depends on (seed, i) alone.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from sora_jax import contracts
from sora_jax import worlds

# The worlds that run without an extra.
WORLDS = tuple(name for name, world in worlds.WORLDS.items()
               if not getattr(world, "NEEDS", ()))
SIZES = ((128, 72), (64, 64), (56, 96))
FRAMES = (1, 17, 33, 49)
FPS = 8.0
FACTS = 24  # of a world that can vary facts: drawing them takes long there


def facts_of(name: str, seed: int, index: int,
             held_out: bool = False) -> contracts.Facts:
  """The facts of clip `index` of a world; no image is held out."""
  rng, world = worlds.key(seed + index, name, "pairs"), worlds.WORLDS[name]
  size = getattr(world, "SIZE", SIZES[rng.integers(len(SIZES))])
  least = world.SHORTEST * FPS + 1
  frames = [n for n in FRAMES if n >= least or n == 1][held_out:] + (
      [int(np.ceil(least))] * (least > FRAMES[-1]))
  count = frames[rng.integers(len(frames))]
  return world.sample(rng, size, count, FPS, held_out)


def draw(names: Sequence[str], count: int, seed: int = 0
         ) -> Iterator[tuple[str, str]]:
  """Pairs of `count` clips of each world: an English and a Chinese one of each.

  Pairs whose descriptive caption does not keep all that the short one tells are
  left out: templates may call a grey wall a wall.
  """
  for name in names:
    world = worlds.WORLDS[name]
    vary = getattr(world, "vary", None)
    few = [facts_of(name, seed, i) for i in range(FACTS)] if vary else []
    for i in range(count):
      facts = (vary(few[i % FACTS], worlds.key(seed + i, name, "colours")) if vary
               else facts_of(name, seed, i))
      for language in ("en", "zh"):
        words = worlds.key(seed + i, name, "pairs", language)
        short, long = world.describe(facts, words, language)
        if world.read(short).items() <= world.read(long).items():
          yield short, long

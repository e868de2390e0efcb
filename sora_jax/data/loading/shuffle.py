"""Seeded permutations of any length, computed for the places that are asked.

A Feistel network permutes the numbers of 2 k bits; a result beyond `count` is
permuted again until it is within (cycle walking, Black and Rogaway 2002), which
permutes 0 .. count - 1. So a step far into an epoch of a large data set costs
as little as the first one, in time and in memory.
"""

from collections.abc import Sequence

import numpy as np

ROUNDS = 6


def permuted(place: Sequence[int] | np.ndarray, count: int,
             key: np.ndarray) -> np.ndarray:
  """The elements at some places of seeded permutations of 0 .. count - 1.

  Args:
    place: [N] integers in 0 .. count - 1.
    count: elements of the permutation, at least 1.
    key: [N] or scalar uint64, of `keys`: which permutation.

  Returns:
    [N] int64.
  """
  half = np.uint64(max(1, (int(count - 1).bit_length() + 1) // 2))
  mask = (np.uint64(1) << half) - np.uint64(1)
  x = np.asarray(place).astype(np.uint64)
  key = np.broadcast_to(np.asarray(key, np.uint64), x.shape)
  todo = np.arange(len(x))
  while len(todo):
    left, right = x[todo] >> half, x[todo] & mask
    for i in range(ROUNDS):
      left, right = right, left ^ (mixed(right + key[todo] + np.uint64(
          i << 40)) & mask)
    x[todo] = left << half | right
    todo = todo[x[todo] >= count]
  return x.astype(np.int64)


def keys(seed: int, epoch: int | np.ndarray) -> np.ndarray:
  """The keys [N] uint64 of the permutations of some epochs."""
  start = np.random.default_rng([seed, 4]).integers(2 ** 63, dtype=np.uint64)
  return mixed(mixed(np.asarray(epoch).astype(np.uint64)) ^ start)


def mixed(x: np.ndarray) -> np.ndarray:
  """The output function of SplitMix64 (Steele et al. 2014), modulo 2^64."""
  with np.errstate(over="ignore"):
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))

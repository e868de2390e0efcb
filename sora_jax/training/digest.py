"""Digests of the arrays of a tree, the same however they are sharded.

Orbax and safetensors both read a flipped byte as a wrong value and say nothing;
a digest per leaf makes damage visible. It is

  sum_i word_i (2 i + 1)  modulo 2^64

over the bits of the elements, i the element's index in the whole array. A sum
has no order, so any sharding gives the same; an odd factor is one to one, so a
change of one element always shows. Of several processes each sums what it holds.
"""

import json
import math
from typing import Any

import jax
import numpy as np

from sora_jax import mesh as mesh_lib
from sora_jax import types
from sora_jax.mesh import multihost


def describe(tree: types.PyTree) -> dict[str, str]:
  """'dtype shape digest' of every leaf, by its path."""
  leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
  parts = map(json.loads, multihost.exchange(
      json.dumps([digest(x) for _, x in leaves])))
  return {mesh_lib.path_name(path):
          f"{x.dtype} {list(x.shape)} {sum(part) % 2**64:016x}"
          for (path, x), *part in zip(leaves, *parts)}


def digest(x: jax.Array) -> int:
  """64 bits of an array, or of the part of it that is on this host."""
  x = jax.numpy.asarray(x)
  total = 0
  for shard in x.addressable_shards:
    if shard.replica_id == 0:
      start = [s.indices(n)[0] for s, n in zip(shard.index, x.shape)]
      total += _part(np.asarray(shard.data), start, x.shape)
  return total % 2**64


def _part(data: np.ndarray, start, shape) -> int:
  """The sum over a block of the array that begins at index `start`."""
  bits = np.ascontiguousarray(data).view(f"u{data.dtype.itemsize}")
  index = np.zeros((1,) * len(shape), np.uint64)
  for axis, (size, first) in enumerate(zip(data.shape, start)):
    place = np.arange(first, first + size, dtype=np.uint64)
    place *= np.uint64(math.prod(shape[axis + 1:]))
    index = index + place.reshape((-1,) + (1,) * (len(shape) - axis - 1))
  return int(np.sum(bits.reshape(data.shape) * (2 * index + np.uint64(1)),
                    dtype=np.uint64))


def differences(a: dict[str, str], b: dict[str, str]) -> list[str]:
  """The names in `a` whose entry in `b` is another or missing."""
  return [name for name, leaf in a.items() if b.get(name) != leaf]


def skeleton(leaves: dict[str, str], root: str, sharding: Any) -> dict:
  """The tree of dicts below `root` as ShapeDtypeStructs, from `describe`."""
  tree: dict[str, Any] = {}
  for path, leaf in leaves.items():
    top, *names = path.split("/")
    if top != root:
      continue
    dtype, shape = leaf.rsplit(" ", 1)[0].split(" ", 1)
    at = tree
    for name in names[:-1]:
      at = at.setdefault(name, {})
    at[names[-1]] = jax.ShapeDtypeStruct(json.loads(shape), dtype,
                                         sharding=sharding)
  return tree

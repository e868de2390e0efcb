"""Digests of the arrays of a tree, the same however they are sharded.

Orbax and safetensors both read a flipped byte as a wrong value and say nothing;
a digest per leaf makes damage visible. It is

  sum_i word_i (2 i + 1)  modulo 2^64

over the bits of the elements, i the element's index in the whole array. A sum
has no order, so any sharding gives the same; an odd factor is one to one, so a
change of one element always shows. Of several processes each sums what it holds.

Summing takes time, so `snapshot` copies a state first, and a thread sums the
copy while the run goes on.
"""

from collections.abc import Callable
import dataclasses
import json
import math
from typing import Any

import jax
import numpy as np

from sora_jax import mesh as mesh_lib
from sora_jax import types
from sora_jax.mesh import multihost


@dataclasses.dataclass(frozen=True)
class Leaf:
  """What this process holds of an array.

  Attributes:
    name: its path in the tree.
    dtype: of it.
    shape: of the whole array.
    blocks: (index of its first element, values) of every part, each part of the
      array with one of the processes.
  """

  name: str
  dtype: str
  shape: tuple[int, ...]
  blocks: tuple[tuple[tuple[int, ...], np.ndarray], ...]


def snapshot(tree: types.PyTree) -> list[Leaf]:
  """Copies the arrays of a tree to this host, so that they may change."""
  leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
  for _, x in leaves:  # all are under way before the first is waited for
    if isinstance(x, jax.Array):
      x.copy_to_host_async()
  return [_leaf(mesh_lib.path_name(path), x, np.array) for path, x in leaves]


def describe(tree: types.PyTree) -> dict[str, str]:
  """'dtype shape digest' of every leaf, by its path."""
  return describe_leaves([
      _leaf(mesh_lib.path_name(path), x, np.asarray)
      for path, x in jax.tree_util.tree_flatten_with_path(tree)[0]])


def describe_leaves(leaves: list[Leaf], channel: str = "") -> dict[str, str]:
  """`describe` of a snapshot; a thread of its own has a channel of its own.

  Args:
    leaves: of `snapshot`.
    channel: of multihost.exchange.
  """
  parts = map(json.loads, multihost.exchange(
      json.dumps([_sum(leaf) for leaf in leaves]), channel))
  return {leaf.name: f"{leaf.dtype} {list(leaf.shape)} {sum(part) % 2**64:016x}"
          for leaf, *part in zip(leaves, *parts)}


def digest(x: jax.Array) -> int:
  """64 bits of an array, or of the part of it that is on this host."""
  return _sum(_leaf("", x, np.asarray))


def _leaf(name: str, x: jax.Array, copy: Callable) -> Leaf:
  """The parts of an array that this process is the first to hold."""
  x = jax.numpy.asarray(x)
  blocks = tuple(
      (tuple(s.indices(n)[0] for s, n in zip(shard.index, x.shape)),
       copy(shard.data))
      for shard in x.addressable_shards if shard.replica_id == 0)
  return Leaf(name, str(x.dtype), x.shape, blocks)


def _sum(leaf: Leaf) -> int:
  """The sum over what this process holds of an array."""
  return sum(_part(data, start, leaf.shape)
             for start, data in leaf.blocks) % 2**64


def _part(data: np.ndarray, start: tuple[int, ...],
          shape: tuple[int, ...]) -> int:
  """The sum over a block of the array that begins at index `start`.

  An index is a sum over the axes, and so is the sum of words times indices: of
  each axis the words are added up over all others first.
  """
  words: np.ndarray = np.ascontiguousarray(data).view(
      f"u{data.dtype.itemsize}").reshape(data.shape)
  total, strides = 0, [math.prod(shape[k + 1:]) for k in range(len(shape))]
  for first, stride in reversed(list(zip(start, strides))):
    rest = words.sum(-1, dtype=np.uint64)
    along = words.sum(tuple(range(words.ndim - 1)), dtype=np.uint64)
    place = np.arange(first, first + words.shape[-1], dtype=np.uint64)
    total += 2 * stride * int(np.sum(along * place, dtype=np.uint64))
    words = rest
  return (total + int(words.sum(dtype=np.uint64))) % 2**64


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

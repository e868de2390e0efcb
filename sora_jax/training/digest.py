"""Digests of arrays, computed where they lie.

Orbax and safetensors both read a flipped byte as a wrong value and say nothing;
a digest per leaf makes damage visible. It depends on the values only, not on
how they are sharded, so it survives a change of topology.
"""

import json

import jax
import jax.numpy as jnp
import numpy as np

from sora_jax import mesh as mesh_lib


def describe(tree) -> dict[str, str]:
  """'dtype shape digest' of every leaf, by its path."""
  leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
  digests = np.asarray(_digests([x for _, x in leaves]))
  return {mesh_lib.path_name(path): f"{x.dtype} {list(x.shape)} {a:08x}{b:08x}"
          for (path, x), (a, b) in zip(leaves, digests)}


def differences(a: dict[str, str], b: dict[str, str]) -> list[str]:
  """The names in `a` whose entry in `b` is another or missing."""
  return [name for name, leaf in a.items() if b.get(name) != leaf]


def skeleton(leaves: dict[str, str], root: str, sharding) -> dict:
  """The tree of dicts below `root` as ShapeDtypeStructs, from `describe`."""
  tree = {}
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


@jax.jit
def _digests(leaves):
  return jnp.stack([digest(x) for x in leaves])


def digest(x: jax.Array) -> jax.Array:
  """64 bits [2] uint32 of an array, computed where it lies.

  Two sums modulo 2^32 over the elements' bits, each times an odd number hashed
  from its index. Sums have no order, so any sharding gives the same digest; a
  product with an odd number is one to one, so a change of one element always
  shows.
  """
  x = jnp.asarray(x)
  bits = jnp.uint8 if x.dtype == jnp.bool_ else {
      1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32}[x.dtype.itemsize]
  if x.dtype == jnp.bool_:
    x = x.astype(bits)
  word = jax.lax.bitcast_convert_type(x, bits).astype(jnp.uint32)
  index, stride = jnp.zeros(x.shape, jnp.uint32), 1
  for axis in reversed(range(x.ndim)):
    place = jax.lax.broadcasted_iota(jnp.uint32, x.shape, axis)
    index = index + place * jnp.uint32(stride % 2**32)
    stride *= x.shape[axis]

  def total(seed):
    h = (index + jnp.uint32(seed)) * jnp.uint32(0x9E3779B1)
    h = (h ^ (h >> 15)) * jnp.uint32(0x85EBCA77)
    h = (h ^ (h >> 13)) | jnp.uint32(1)
    return jnp.sum((word + jnp.uint32(seed)) * h, dtype=jnp.uint32)

  return jnp.stack([total(1), total(0x27220A95)])

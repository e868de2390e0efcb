"""How activations lie on the mesh, and what a device computes of its share."""

from collections.abc import Callable, Sequence
import contextvars
import functools

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from sora_jax.mesh import axes as axes_lib
from sora_jax.mesh import chips

Axis = str | tuple[str, ...] | None  # of one dimension

_mesh: contextvars.ContextVar[Mesh | None] = contextvars.ContextVar(
    "mesh", default=None)
_split: contextvars.ContextVar[frozenset | None] = contextvars.ContextVar(
    "split", default=None)


def on(mesh: Mesh, fn: Callable) -> Callable:
  """`fn` with `mesh` as the mesh of `constrain` and `sharded`; to be jitted."""

  @functools.wraps(fn)
  def run(*args, **kw):
    # The abstract mesh is part of the key of every compilation cache of jax,
    # ours is not.
    token = _mesh.set(mesh)
    try:
      with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
        return fn(*args, **kw)
    finally:
      _mesh.reset(token)

  return run


def current() -> Mesh | None:
  """The mesh of `on`; None without one, and inside of `sharded`."""
  mesh = _mesh.get()
  if mesh is None or mesh.size == 1 or _split.get() is not None:
    return None
  return mesh


def platform() -> str:
  """"cpu", "gpu" or "tpu": where the program will run, if not here."""
  mesh = _mesh.get()
  return mesh.devices.flat[0].platform if mesh else jax.default_backend()


def generation() -> str:
  """"v5p" and the like of the TPUs where the program will run; "" elsewhere."""
  mesh = _mesh.get()
  device = mesh.devices.flat[0] if mesh else jax.devices()[0]
  return chips.generation(device.device_kind)


def size(axes: Axis) -> int:
  """The devices along one mesh axis, several or None; 1 without a mesh."""
  mesh, count = current(), 1
  for axis in axes_lib.names(axes):
    count *= mesh.shape[axis] if mesh else 1
  return count


def spec(shape: Sequence[int], axes: Sequence[Axis]) -> PartitionSpec:
  """How an array of `shape` lies along `axes`, one entry for each dimension.

  An entry is a mesh axis, several or None; one that does not divide its
  dimension is left out.
  """
  return PartitionSpec(*(
      a if n % size(a) == 0 else None for n, a in zip(shape, axes)))


def constrain(x: jax.Array, *axes: Axis) -> jax.Array:
  """x, told to lie along `axes`; see `spec`."""
  mesh = current()
  if mesh is None:
    return x
  return jax.lax.with_sharding_constraint(
      x, NamedSharding(mesh, spec(x.shape, axes)))


def sharded(fn: Callable, in_axes: Sequence[Sequence[Axis] | None],
            out_axes: Sequence[Axis]) -> Callable:
  """`fn` run by each device on its share of the arguments.

  Args:
    fn: of arrays or trees of arrays.
    in_axes: for each argument the mesh axis of each dimension, several or None;
      None for an argument that every device has whole. All arrays of a tree lie
      alike. An axis that does not divide one of the arguments splits none.
    out_axes: the axes of everything that fn returns.

  Returns:
    A function of the same arguments, which is `fn` without a mesh.
  """

  def run(*args):
    mesh = current()
    if mesh is None:
      return fn(*args)
    odd = {a for arg, axes in zip(args, in_axes) for x in jax.tree.leaves(arg)
           for n, a in zip(x.shape, axes or ()) if n % size(a)}
    place = lambda axes: PartitionSpec(*(
        None if a in odd else a for a in axes or ()))
    used = {a for axes in in_axes for x in axes or () if x not in odd
            for a in axes_lib.names(x) if mesh.shape[a] > 1}
    return jax.shard_map(
        _share(fn, frozenset(used)), mesh=mesh, check_vma=False,
        in_specs=tuple(map(place, in_axes)), out_specs=place(out_axes))(*args)

  return run


def _share(fn: Callable, used: frozenset) -> Callable:
  """fn, in which `constrain` does nothing and `halo` knows what is split."""

  @functools.wraps(fn)
  def run(*args):
    token = _split.set(used)
    try:
      return fn(*args)
    finally:
      _split.reset(token)

  return run


def splits(axis: str) -> bool:
  """Whether this is in a `sharded` function whose arguments `axis` splits."""
  return axis in (_split.get() or ())


def halo(x: jax.Array, dim: int, axis: str, before: int,
         after: int) -> jax.Array:
  """x, extended by the edges of its neighbours along `axis`.

  Args:
    x: a device's share of an array that `axis` splits along `dim`.
    dim: the dimension.
    axis: of the mesh.
    before, after: how many entries of each neighbour; the first and the last
      device get zeros there.
  """
  count, size = jax.lax.axis_size(axis), x.shape[dim]
  cut = lambda *ends: jax.lax.slice_in_dim(x, *ends, axis=dim)
  parts = [x]
  if before:
    parts.insert(0, jax.lax.ppermute(
        cut(size - before, size), axis, [(i, i + 1) for i in range(count - 1)]))
  if after:
    parts.append(jax.lax.ppermute(
        cut(0, after), axis, [(i + 1, i) for i in range(count - 1)]))
  return jnp.concatenate(parts, dim)

"""The device mesh, and which axis of a parameter or activation lies along it.

Mesh axes: data (rows), fsdp (rows and parameters), context (tokens of a row, or
columns of a video), tensor (heads and hidden units). Parameters map to these by
path: every parameter matches exactly one row of a rule table, and the same rows
serve Adam moments and EMA, whose paths end in the parameter's. All axes are
Auto, so the compiler places what is not named here.

A function that `on` puts on a mesh may say how its activations lie, by
`constrain`, and run parts of itself on each device's share, by `sharded`. Both
leave out a mesh axis that does not divide what it should split, and do nothing
off a mesh: the same code runs on one device.
"""

from collections.abc import Callable
import contextvars
import functools
import math
import re

import jax
from jax.experimental import mesh_utils
import jax.numpy as jnp
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
import numpy as np

AXES = ("data", "fsdp", "context", "tensor")
ROWS = ("data", "fsdp")  # the axes that the rows of a batch are split over
TOKENS = "context"  # the tokens of a row, and the columns of a video
HEADS = "tensor"  # heads, and hidden units

# path regex -> one entry per dimension of the parameter, None is replicated.
# Parameters inside a scanned stack have a leading layer dimension; its rows say
# so with a first None.
# Vectors (biases, norm scales, modulation tables) are replicated.
DIT_RULES = (
    (r"blocks/((self|cross)/[qkv]|mlp/linear_1)/kernel$",
     (None, "fsdp", "tensor")),
    (r"blocks/((self|cross)/out|mlp/linear_2)/kernel$",
     (None, "tensor", "fsdp")),
    (r"(patch|time_1|time_mod|text/linear_1)/kernel$", (None, "fsdp")),
    (r"(head|time_2|text/linear_2)/kernel$", ("fsdp", None)),
    (r"(bias|scale|table)$", ()),
)
TEXT_RULES = (  # of our own encoder and of T5
    (r"blocks/([qkv]|mlp/(gate|linear_1))/kernel$", (None, "fsdp", "tensor")),
    (r"blocks/(out|mlp/linear_2)/kernel$", (None, "tensor", "fsdp")),
    (r"embed/embedding$", (None, "fsdp")),
    (r"(bias|scale)$", ()),
)
VAE_RULES = ((r".*", ()),)  # replicated: small beside its activations


def make_mesh(data: int = -1, fsdp: int = 1, context: int = 1,
              tensor: int = 1, devices=None) -> Mesh:
  """A mesh of all devices; data = -1 takes what the other axes leave.

  Of several slices (TPU pods joined by the data centre's network) each holds a
  run of the data axis, so that only sums of gradients cross between them.

  Raises:
    ValueError: the axes do not multiply to the number of devices, or data does
      not divide over the slices.
  """
  devices = jax.devices() if devices is None else devices
  rest = fsdp * context * tensor
  if data == -1:
    data = max(len(devices) // rest, 1)
  if data * rest != len(devices):
    raise ValueError(
        f"mesh data={data} fsdp={fsdp} context={context} tensor={tensor} needs "
        f"{data * rest} devices and there are {len(devices)}")
  shape = (data, fsdp, context, tensor)
  slices = len({getattr(d, "slice_index", 0) for d in devices})
  if slices > 1:
    if data % slices:
      raise ValueError(f"mesh axis data={data} must be a multiple of the "
                       f"{slices} slices, which are joined along it")
    grid = mesh_utils.create_hybrid_device_mesh(
        (data // slices, *shape[1:]), (slices, 1, 1, 1), devices,
        allow_split_physical_axes=True)
  else:
    # An axis may be a part of a side of the torus: context=2 on 4x8x8 chips.
    grid = mesh_utils.create_device_mesh(shape, devices,
                                         allow_split_physical_axes=True)
  return Mesh(grid, AXES, axis_types=(AxisType.Auto,) * 4)


_mesh = contextvars.ContextVar("mesh", default=None)
_split = contextvars.ContextVar("split", default=None)


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
  """The mesh we are on; None off a mesh, and inside of `sharded`."""
  mesh = _mesh.get()
  if mesh is None or mesh.size == 1 or _split.get() is not None:
    return None
  return mesh


def platform() -> str:
  """"cpu", "gpu" or "tpu": what the program is for, were it not for here."""
  mesh = _mesh.get()
  return mesh.devices.flat[0].platform if mesh else jax.default_backend()


def size(axes) -> int:
  """The devices along a mesh axis, several of them or None; 1 off a mesh."""
  mesh, count = current(), 1
  for axis in _names(axes):
    count *= mesh.shape[axis] if mesh else 1
  return count


def spec(shape, axes) -> PartitionSpec:
  """How an array of `shape` lies along `axes`, one entry for each dimension.

  An entry is a mesh axis, several or None; one that does not divide its
  dimension is left out.
  """
  return PartitionSpec(*(
      a if n % size(a) == 0 else None for n, a in zip(shape, axes)))


def constrain(x: jax.Array, *axes) -> jax.Array:
  """x, told to lie along `axes`; see `spec`."""
  mesh = current()
  if mesh is None:
    return x
  return jax.lax.with_sharding_constraint(
      x, NamedSharding(mesh, spec(x.shape, axes)))


def sharded(fn: Callable, in_axes, out_axes) -> Callable:
  """`fn` run by each device on its share of the arguments.

  Args:
    fn: of arrays or trees of arrays.
    in_axes: for each argument the mesh axis of each of its dimensions, several
      or None; None for an argument that is whole everywhere. It serves every
      array of a tree. An axis that does not divide one argument splits none.
    out_axes: the same for what fn returns; a list of them for a tuple.

  Returns:
    A function of the same arguments, which off a mesh is `fn`.
  """

  def run(*args):
    mesh = current()
    if mesh is None:
      return fn(*args)
    odd = {a for arg, axes in zip(args, in_axes) for x in jax.tree.leaves(arg)
           for n, a in zip(x.shape, axes or ()) if n % size(a)}
    place = lambda axes: PartitionSpec(*(
        None if a in odd else a for a in axes or ()))
    outs = (tuple(map(place, out_axes)) if isinstance(out_axes, list)
            else place(out_axes))
    used = {a for axes in in_axes for x in axes or () if x not in odd
            for a in _names(x) if mesh.shape[a] > 1}
    return jax.shard_map(
        _share(fn, frozenset(used)), mesh=mesh, check_vma=False,
        in_specs=tuple(map(place, in_axes)), out_specs=outs)(*args)

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
  """Whether we are in a `sharded` function whose arguments `axis` splits."""
  return axis in (_split.get() or ())


def halo(x: jax.Array, dim: int, axis: str, before: int,
         after: int) -> jax.Array:
  """x, with what its neighbours along `axis` have next to it.

  Args:
    x: a device's share of an array that `axis` splits along `dim`.
    dim: the dimension.
    axis: of the mesh.
    before, after: how much of the neighbours; the first and the last device
      have zeros there.
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


def _names(axes) -> tuple[str, ...]:
  return axes if isinstance(axes, tuple) else () if axes is None else (axes,)


def path_name(path) -> str:
  """'blocks/attn1/to_q/kernel' for a jax tree path."""
  return "/".join(str(getattr(k, "key", getattr(k, "name", getattr(
      k, "idx", k)))) for k in path)


def param_specs(params, rules):
  """PartitionSpecs of a parameter tree, by the one rule that each path matches.

  Raises:
    ValueError: a parameter that no rule or more than one rule matches, or
      whose rule names another number of dimensions.
  """

  def leaf(path, value):
    name = path_name(path)
    found = [axes for regex, axes in rules if re.search(regex, name)]
    if len(found) != 1:
      raise ValueError(f"{name} {value.shape} matches {len(found)} sharding "
                       "rules; it must match exactly one")
    if found[0] and len(found[0]) != len(value.shape):
      raise ValueError(f"{name} has shape {value.shape}, its sharding rule "
                       f"{found[0]} names {len(found[0])} dimensions")
    return PartitionSpec(*found[0])

  return jax.tree_util.tree_map_with_path(leaf, params)


def gathered(params, rules, prefix: str, dtype):
  """A layer's parameters as it computes with them: whole along fsdp.

  Args:
    params: of one layer of a scanned stack, cut out of its leading axis.
    rules: of the stack's parameters.
    prefix: of the stack's path.
    dtype: of the computation, which the matrices are cast to.
  """
  if current() is None:
    return params

  def leaf(path, value):
    name = f"{prefix}/{path_name(path)}"
    axes = next(axes for regex, axes in rules if re.search(regex, name))[1:]
    if not axes:
      return value
    return constrain(value.astype(dtype),
                     *(None if a == "fsdp" else a for a in axes))

  return jax.tree_util.tree_map_with_path(leaf, params)


def check_division(mesh: Mesh, params, specs) -> None:
  """Raises ValueError for a parameter that its mesh axes do not divide."""

  def leaf(path, value, spec):
    for n, axes in zip(value.shape, spec):
      parts = math.prod(mesh.shape[a] for a in _names(axes))
      if n % parts:
        raise ValueError(
            f"{path_name(path)} {value.shape} cannot be split over {axes}="
            f"{parts}, which does not divide {n}: choose a smaller {axes}")

  jax.tree_util.tree_map_with_path(leaf, params, specs)


def shardings(mesh: Mesh, specs):
  """NamedShardings of a tree of PartitionSpecs."""
  return jax.tree.map(lambda s: NamedSharding(mesh, s), specs,
                      is_leaf=lambda s: isinstance(s, PartitionSpec))


def replicated(mesh: Mesh) -> NamedSharding:
  """The sharding of a value that every device holds whole."""
  return NamedSharding(mesh, PartitionSpec())


def rows(mesh: Mesh) -> NamedSharding:
  """The sharding of an array whose first axis is the rows of a batch."""
  return NamedSharding(mesh, PartitionSpec(ROWS))


def placed(mesh: Mesh, *axes) -> NamedSharding:
  """The sharding whose dimensions lie along `axes`, each a name or None."""
  return NamedSharding(mesh, PartitionSpec(*axes))


def assemble(shape: tuple[int, ...], sharding: NamedSharding, read) -> jax.Array:
  """A global array whose shards are read and placed one after the other.

  Only one shard is on the host at a time, and what several devices of this
  process hold alike is read once.

  Args:
    shape: of the whole array.
    sharding: of it.
    read: index, a slice for each axis -> that part, a numpy array.
  """
  devices = {}  # index -> the devices of this process that hold it
  for device, index in sharding.addressable_devices_indices_map(shape).items():
    key = tuple(i.indices(n) for i, n in zip(index, shape))
    devices.setdefault(key, []).append(device)
  arrays = []
  for key, holders in devices.items():
    part = read(tuple(slice(*i) for i in key))
    arrays += [jax.block_until_ready(jax.device_put(part, d)) for d in holders]
    del part
  return jax.make_array_from_single_device_arrays(shape, sharding, arrays)


def host(mesh: Mesh) -> tuple[int, int]:
  """(index, count): which of how many shares of a batch's rows this host has.

  Hosts that share the tokens of the same rows have the same share.

  Raises:
    ValueError: hosts that have no equal shares of the rows.
  """
  grid = mesh.devices.reshape(-1, mesh.shape["context"] * mesh.shape["tensor"])
  held = {}
  for row, devices in enumerate(grid):
    for d in devices:
      held.setdefault(d.process_index, set()).add(row)
  mine = sorted(held[jax.process_index()])
  if len(grid) % len(mine) or mine[0] % len(mine) or any(
      len(x) != len(mine) for x in held.values()) or (
          mine != list(range(mine[0], mine[0] + len(mine)))):
    raise ValueError(f"the rows of the mesh {dict(mesh.shape)} do not fall into "
                     f"equal shares of {jax.process_count()} hosts: make the "
                     "devices of a host a run of whole rows, or of one row")
  return mine[0] // len(mine), len(grid) // len(mine)


def to_global(mesh: Mesh, batch):
  """Places a host's rows of a batch on the mesh.

  Every process gives the rows of its `host` share; the result is one global
  array per leaf, split over the axes data and fsdp.
  """
  _, count = host(mesh)
  place = lambda x: jax.make_array_from_process_local_data(
      rows(mesh), x, (len(x) * count, *x.shape[1:]))
  return jax.tree.map(lambda x: place(np.asarray(x)), batch)

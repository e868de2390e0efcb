"""Arrays over all hosts, assembled from the part that each host has."""

from collections.abc import Callable

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
import numpy as np

from sora_jax import contracts
from sora_jax import messages
from sora_jax import types
from sora_jax.mesh import axes as axes_lib


def replicated(mesh: Mesh) -> NamedSharding:
  """The sharding of a value that every device holds whole."""
  return NamedSharding(mesh, PartitionSpec())


def rows(mesh: Mesh) -> NamedSharding:
  """The sharding of an array whose first axis is the rows of a batch."""
  return NamedSharding(mesh, PartitionSpec(axes_lib.ROWS))


def placed(mesh: Mesh, *axes: str | tuple[str, ...] | None) -> NamedSharding:
  """The sharding whose dimensions lie along `axes`, each a name or None."""
  return NamedSharding(mesh, PartitionSpec(*axes))


def assemble(
    shape: tuple[int, ...], sharding: NamedSharding,
    read: Callable[[tuple[slice, ...]], np.ndarray]) -> jax.Array:
  """A global array whose shards are read and placed one after the other.

  Only one shard is on the host at a time. A part that several devices of this
  process hold is read once.

  Args:
    shape: of the whole array.
    sharding: of it.
    read: index, a slice for each axis -> that part, a numpy array.
  """
  devices: dict[tuple, list] = {}  # index -> our devices that hold it
  for device, index in sharding.addressable_devices_indices_map(shape).items():
    key = tuple(i.indices(n) for i, n in zip(index, shape))
    devices.setdefault(key, []).append(device)
  arrays = []
  for key, holders in devices.items():
    part = read(tuple(slice(*i) for i in key))
    arrays += [jax.block_until_ready(jax.device_put(part, d)) for d in holders]
    del part
  return jax.make_array_from_single_device_arrays(shape, sharding, arrays)


def host(mesh: Mesh, process: int | None = None) -> contracts.Share:
  """The rows of a batch that a process reads: those that its devices hold.

  A batch falls into one run of rows for each part of the axes data x fsdp. The
  devices of a host are a block of the torus, so the runs that it holds are any
  set: host 0 of v5p:4x4x4 has 0, 4, 16 and 20 of data=64.

  Args:
    mesh: of `make_mesh`.
    process: its index; this one by default.

  Raises:
    ValueError: a process without a device in the mesh.
  """
  process = jax.process_index() if process is None else process
  grid = mesh.devices.reshape(axes_lib.row_shares(mesh), -1)
  runs = tuple(i for i, devices in enumerate(grid)
               if any(d.process_index == process for d in devices))
  if not runs:
    raise ValueError(f"process {process} has no device in the mesh "
                     f"{dict(mesh.shape)}: make the mesh of all devices")
  return contracts.Share(runs, len(grid))


def to_global(mesh: Mesh, batch: types.PyTree) -> types.PyTree:
  """Places a host's rows of a batch on the mesh.

  Every process gives the rows of its `host`; the result is one global array per
  leaf, split over the axes data and fsdp.

  Raises:
    ValueError: rows that do not divide over these axes.
  """
  share, placement = host(mesh), rows(mesh)

  def leaf(x):
    x = np.asarray(x)
    run, rest = divmod(len(x), len(share.runs))
    if rest:
      raise ValueError(
          f"a batch of {messages.count(len(x), 'row')} does not divide over "
          f"the {messages.count(len(share.runs), 'part')} of the mesh axes data x "
          f"fsdp = {share.count} that this host has: give other rows or another mesh")
    total = share.count * run
    at = {first: i for i, first in enumerate(share.runs)}

    def part(index):
      i = at[index[0].indices(total)[0] // run]
      return x[i * run:(i + 1) * run]

    return jax.make_array_from_callback((total, *x.shape[1:]), placement, part)

  return jax.tree.map(leaf, batch)

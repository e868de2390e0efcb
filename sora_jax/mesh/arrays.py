"""Arrays over all hosts, assembled from the part that each host has."""

from collections.abc import Callable

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
import numpy as np

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


def host(mesh: Mesh) -> tuple[int, int]:
  """(index, count): the share of a batch's rows that this host has.

  Hosts that split the tokens of the same rows have the same share.

  Raises:
    ValueError: hosts that have no equal shares of the rows.
  """
  grid = mesh.devices.reshape(axes_lib.row_shares(mesh), -1)
  held: dict[int, set[int]] = {}  # process -> rows of the grid
  for row, devices in enumerate(grid):
    for d in devices:
      held.setdefault(d.process_index, set()).add(row)
  mine = sorted(held[jax.process_index()])
  if len(grid) % len(mine) or mine[0] % len(mine) or any(
      len(x) != len(mine) for x in held.values()) or (
          mine != list(range(mine[0], mine[0] + len(mine)))):
    raise ValueError(
        f"the rows of the mesh {dict(mesh.shape)} do not fall into equal "
        f"shares of {jax.process_count()} hosts: make the devices of a host a run "
        "of whole rows, or of one row")
  return mine[0] // len(mine), len(grid) // len(mine)


def host_rows(size: int, host: tuple[int, int]) -> tuple[int, int]:
  """(start, stop) of the rows that host (index, count) has of a batch.

  Raises:
    ValueError: rows that do not divide over the hosts.
  """
  index, count = host
  if not 0 <= index < count:
    raise ValueError(f"host {index} of {count} does not exist")
  if size % count:
    raise ValueError(f"a batch of {size} rows does not divide over {count} "
                     "hosts: choose a multiple")
  return size // count * index, size // count * (index + 1)


def to_global(mesh: Mesh, batch: types.PyTree) -> types.PyTree:
  """Places a host's rows of a batch on the mesh.

  Every process gives the rows of its `host` share; the result is one global
  array per leaf, split over the axes data and fsdp.

  Raises:
    ValueError: rows that do not divide over these axes.
  """
  _, count = host(mesh)
  over = axes_lib.row_shares(mesh)
  for x in jax.tree.leaves(batch):
    if len(x) * count % over:
      raise ValueError(
          f"a batch of {len(x) * count} rows does not divide over the mesh "
          f"axes data x fsdp = {over}: give other rows or another mesh")
  place = lambda x: jax.make_array_from_process_local_data(
      rows(mesh), x, (len(x) * count, *x.shape[1:]))
  return jax.tree.map(lambda x: place(np.asarray(x)), batch)

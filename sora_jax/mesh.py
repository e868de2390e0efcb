"""The device mesh, and which axis of a parameter or activation lies along it.

Mesh axes: data (rows), fsdp (rows and parameters), context (tokens of a row),
tensor (heads and hidden units). Parameters map to these by path: every
parameter matches exactly one row of a rule table, and the same rows serve Adam
moments and EMA, whose paths end in the parameter's. All axes are Auto, so the
compiler places what is not named here.
"""

import re

import jax
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
import numpy as np

AXES = ("data", "fsdp", "context", "tensor")
ROWS = ("data", "fsdp")  # the axes that the rows of a batch are split over

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

  Raises:
    ValueError: the axes do not multiply to the number of devices.
  """
  devices = jax.devices() if devices is None else devices
  rest = fsdp * context * tensor
  if data == -1:
    data = max(len(devices) // rest, 1)
  if data * rest != len(devices):
    raise ValueError(
        f"mesh data={data} fsdp={fsdp} context={context} tensor={tensor} needs "
        f"{data * rest} devices and there are {len(devices)}")
  return jax.make_mesh((data, fsdp, context, tensor), AXES,
                       axis_types=(AxisType.Auto,) * 4, devices=devices)


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


def to_global(mesh: Mesh, batch):
  """Places a host's rows of a batch on the mesh.

  Every process gives its own rows (all of them when there is one process); the
  result is one global array per leaf, split over the axes data and fsdp.
  """
  place = lambda x: multihost_utils.host_local_array_to_global_array(
      x, mesh, PartitionSpec(ROWS))
  if jax.process_count() == 1:
    place = lambda x: jax.device_put(x, rows(mesh))
  return jax.tree.map(lambda x: place(np.asarray(x)), batch)

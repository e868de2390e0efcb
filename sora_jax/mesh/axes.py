"""The axes of the mesh, and the mesh of some devices."""

import jax
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh

AXES = ("data", "fsdp", "context", "tensor")
ROWS = ("data", "fsdp")  # the axes that the rows of a batch are split over
TOKENS = "context"  # the tokens of a row, and the columns of a video
HEADS = "tensor"  # heads, and hidden units


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


def names(axes) -> tuple[str, ...]:
  """The mesh axes of one entry of a spec: an axis, several or None."""
  return axes if isinstance(axes, tuple) else () if axes is None else (axes,)

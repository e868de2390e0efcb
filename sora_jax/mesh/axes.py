"""The axes of the mesh, and a mesh of given devices."""

from collections.abc import Sequence
import math

import jax
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh

from sora_jax import ranges

# The axes that rows are split over come first. A new axis is a name here, one
# in a rule table (params.py) or in ROWS, and its size in a config.
AXES = ("data", "fsdp", "context", "tensor")
ROWS = ("data", "fsdp")  # the axes that the rows of a batch are split over
TOKENS = "context"  # the tokens of a row, and the columns of a video
HEADS = "tensor"  # heads, and hidden units


def make_mesh(devices: Sequence[jax.Device] | None = None,
              **sizes: int) -> Mesh:
  """A mesh of all devices.

  Each of several slices (TPU pods joined by the data centre's network) holds a
  run of the data axis, so that only sums of gradients cross between them.

  Args:
    devices: all by default.
    **sizes: of AXES, 1 where none is given; data = -1, its default, takes what
      the other axes leave.

  Raises:
    ValueError: no such axis, the axes do not multiply to the number of devices,
      or data does not divide over the slices.
  """
  devices = jax.devices() if devices is None else devices
  for axis, length in sizes.items():
    check_axis(axis, length)
  sizes = dict.fromkeys(AXES, 1) | {"data": -1} | sizes
  rest = math.prod(n for name, n in sizes.items() if name != "data")
  if sizes["data"] == -1:
    sizes["data"] = max(len(devices) // rest, 1)
  if (needed := sizes["data"] * rest) != len(devices):
    raise ValueError(
        f"mesh {' '.join(f'{k}={n}' for k, n in sizes.items())} needs {needed} "
        f"devices and there are {len(devices)}")
  data, *others = shape = tuple(sizes[name] for name in AXES)
  slices = len({getattr(d, "slice_index", 0) for d in devices})
  if slices > 1:
    if data % slices:
      raise ValueError(f"mesh axis data={data} must be a multiple of the "
                       f"{slices} slices, which are joined along it")
    grid = mesh_utils.create_hybrid_device_mesh(
        (data // slices, *others), (slices, *(1 for _ in others)), devices,
        allow_split_physical_axes=True)
  else:
    # An axis may be part of a side of the torus: context=2 on 4x8x8 chips.
    grid = mesh_utils.create_device_mesh(shape, devices,
                                         allow_split_physical_axes=True)
  return Mesh(grid, AXES, axis_types=(AxisType.Auto,) * len(AXES))


def check_axis(axis: str, size: int) -> None:
  """Refuses what is no axis of a mesh, or no size of it.

  Raises:
    ValueError: it is.
  """
  if axis not in AXES:
    raise ValueError(f"the mesh has no axis {axis}: its axes are "
                     f"{', '.join(AXES)}")
  if not (ranges.whole(1).holds(size) or axis == "data" and size == -1):
    rest = ", or -1 for what the others leave" if axis == "data" else ""
    raise ValueError(f"mesh.{axis} is {size!r}, it must be a whole number from "
                     f"1{rest}")


def row_shares(mesh: Mesh) -> int:
  """The number of shares that the rows of a batch are split into."""
  return math.prod(mesh.shape[name] for name in ROWS)


def names(axes: str | tuple[str, ...] | None) -> tuple[str, ...]:
  """The mesh axes of one entry of a spec: an axis, several or None."""
  return axes if isinstance(axes, tuple) else () if axes is None else (axes,)

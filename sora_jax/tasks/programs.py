"""Programs to compile for chips that are not there: what a task gives for them.

Every program is the function that a verb runs, called with shapes in the place
of arrays, which carry how they lie on the mesh.
"""

from collections.abc import Callable, Mapping
import dataclasses
from typing import Any

import jax

from sora_jax import mesh as mesh_lib
from sora_jax.models import flops


@dataclasses.dataclass(frozen=True)
class Request:
  """What is asked for.

  Attributes:
    cfg: the config.
    name: of it, for the report.
    what: the program, a key of Task.programs.
    size: (W, H) in pixels of what is sampled, encoded or decoded, or None.
    frames: of it.
    vae_cfg: the config of the VAE that a transformer works with, or None.
    fixed: whether the rows of a batch are those that the user asks for.
    changes: of the config that a layout has made, by key.
  """

  cfg: Any
  name: str
  what: str
  size: tuple[int, int] | None
  frames: int
  vae_cfg: Any = None
  fixed: bool = False
  changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Slice:
  """The chips that a layout is for.

  Attributes:
    chips: of all slices.
    slices: that are joined along the mesh axis data.
    hbm: bytes of memory of a chip.
  """

  chips: int
  slices: int
  hbm: float


@dataclasses.dataclass(frozen=True)
class Program:
  """One static shape of a verb.

  Attributes:
    name: of the shape.
    units: tokens or pixels in it.
    work: its arithmetic.
    chips: that share the work.
    lower: () -> the lowered program.
    runs: how often it runs for one result: the steps of a sample.
  """

  name: str
  units: int
  work: flops.Work
  chips: int
  lower: Callable[[], Any]
  runs: int = 1


@dataclasses.dataclass(frozen=True)
class Compilable:
  """What a task gives to compile.

  Attributes:
    parameters: of the network, counted.
    unit: what the units of a program are, such as "tokens".
    programs: one for each static shape.
  """

  parameters: int
  unit: str
  programs: list[Program]


def laid_out(request: Request, mesh: dict[str, int], **data: Any) -> Request:
  """The request with another mesh, and other keys of config.data."""
  cfg = request.cfg.copy_and_resolve_references()
  cfg.mesh.update(mesh)
  cfg.data.update(data)
  changes = ({f"mesh.{k}": n for k, n in mesh.items()}
             | {f"data.{k}": x for k, x in data.items()})
  return dataclasses.replace(request, cfg=cfg, changes=changes)


def check_division(rows: int, length: int, mesh: Any) -> None:
  """Refuses a shape that the mesh does not divide.

  Raises:
    ValueError: rows that do not divide over data x fsdp, or a length that does
      not over context.
  """
  over = mesh_lib.row_shares(mesh)
  if rows % over:
    raise ValueError(
        f"the {rows} rows of {length:,} do not divide over data x fsdp = "
        f"{over}: give other rows (--config.data.shapes) or another --mesh")
  if length % mesh.shape["context"]:
    raise ValueError(f"{length:,} tokens do not divide over context = "
                     f"{mesh.shape['context']}: give another --mesh")


def along_rows(spec: Any, mesh: Any) -> Any:
  """Shapes whose first axis lies over the rows of the mesh."""
  place = mesh_lib.rows(mesh)
  return jax.tree.map(
      lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), spec)


def along_context(spec: jax.ShapeDtypeStruct, mesh: Any,
                  axis: int) -> jax.ShapeDtypeStruct:
  """A shape whose `axis` lies along the mesh axis context.

  Raises:
    ValueError: it does not divide.
  """
  if spec.shape[axis] % mesh.shape["context"]:
    raise ValueError(
        f"{spec.shape[axis]:,} of {tuple(spec.shape)} do not divide over "
        f"context = {mesh.shape['context']}: give another --mesh")
  place: list[str | None] = [None] * len(spec.shape)
  place[axis] = "context"
  return jax.ShapeDtypeStruct(
      spec.shape, spec.dtype, sharding=mesh_lib.placed(mesh, *place))


def replicated(tree: Any, mesh: Any) -> Any:
  """Shapes that every chip holds whole."""
  place = mesh_lib.replicated(mesh)
  return jax.tree.map(
      lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), tree)


def on_one_chip(mesh: Any, count: Callable) -> Callable:
  """A count of models.flops, for the forms that the chips of a mesh run."""
  return mesh_lib.on(mesh_lib.make_mesh(devices=[mesh.devices.flat[0]]), count)

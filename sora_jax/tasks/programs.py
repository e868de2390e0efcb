"""The programs that `plan` compiles: what is asked for, and shapes on a mesh.

Every program is the function that a verb runs, called with shapes in the place
of arrays, which carry how they lie on the mesh.
"""

from collections.abc import Callable
import dataclasses
from typing import Any

import jax

from sora_jax import mesh as mesh_lib
from sora_jax.formats import pretrained
from sora_jax.models import dit
from sora_jax.models import flops
from sora_jax.models.vae import vae
from sora_jax.tasks import build

WHAT = ("train", "sample", "encode", "decode")


@dataclasses.dataclass(frozen=True)
class Request:
  """What is asked for.

  Attributes:
    cfg: the config.
    name: of it.
    what: one of WHAT.
    size: (W, H) of what is sampled, encoded or decoded, or None.
    frames: of it.
    compressor: the VAE that a transformer works with; None for one itself.
  """

  cfg: Any
  name: str
  what: str
  size: tuple[int, int] | None
  frames: int
  compressor: vae.VAE | None


@dataclasses.dataclass(frozen=True)
class Program:
  """One static shape of a verb.

  Attributes:
    name: of the bucket.
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
  lower: Callable
  runs: int = 1


def transformer(request: Request) -> dit.DiT:
  """The transformer of a config, for the latents of a VAE."""
  return build.dit_of(request.cfg, pretrained.Model(
      pretrained.Component(request.compressor, None), None, None))


def check(rows: int, length: int, mesh) -> None:
  """Refuses a shape that the mesh does not divide."""
  over = mesh_lib.row_shares(mesh)
  if rows % over:
    raise ValueError(
        f"the {rows} rows of {length:,} do not divide over data x fsdp = "
        f"{over}: give other rows (--config.data.shapes) or another --mesh")
  if length % mesh.shape["context"]:
    raise ValueError(f"{length:,} tokens do not divide over context = "
                     f"{mesh.shape['context']}: give another --mesh")


def on_rows(spec, mesh):
  """Shapes whose first axis lies over the rows of the mesh."""
  place = mesh_lib.rows(mesh)
  return jax.tree.map(
      lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), spec)


def whole(tree, mesh):
  """Shapes that every chip holds whole."""
  place = mesh_lib.replicated(mesh)
  return jax.tree.map(
      lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), tree)


def on_chip(mesh, count):
  """`count` of cost.py for the forms that the chips of a mesh run."""
  return mesh_lib.on(mesh_lib.make_mesh(devices=[mesh.devices.flat[0]]), count)


def along(spec, mesh, axis: int):
  """A shape whose `axis` lies along the mesh axis context."""
  if spec.shape[axis] % mesh.shape["context"]:
    raise ValueError(
        f"{spec.shape[axis]:,} of {tuple(spec.shape)} do not divide over "
        f"context = {mesh.shape['context']}: give another --mesh")
  place = [None] * len(spec.shape)
  place[axis] = "context"
  return jax.ShapeDtypeStruct(
      spec.shape, spec.dtype, sharding=mesh_lib.placed(mesh, *place))

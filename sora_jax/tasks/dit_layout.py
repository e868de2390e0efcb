"""A mesh and rows for a transformer on a slice that its config was not made for.

A first guess by rule: what is kept for each parameter may take a third of a
chip's memory, what is kept for each token a half. Parameters are split over
fsdp, at least as the config does and up to mesh.GATHERED, then over the heads;
the tokens of a row over context; rows over the rest. The compiler then says
whether it fits.
"""

import math

from sora_jax import mesh as mesh_lib
from sora_jax.models import flops as flops_lib
from sora_jax.tasks import dit_programs
from sora_jax.tasks import programs

# Bytes a parameter: float32 values, two moments, average and gradient.
STATE = 20
# Bytes a token, layer and unit of width where rows are long: of what is kept
# and of what a layer needs (experiments/pods/table.md).
ACTIVATIONS = 15


def layout(request: programs.Request, where: programs.Slice,
           axes: dict[str, int] | None = None) -> programs.Request:
  """The request with a mesh, and with rows for it where they are not fixed.

  Args:
    request: what is asked for.
    where: the slice.
    axes: the mesh, if only rows are looked for.

  Raises:
    ValueError: fixed rows that do not divide over the slices.
  """
  if request.what != "train":
    return _of_sampling(request, where)
  if axes:
    return programs.laid_out(request, axes, **_rows(request, axes, 1))
  axes, shorter = _mesh(request, where)
  rows = {} if request.fixed else _rows(request, axes, shorter)
  return programs.laid_out(request, axes, **rows)


def _mesh(request, where) -> tuple[dict[str, int], int]:
  """(mesh, by how much rows must be shorter than the config's)."""
  network, size = dit_programs.transformer(request), where.chips // where.slices
  needed = _power(STATE * flops_lib.dit_params(network) / (where.hbm / 3))
  parts = min(max(needed, request.cfg.mesh.fsdp), size)
  tensor = math.gcd(-(-parts // mesh_lib.GATHERED), network.heads, size)
  fsdp = math.gcd(parts // tensor, size // tensor)
  token = ACTIVATIONS * network.layers * network.heads * network.head_size
  length = max(n for _, n in request.cfg.data.shapes)
  wanted = _power(length * token / tensor / (where.hbm / 2))
  context = math.gcd(wanted, size // (fsdp * tensor))
  shares = where.chips // (context * tensor)
  if request.fixed:
    shares = math.gcd(shares, *(n for n, _ in request.cfg.data.shapes))
    if shares % where.slices:
      raise ValueError(f"rows of a batch that {shares} divides are not shared by "
                       f"{where.slices} slices: give a multiple of the slices "
                       "(--config.data.shapes)")
    context = where.chips // (shares * tensor)
    fsdp = math.gcd(fsdp, shares // where.slices)
  return {"data": shares // fsdp, "fsdp": fsdp, "context": context,
          "tensor": tensor}, max(wanted // context, 1)


def _rows(request, axes: dict[str, int], shorter: int) -> dict:
  """The keys of config.data for one of the longest rows in each part."""
  shares = axes["data"] * axes["fsdp"]
  lengths = [n // shorter for _, n in request.cfg.data.shapes]
  return {"shapes": tuple((shares * max(lengths) // n, n) for n in lengths),
          "shards": shares}


def _of_sampling(request, where) -> programs.Request:
  """One video: its tokens over all chips, its heads where memory asks for it."""
  network, size = dit_programs.transformer(request), where.chips // where.slices
  stored = 2 * flops_lib.dit_params(network)  # bfloat16
  tensor = math.gcd(_power(stored / (where.hbm / 2)), network.heads, size)
  return programs.laid_out(request, {
      "data": where.slices, "fsdp": 1, "context": size // tensor,
      "tensor": tensor})


def _power(least: float) -> int:
  """The smallest power of two that is not below `least`, from 1 on."""
  return 2 ** max(math.ceil(math.log2(least)), 0)

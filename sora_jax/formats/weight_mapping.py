"""Where the parameters of a network lie in the tensors of its reference.

A parameter of ours is a tensor of the reference with its axes in another order,
or a stack of such tensors, one a layer. Each network states this once, as a
dict from the paths of its parameters ("blocks/self/q/kernel") to a `TensorMapping`;
reading a model folder, a shard of it, a state dict, and writing one, all follow
from that. `weights` is a dict of anything that has a shape and can be sliced:
arrays, or the tensors of a file (weights.py), of which only the part that a
shard needs is then read.
"""

from collections.abc import Mapping
import dataclasses
import math
from typing import Any

from flax import traverse_util
import jax
import numpy as np


@dataclasses.dataclass(frozen=True)
class TensorMapping:
  """Where one parameter lies.

  Attributes:
    names: of the reference's tensors: one, or one for each layer.
    theirs: the shape of each of these tensors.
    order: their axes in the order of ours. Axes of size 1 may vanish after
      that, and neighbours merge.
    ours: the shape of the parameter.
    stacked: whether the first axis of ours is the layers.
    tied: a second name of the same tensor, which a file may have instead of
      the first or beside it.
  """

  names: tuple[str, ...]
  theirs: tuple[int, ...]
  order: tuple[int, ...]
  ours: tuple[int, ...]
  stacked: bool = False
  tied: str = ""

  @property
  def piece(self) -> tuple[int, ...]:
    """The shape that one tensor has in our order."""
    return self.ours[1:] if self.stacked else self.ours


WeightMapping = dict[str, TensorMapping]
CHUNK = 2**20  # numbers of a tensor that are read at a time


def shapes(init, module) -> dict[str, tuple[int, ...]]:
  """The shapes of the parameters of a module by their paths."""
  tree = jax.eval_shape(lambda key: init(module, key), jax.random.key(0))
  return {path: spec.shape
          for path, spec in traverse_util.flatten_dict(tree, sep="/").items()}


def check(weights: Mapping[str, Any], layouts: WeightMapping) -> dict[str, Any]:
  """The weights by the first names of their tensors, if all is as expected.

  Raises:
    ValueError: a tensor that is missing, of another shape, or not known; the
      message names it.
  """
  left, found = dict(weights), {}
  for path, layout in layouts.items():
    tied = left.pop(layout.tied, None)
    for name in layout.names:
      value = left.pop(name, tied)
      if value is None:
        raise ValueError(f"tensor {name} is missing")
      if tuple(value.shape) != layout.theirs:
        raise ValueError(f"tensor {name} has shape {tuple(value.shape)}, its "
                         f"parameter {path} needs {layout.theirs}")
      found[name] = value
  if left:
    raise ValueError(f"tensor {min(left)} is not part of this network "
                     f"({len(left)} unknown tensors)")
  return found


def read(weights: Mapping[str, Any], layout: TensorMapping, index: tuple[slice, ...],
         dtype) -> np.ndarray:
  """The part `index` of a parameter; beside it, little is in memory.

  Args:
    weights: of `check`.
    layout: of the parameter.
    index: a slice for each axis of ours.
    dtype: of the result.
  """
  layers = index[0] if layout.stacked else slice(None)
  index = index[1:] if layout.stacked else index
  size = [len(range(*i.indices(n))) for i, n in zip(index, layout.piece)]
  names = layout.names[layers]
  out = np.empty((len(names), *size), dtype)
  for row, name in zip(out, names):
    _fill(row, weights[name], layout, index)
  return out if layout.stacked else out[0]


def _fill(out: np.ndarray, tensor, layout: TensorMapping, index) -> None:
  """Writes the part `index` of one tensor to `out`, a few rows at a time."""
  if tuple(layout.theirs[axis] for axis in layout.order) != layout.piece:
    whole = tensor[(slice(None),) * len(layout.theirs)]  # axes merge: small
    out[...] = whole.transpose(layout.order).reshape(layout.piece)[index]
    return
  back = np.argsort(layout.order)
  out, (first, *rest) = out.transpose(back), [index[axis] for axis in back]
  start, stop, _ = first.indices(layout.theirs[0])
  step = max(1, CHUNK // math.prod(layout.theirs[1:]))
  for i in range(start, stop, step):
    rows = slice(i, min(i + step, stop))
    out[i - start:i - start + step] = tensor[(rows, *rest)]


def to_flax(weights: Mapping[str, Any], layouts: WeightMapping):
  """Parameters, float32 on the host; ValueError as `check`."""
  weights = check(weights, layouts)
  return traverse_util.unflatten_dict(
      {path: read(weights, layout, (slice(None),) * len(layout.ours),
                  np.float32) for path, layout in layouts.items()}, sep="/")


def from_flax(params, layouts: WeightMapping) -> dict[str, np.ndarray]:
  """The reference's tensors; of parameters, gradients or moments alike."""
  weights = {}
  flat = traverse_util.flatten_dict(params, sep="/")
  for path, layout in layouts.items():
    value = np.asarray(flat[path]).reshape(-1, *(
        layout.theirs[axis] for axis in layout.order))
    for name, piece in zip(layout.names, value):
      weights[name] = np.ascontiguousarray(
          piece.transpose(np.argsort(layout.order)))
  return weights


def kernel(names, ours, stacked: bool = False, tied: str = "") -> TensorMapping:
  """Of a kernel [.., in, out] that is [out, in, ..] in the reference."""
  ours = tuple(ours)
  n = len(ours) - stacked
  order = (*range(2, n), 1, 0)
  piece = ours[int(stacked):]
  theirs = tuple(piece[axis] for axis in np.argsort(order))
  return TensorMapping(tuple(names), theirs, order, ours, stacked, tied)


def same(names, ours, theirs=None, stacked: bool = False,
         tied: str = "") -> TensorMapping:
  """Of a parameter that only may lack axes of size 1 of the reference's."""
  ours = tuple(ours)
  theirs = ours[int(stacked):] if theirs is None else tuple(theirs)
  assert math.prod(theirs) * len(names) == math.prod(ours)
  return TensorMapping(tuple(names), theirs, tuple(range(len(theirs))), ours, stacked,
                tied)

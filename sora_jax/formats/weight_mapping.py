"""Where the parameters of a network lie in the tensors of its reference.

A parameter of ours is a tensor of the reference with its axes in another order,
or a stack of such tensors, one a layer. Each network states this once, as a
WeightMapping, a dict from the paths of its parameters ("blocks/self/q/kernel");
reading a model folder, a shard of it, a state dict, and writing one, all follow
from that. `weights` is a dict of anything that has a shape and can be sliced:
arrays, or the tensors of a file (weight_files.py), of which only the slice that
a shard needs is then read.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import functools
import math
import types
from typing import Any

from flax import traverse_util
import jax
import numpy as np


@dataclasses.dataclass(frozen=True)
class TensorMapping:
  """Where one parameter lies.

  Attributes:
    names: of the reference's tensors: one, or one for each layer.
    reference_shape: the shape of each of these tensors.
    order: their axes in the order of the parameter's. Axes of size 1 may vanish
      after that, and neighbours merge.
    shape: the shape of the parameter.
    stacked: whether the first axis of the parameter is the layers.
    tied: a second name of the same tensor, which a file may have instead of
      the first or beside it.
  """

  names: tuple[str, ...]
  reference_shape: tuple[int, ...]
  order: tuple[int, ...]
  shape: tuple[int, ...]
  stacked: bool = False
  tied: str = ""

  @property
  def piece(self) -> tuple[int, ...]:
    """The shape of the parameter's share of one tensor."""
    return self.shape[1:] if self.stacked else self.shape


WeightMapping = dict[str, TensorMapping]
CHUNK = 2**20  # numbers of a tensor that are read at a time


@functools.lru_cache(maxsize=32)  # tracing takes up to a second
def shapes(init: Callable[..., Any], module: Any
           ) -> Mapping[str, tuple[int, ...]]:
  """The shapes of the parameters of a module by their paths."""
  tree = jax.eval_shape(lambda key: init(module, key), jax.random.key(0))
  return types.MappingProxyType({
      path: spec.shape
      for path, spec in traverse_util.flatten_dict(tree, sep="/").items()})


def check(weights: Mapping[str, Any], mapping: WeightMapping) -> dict[str, Any]:
  """The weights by the first names of their tensors, if all is as expected.

  Raises:
    ValueError: a tensor that is missing, of another shape, or not known; the
      message names it.
  """
  left, found = dict(weights), {}
  for path, entry in mapping.items():
    tied = left.pop(entry.tied, None)
    for name in entry.names:
      value = left.pop(name, tied)
      if value is None:
        raise ValueError(f"tensor {name} is missing")
      if tuple(value.shape) != entry.reference_shape:
        raise ValueError(f"tensor {name} has shape {tuple(value.shape)}, its "
                         f"parameter {path} needs {entry.reference_shape}")
      found[name] = value
  if left:
    raise ValueError(f"tensor {min(left)} is not part of this network "
                     f"({len(left)} unknown tensors)")
  return found


def read(weights: Mapping[str, Any], entry: TensorMapping,
         index: tuple[slice, ...], dtype: Any) -> np.ndarray:
  """The slice `index` of a parameter; beside it, little is in memory.

  Args:
    weights: of `check`.
    entry: of the parameter.
    index: a slice for each axis of the parameter.
    dtype: of the result.
  """
  layers = index[0] if entry.stacked else slice(None)
  index = index[1:] if entry.stacked else index
  size = [len(range(*i.indices(n))) for i, n in zip(index, entry.piece)]
  names = entry.names[layers]
  out = np.empty((len(names), *size), dtype)
  for row, name in zip(out, names):
    _fill(row, weights[name], entry, index)
  return out if entry.stacked else out[0]


def _fill(out: np.ndarray, tensor: Any, entry: TensorMapping,
          index: tuple[slice, ...]) -> None:
  """Writes the slice `index` of one tensor to `out`, a few rows at a time."""
  if tuple(entry.reference_shape[axis] for axis in entry.order) != entry.piece:
    # Axes merge; such a tensor is small.
    whole = tensor[(slice(None),) * len(entry.reference_shape)]
    out[...] = whole.transpose(entry.order).reshape(entry.piece)[index]
    return
  back = np.argsort(entry.order)
  out, (first, *rest) = out.transpose(back), [index[axis] for axis in back]
  start, stop, _ = first.indices(entry.reference_shape[0])
  step = max(1, CHUNK // math.prod(entry.reference_shape[1:]))
  for i in range(start, stop, step):
    rows = slice(i, min(i + step, stop))
    out[i - start:i - start + step] = tensor[(rows, *rest)]


def to_flax(weights: Mapping[str, Any],
            mapping: WeightMapping) -> dict[str, Any]:
  """Parameters, float32 on the host; ValueError as `check`."""
  weights = check(weights, mapping)
  return traverse_util.unflatten_dict(
      {path: read(weights, entry, (slice(None),) * len(entry.shape),
                  np.float32) for path, entry in mapping.items()}, sep="/")


def from_flax(params: Any, mapping: WeightMapping) -> dict[str, np.ndarray]:
  """The reference's tensors; of parameters, gradients or moments alike."""
  weights = {}
  flat = traverse_util.flatten_dict(params, sep="/")
  for path, entry in mapping.items():
    value = np.asarray(flat[path]).reshape(-1, *(
        entry.reference_shape[axis] for axis in entry.order))
    for name, piece in zip(entry.names, value):
      weights[name] = np.ascontiguousarray(
          piece.transpose(np.argsort(entry.order)))
  return weights


def kernel(names: Sequence[str], shape: Sequence[int], stacked: bool = False,
           tied: str = "") -> TensorMapping:
  """Of a kernel [.., in, out] that is [out, in, ..] in the reference."""
  shape = tuple(shape)
  n = len(shape) - stacked
  order = (*range(2, n), 1, 0)
  piece = shape[int(stacked):]
  reference = tuple(piece[axis] for axis in np.argsort(order))
  return TensorMapping(tuple(names), reference, order, shape, stacked, tied)


def same(names: Sequence[str], shape: Sequence[int],
         reference: Sequence[int] | None = None, stacked: bool = False,
         tied: str = "") -> TensorMapping:
  """Of a parameter that only may lack axes of size 1 of the reference's."""
  shape = tuple(shape)
  reference = shape[int(stacked):] if reference is None else tuple(reference)
  assert math.prod(reference) * len(names) == math.prod(shape)
  return TensorMapping(tuple(names), reference, tuple(range(len(reference))),
                       shape, stacked, tied)

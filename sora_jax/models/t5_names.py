"""The reference's names of the T5 encoders' weights, and ours.

The reference is T5EncoderModel and UMT5EncoderModel of the `transformers`
package. There a dense layer is [out, in] and each block has tensors of its own;
here a kernel is [in, out] and the blocks are stacked. A checkpoint holds the
embedding as `shared.weight`, as `encoder.embed_tokens.weight`, or as both.
"""

from flax import traverse_util
import jax
import numpy as np

from sora_jax.models import t5

NAMES = {
    "embed/embedding": "shared.weight",
    "bias": "encoder.block.0.layer.0.SelfAttention.relative_attention_bias"
            ".weight",
    "norm/scale": "encoder.final_layer_norm.weight",
    "blocks/bias": "encoder.block.{}.layer.0.SelfAttention"
                   ".relative_attention_bias.weight",
    "blocks/norm_1/scale": "encoder.block.{}.layer.0.layer_norm.weight",
    "blocks/q/kernel": "encoder.block.{}.layer.0.SelfAttention.q.weight",
    "blocks/k/kernel": "encoder.block.{}.layer.0.SelfAttention.k.weight",
    "blocks/v/kernel": "encoder.block.{}.layer.0.SelfAttention.v.weight",
    "blocks/out/kernel": "encoder.block.{}.layer.0.SelfAttention.o.weight",
    "blocks/norm_2/scale": "encoder.block.{}.layer.1.layer_norm.weight",
    "blocks/mlp/gate/kernel":
        "encoder.block.{}.layer.1.DenseReluDense.wi_0.weight",
    "blocks/mlp/linear_1/kernel":
        "encoder.block.{}.layer.1.DenseReluDense.wi_1.weight",
    "blocks/mlp/linear_2/kernel":
        "encoder.block.{}.layer.1.DenseReluDense.wo.weight",
}
# The same tensor under another name.
TIED = {"shared.weight": "encoder.embed_tokens.weight"}


def reference_name(path: str) -> str:
  """'blocks/q/kernel' to 'encoder.block.{}.layer.0.SelfAttention.q.weight'."""
  return NAMES[path]


def untied(weights: dict) -> dict:
  """The same weights, with a tied tensor under its first name alone.

  Raises:
    ValueError: both names are there and the tensors differ.
  """
  weights = dict(weights)
  for name, other in TIED.items():
    if other in weights:
      value = weights.pop(other)
      if not np.array_equal(weights.setdefault(name, value), value):
        raise ValueError(f"tensors {name} and {other} differ, they must be one")
  return weights


def to_flax(weights: dict[str, np.ndarray], module: t5.T5Encoder):
  """Parameters from a state dict in the reference's names.

  Raises:
    ValueError: a tensor that is missing, of another shape, or not known; the
      message names it.
  """
  shapes = traverse_util.flatten_dict(
      jax.eval_shape(lambda key: t5.init(module, key), jax.random.key(0)),
      sep="/")
  weights, used, params = untied(weights), set(), {}
  for path, shape in shapes.items():
    stacked = path.startswith("blocks/")
    names = [reference_name(path)]
    if stacked:
      names = [names[0].format(i) for i in range(module.layers)]
    if missing := [n for n in names if n not in weights]:
      raise ValueError(f"tensor {missing[0]} is missing")
    value = [_transposed(path, np.asarray(weights[n])) for n in names]
    wanted = shape.shape[1:] if stacked else shape.shape
    for name, v in zip(names, value):
      if v.shape != wanted:
        raise ValueError(f"tensor {name} has shape {weights[name].shape}, its "
                         f"parameter {path} needs {wanted}")
    params[path] = np.stack(value) if stacked else value[0]
    used.update(names)
  if unknown := sorted(set(weights) - used):
    raise ValueError(f"tensor {unknown[0]} is not part of this text encoder "
                     f"({len(unknown)} unknown tensors)")
  return traverse_util.unflatten_dict(params, sep="/")


def from_flax(params, module: t5.T5Encoder) -> dict[str, np.ndarray]:
  """A state dict in the reference's names, the embedding under its first."""
  weights = {}
  for path, value in traverse_util.flatten_dict(params, sep="/").items():
    name, value = reference_name(path), np.asarray(value)
    if path.startswith("blocks/"):
      for i in range(module.layers):
        weights[name.format(i)] = np.ascontiguousarray(
            _transposed(path, value[i]))
    else:
      weights[name] = value
  return weights


def _transposed(path: str, value: np.ndarray) -> np.ndarray:
  return value.T if path.endswith("kernel") else value

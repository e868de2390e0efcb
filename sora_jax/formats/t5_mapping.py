"""The reference's names of the T5 encoders' weights, and ours.

The reference is T5EncoderModel and UMT5EncoderModel of the `transformers`
package. There a dense layer is [out, in] and each block has tensors of its own;
here a kernel is [in, out] and the blocks are stacked. A checkpoint holds the
embedding as `shared.weight`, as `encoder.embed_tokens.weight`, or as both.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from sora_jax.formats import weight_mapping
from sora_jax.models.text import t5

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
TIED = "encoder.embed_tokens.weight"


def mapping(module: t5.T5Encoder) -> weight_mapping.WeightMapping:
  """Where each parameter lies."""
  return {path: _entry(path, shape, module)
          for path, shape in weight_mapping.shapes(t5.init, module).items()}


def _entry(path: str, shape: tuple[int, ...],
           module: t5.T5Encoder) -> weight_mapping.TensorMapping:
  stacked = path.startswith("blocks/")
  names = [NAMES[path].format(i) for i in range(module.layers)]
  kind = (weight_mapping.kernel if path.endswith("kernel")
          else weight_mapping.same)
  return kind(names if stacked else names[:1], shape, stacked=stacked,
              tied=TIED if path == "embed/embedding" else "")


def to_flax(weights: Mapping[str, np.ndarray],
            module: t5.T5Encoder) -> dict[str, Any]:
  """Parameters from a state dict in the reference's names.

  Raises:
    ValueError: a tensor that is missing, of another shape, or not known; the
      message names it.
  """
  return weight_mapping.to_flax(weights, mapping(module))


def from_flax(params: Any, module: t5.T5Encoder) -> dict[str, np.ndarray]:
  """A state dict in the reference's names, the embedding under its first."""
  return weight_mapping.from_flax(params, mapping(module))

"""The reference's names and layout of the transformer's weights, and ours.

The reference is WanTransformer3DModel of the `diffusers` package. There a
dense layer is [out, in], each block has tensors of its own, and the patch
embedding is a convolution [D, C, pt, ph, pw]; here a kernel is [in, out], the
blocks are stacked, and a patch vector is ordered (pt, ph, pw, C). Anything
with the shapes of the parameters can be renamed: weights, gradients, moments.
"""

from collections.abc import Mapping
import math
from typing import Any

import numpy as np

from sora_jax.formats import weight_mapping
from sora_jax.models import dit

MODULES = {
    "patch": "patch_embedding",
    "time_1": "condition_embedder.time_embedder.linear_1",
    "time_2": "condition_embedder.time_embedder.linear_2",
    "time_mod": "condition_embedder.time_proj",
    "text/linear_1": "condition_embedder.text_embedder.linear_1",
    "text/linear_2": "condition_embedder.text_embedder.linear_2",
    "blocks/self/q": "blocks.{}.attn1.to_q",
    "blocks/self/k": "blocks.{}.attn1.to_k",
    "blocks/self/v": "blocks.{}.attn1.to_v",
    "blocks/self/out": "blocks.{}.attn1.to_out.0",
    "blocks/cross/q": "blocks.{}.attn2.to_q",
    "blocks/cross/k": "blocks.{}.attn2.to_k",
    "blocks/cross/v": "blocks.{}.attn2.to_v",
    "blocks/cross/out": "blocks.{}.attn2.to_out.0",
    "blocks/norm": "blocks.{}.norm2",
    "blocks/mlp/linear_1": "blocks.{}.ffn.net.0.proj",
    "blocks/mlp/linear_2": "blocks.{}.ffn.net.2",
    "head": "proj_out",
}
OTHERS = {
    "table": "scale_shift_table",
    "blocks/table": "blocks.{}.scale_shift_table",
    "blocks/norm/scale": "blocks.{}.norm2.weight",
    "blocks/self/q/scale": "blocks.{}.attn1.norm_q.weight",
    "blocks/self/k/scale": "blocks.{}.attn1.norm_k.weight",
    "blocks/cross/q/scale": "blocks.{}.attn2.norm_q.weight",
    "blocks/cross/k/scale": "blocks.{}.attn2.norm_k.weight",
}
LEAVES = {"kernel": "weight", "bias": "bias"}


def reference_name(path: str) -> str:
  """'blocks/self/q/kernel' to 'blocks.{}.attn1.to_q.weight'."""
  if path in OTHERS:
    return OTHERS[path]
  module, leaf = path.rsplit("/", 1)
  return f"{MODULES[module]}.{LEAVES[leaf]}"


def mapping(module: dit.DiT) -> weight_mapping.WeightMapping:
  """Where each parameter lies."""
  return {path: _entry(path, shape, module)
          for path, shape in weight_mapping.shapes(dit.init, module).items()}


def _entry(path: str, shape: tuple[int, ...],
           module: dit.DiT) -> weight_mapping.TensorMapping:
  name, stacked = reference_name(path), path.startswith("blocks/")
  names = [name.format(i) for i in range(module.layers)] if stacked else [name]
  if path == "patch/kernel":
    channels = module.patch_channels // math.prod(module.patch)
    return weight_mapping.TensorMapping(
        (name,), (shape[-1], channels, *module.patch), (2, 3, 4, 1, 0), shape)
  if path.endswith("table"):
    return weight_mapping.same(names, shape, (1, *shape[int(stacked):]), stacked)
  kind = (weight_mapping.kernel if path.endswith("kernel")
          else weight_mapping.same)
  return kind(names, shape, stacked=stacked)


def to_flax(weights: Mapping[str, np.ndarray],
            module: dit.DiT) -> dict[str, Any]:
  """Parameters from a state dict in the reference's names.

  Raises:
    ValueError: a tensor that is missing, of another shape, or not known; the
      message names it.
  """
  return weight_mapping.to_flax(weights, mapping(module))


def from_flax(params: Any, module: dit.DiT) -> dict[str, np.ndarray]:
  """A state dict in the reference's names."""
  return weight_mapping.from_flax(params, mapping(module))

"""Weights of the VAE under the names and in the layout of `diffusers`.

The reference is AutoencoderKLWan (diffusers 0.37 and later). Its kernels are
[O, C, kt, kh, kw] and [O, C, kh, kw], its gains [C, 1, 1, 1] or [C, 1, 1]; ours
have their channels last. Our tree groups the blocks of each level for both
mapping; the reference numbers those of the Wan 2.1 encoder in one flat list.
"""

from collections.abc import Mapping
import re
from typing import Any

import numpy as np

from sora_jax.formats import weight_mapping
from sora_jax.models.vae import vae as vae_lib


def mapping(vae: vae_lib.VAE) -> weight_mapping.WeightMapping:
  """Where each parameter lies."""
  return {path: _entry(path, shape, vae)
          for path, shape in weight_mapping.shapes(vae_lib.init, vae).items()}


def _entry(path: str, shape: tuple[int, ...],
           vae: vae_lib.VAE) -> weight_mapping.TensorMapping:
  names = [reference_name(path, vae)]
  if path.endswith("kernel"):
    return weight_mapping.kernel(names, shape)
  if path.endswith("gamma"):
    ones = (1, 1) if "attentions" in path else (1, 1, 1)
    return weight_mapping.same(names, shape, (*shape, *ones))
  return weight_mapping.same(names, shape)


def to_flax(state_dict: Mapping[str, np.ndarray],
            vae: vae_lib.VAE) -> dict[str, Any]:
  """Parameters of `vae` from a reference state dict of numpy arrays.

  Raises:
    ValueError: a missing, an unknown or a wrongly shaped tensor.
  """
  return weight_mapping.to_flax(state_dict, mapping(vae))


def from_flax(params: Any, vae: vae_lib.VAE) -> dict[str, np.ndarray]:
  """The reference's state dict of our parameters."""
  return weight_mapping.from_flax(params, mapping(vae))


def reference_name(path: str, vae: vae_lib.VAE) -> str:
  """The reference's name of the parameter at one of our paths."""
  name = path.replace("kernel", "weight").replace("/", ".")
  if not vae.residual:
    name = name.replace(".upsampler.", ".upsamplers_0.")
    level = re.match(r"encoder\.down_blocks_(\d+)\.(resnets_(\d+)|downsampler)",
                     name)
    if level:
      block = vae.blocks if level[3] is None else int(level[3])
      index = int(level[1]) * (vae.blocks + 1) + block
      name = f"encoder.down_blocks_{index}" + name[level.end():]
  return re.sub(r"_(\d+)(?=\.)", r".\1", name)

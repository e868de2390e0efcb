"""Weights of the VAE under the names and in the layout of `diffusers`.

The reference is AutoencoderKLWan (diffusers 0.37 and later). Its kernels are
[O, C, kt, kh, kw] and [O, C, kh, kw], its gains [C, 1, 1, 1] or [C, 1, 1]; ours
have their channels last. Our tree groups the blocks of each level for both
layouts; the reference numbers those of the Wan 2.1 encoder in one flat list.
"""

import re

import jax
import numpy as np

from sora_jax import mesh
from sora_jax.models import vae as vae_lib


def to_flax(state_dict, vae: vae_lib.VAE):
  """Parameters of `vae` from a reference state dict of numpy arrays.

  Raises:
    ValueError: a missing, an unknown or a wrongly shaped entry.
  """
  left = dict(state_dict)

  def leaf(path, spec):
    ours = mesh.path_name(path)
    name = reference_name(ours, vae)
    if name not in left:
      raise ValueError(f"VAE weights lack {name}")
    value, shape = left.pop(name), reference_shape(ours, spec.shape)
    if tuple(value.shape) != shape:
      raise ValueError(f"VAE weight {name} has shape {tuple(value.shape)}; the "
                       f"config needs {shape}")
    if value.ndim == len(spec.shape) and value.ndim > 1:
      value = np.moveaxis(np.moveaxis(value, 0, -1), 0, -2)
    return np.ascontiguousarray(value.reshape(spec.shape), np.float32)

  params = jax.tree_util.tree_map_with_path(leaf, spec_of(vae))
  if left:
    raise ValueError(f"VAE weights have {len(left)} unknown entries, first "
                     f"{sorted(left)[0]}: the config describes another network")
  return params


def from_flax(params, vae: vae_lib.VAE):
  """The reference state dict (numpy, float32) of our parameters."""
  state = {}
  for path, value in jax.tree_util.tree_flatten_with_path(params)[0]:
    ours, value = mesh.path_name(path), np.asarray(value, np.float32)
    shape = reference_shape(ours, value.shape)
    if ours.endswith("kernel"):
      value = np.moveaxis(np.moveaxis(value, -1, 0), -1, 1)
    state[reference_name(ours, vae)] = np.ascontiguousarray(
        value.reshape(shape))
  return state


def spec_of(vae: vae_lib.VAE):
  """The shapes and dtypes of the parameters."""
  return jax.eval_shape(lambda: vae_lib.init(vae, jax.random.key(0)))


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


def reference_shape(path: str, shape) -> tuple[int, ...]:
  """The reference's shape of the parameter at one of our paths."""
  if path.endswith("kernel"):
    return (shape[-1], shape[-2], *shape[:-2])
  if path.endswith("gamma"):
    return (*shape, 1, 1) if "attentions" in path else (*shape, 1, 1, 1)
  return tuple(shape)

"""The reference's names and layouts of the transformer's weights, and ours.

The reference is WanTransformer3DModel of the `diffusers` package. There a
dense layer is [out, in], each block has tensors of its own, and the patch
embedding is a convolution [D, C, pt, ph, pw]; here a kernel is [in, out], the
blocks are stacked, and a patch vector is ordered (pt, ph, pw, C). Anything
with the shapes of the parameters can be renamed: weights, gradients, moments.
"""

from flax import traverse_util
import jax
import numpy as np

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


def to_flax(weights: dict[str, np.ndarray], module: dit.DiT):
  """Parameters from a state dict in the reference's names.

  Raises:
    ValueError: a tensor that is missing, of another shape, or not known; the
      message names it.
  """
  shapes = traverse_util.flatten_dict(
      jax.eval_shape(lambda key: dit.init(module, key), jax.random.key(0)),
      sep="/")
  used, params = set(), {}
  for path, shape in shapes.items():
    names = [reference_name(path)]
    if path.startswith("blocks/"):
      names = [names[0].format(i) for i in range(module.layers)]
    if missing := [n for n in names if n not in weights]:
      raise ValueError(f"tensor {missing[0]} is missing")
    value = [_from_reference(path, np.asarray(weights[n])) for n in names]
    wanted = shape.shape[1:] if path.startswith("blocks/") else shape.shape
    for name, v in zip(names, value):
      if v.shape != wanted:
        raise ValueError(f"tensor {name} has shape {weights[name].shape}, its "
                         f"parameter {path} needs {wanted}")
    params[path] = (np.stack(value) if path.startswith("blocks/")
                    else value[0])
    used.update(names)
  if unknown := sorted(set(weights) - used):
    raise ValueError(f"tensor {unknown[0]} is not part of this transformer "
                     f"({len(unknown)} unknown tensors)")
  return traverse_util.unflatten_dict(params, sep="/")


def from_flax(params, module: dit.DiT,
              patch: tuple[int, int, int] = (1, 2, 2)) -> dict[str, np.ndarray]:
  """A state dict in the reference's names; `patch` shapes the first layer."""
  weights = {}
  for path, value in traverse_util.flatten_dict(params, sep="/").items():
    name, value = reference_name(path), np.asarray(value)
    if path.startswith("blocks/"):
      for i in range(module.layers):
        weights[name.format(i)] = _to_reference(path, value[i], patch)
    else:
      weights[name] = _to_reference(path, value, patch)
  return weights


def _from_reference(path: str, value: np.ndarray) -> np.ndarray:
  if path.endswith("table"):
    return value[0] if value.ndim == 3 else value
  if path == "patch/kernel" and value.ndim == 5:
    return value.transpose(2, 3, 4, 1, 0).reshape(-1, value.shape[0])
  return value.T if path.endswith("kernel") else value


def _to_reference(path: str, value: np.ndarray, patch) -> np.ndarray:
  if path.endswith("table"):
    return value[None]
  if path == "patch/kernel":
    value = value.reshape(*patch, -1, value.shape[-1])
    return np.ascontiguousarray(value.transpose(4, 3, 0, 1, 2))
  return np.ascontiguousarray(value.T if path.endswith("kernel") else value)

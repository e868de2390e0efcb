"""Parameters and floating point operations, before anything runs.

The compiler's own count takes a scanned block once and sees nothing inside a
custom call, so we count ourselves: the transformers by formula, the VAE by
walking the operations that it traces to. One multiplication with its addition
is 2 operations; only matrix products and convolutions count. A training step is
three forward passes (one forward, two backward); what rematerialisation
computes again is not counted, as is usual for model FLOPs utilisation (Chowdhery
et al. 2022, arXiv 2204.02311).
"""

from collections.abc import Callable, Sequence
import math

import jax
import jax.numpy as jnp

from sora_jax.models import dit as dit_lib
from sora_jax.models import text_encoder as text_lib
from sora_jax.models import vae as vae_lib

TRAIN = 3  # a training step in forward passes


def dit_params(dit: dit_lib.DiT) -> int:
  """Parameters of the transformer."""
  d, f = dit.heads * dit.head_size, dit.ffn
  dense = lambda a, b: a * b + b
  attention = 4 * dense(d, d) + 2 * d  # with the norms of queries and keys
  block = (2 * attention + 8 * d  # 6 rows of modulation, and a layer norm
           + dense(d, f) + dense(f, d))
  time = dense(dit.freq_dim, d) + dense(d, d) + dense(d, 6 * d)
  text = dense(dit.text_width, d) + dense(d, d)
  ends = dense(dit.patch_channels, d) + dense(d, dit.out_channels) + 2 * d
  return dit.layers * block + time + text + ends


def dit_flops(dit: dit_lib.DiT, segments: Sequence[tuple[int, int]],
              times: int | None = None) -> int:
  """Operations of a forward pass.

  Args:
    dit: the module.
    segments: (tokens, text tokens) of every clip; padding is not counted.
    times: distinct times that are embedded; one for each clip if None.
  """
  d = dit.heads * dit.head_size
  total = 0
  for tokens, text in segments:
    block = tokens * (2 * 6 * d * d + 4 * d * dit.ffn)  # projections and MLP
    block += 2 * text * 2 * d * d  # keys and values of the text
    block += 4 * tokens * (tokens + text) * d  # scores and their sums
    total += dit.layers * block
    total += 2 * tokens * d * (dit.patch_channels + dit.out_channels)
    total += 2 * text * d * (dit.text_width + d)
  times = len(segments) if times is None else times
  return total + 2 * times * d * (dit.freq_dim + 7 * d)


def text_flops(encoder: text_lib.TextEncoder, lengths: Sequence[int]) -> int:
  """Operations of a forward pass over prompts of `lengths`."""
  d = encoder.width
  return encoder.layers * sum(
      n * (2 * 4 * d * d + 4 * d * encoder.ffn) + 4 * n * n * d
      for n in lengths)


def encode_flops(vae: vae_lib.VAE, size: tuple[int, int, int]) -> int:
  """Operations to encode one clip of `size` (T, H, W)."""
  params = _vae_spec(vae)
  video = jax.ShapeDtypeStruct((1, *size, 3), jnp.float32)
  return traced(lambda p, x: vae_lib.encode(vae, p, x), params, video)


def decode_flops(vae: vae_lib.VAE, size: tuple[int, int, int]) -> int:
  """Operations to decode one clip of `size` (T, H, W)."""
  st, sh, sw = vae_lib.stride(vae)
  t, h, w = size
  z = jax.ShapeDtypeStruct((1, (t - 1) // st + 1, h // sh, w // sw, vae.z),
                           jnp.float32)
  return traced(lambda p, z: vae_lib.decode(vae, p, z), _vae_spec(vae), z)


def params_of(init: Callable) -> int:
  """Parameters that init(key) makes, without making them."""
  shapes = jax.eval_shape(init, jax.random.key(0))
  return sum(math.prod(x.shape) for x in jax.tree.leaves(shapes))


def traced(fn: Callable, *args) -> int:
  """Operations of fn(*args), by what it traces to; args may be shapes.

  Raises:
    ValueError: a loop whose length is not in the program.
  """
  return _count(jax.make_jaxpr(fn)(*args).jaxpr)


def _vae_spec(vae: vae_lib.VAE):
  return jax.eval_shape(lambda key: vae_lib.init(vae, key), jax.random.key(0))


def _count(jaxpr) -> int:
  return sum(_operations(eqn) for eqn in jaxpr.eqns)


def _operations(eqn) -> int:
  out = math.prod(eqn.outvars[0].aval.shape) if eqn.outvars else 0
  inner = [getattr(p, "jaxpr", p) for p in eqn.params.values()
           if hasattr(getattr(p, "jaxpr", p), "eqns")]
  match eqn.primitive.name:
    case "dot_general":
      axes = eqn.params["dimension_numbers"][0][0]
      shape = eqn.invars[0].aval.shape
      return 2 * out * math.prod(shape[a] for a in axes)
    case "conv_general_dilated":
      kernel = eqn.invars[1].aval.shape
      features = kernel[eqn.params["dimension_numbers"].rhs_spec[0]]
      return 2 * out * math.prod(kernel) // features
    case "scan":
      return eqn.params["length"] * _count(inner[0])
    case "while":
      if _count(eqn.params["body_jaxpr"].jaxpr):
        raise ValueError("a loop of unknown length cannot be counted")
      return 0
    case "cond":
      return max(_count(b.jaxpr) for b in eqn.params["branches"])
  return sum(map(_count, inner))

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
import dataclasses
import functools
import math

import jax
import jax.numpy as jnp

from sora_jax import types
from sora_jax.geometry import frames as frames_lib
from sora_jax.models import dit as dit_lib
from sora_jax.models.text import encoder as encoder_lib
from sora_jax.models.vae import vae as vae_lib

TRAIN = 3  # a training step in forward passes
LANES = 128  # of a TPU's vector and matrix units: the last axis is padded to it


@dataclasses.dataclass(frozen=True)
class Work:
  """The arithmetic of a program, of all chips together.

  Attributes:
    flops: what the model asks for, forward and backward.
    dense: what the chips do in matrix products and convolutions: with what is
      computed again, and rounded up to the lanes of the hardware.
    attention: the same of attention.
  """

  flops: float
  dense: float
  attention: float


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
  total = attention_flops(dit, segments)
  for tokens, text in segments:
    block = tokens * (2 * 6 * d * d + 4 * d * dit.ffn)  # projections and MLP
    block += 2 * text * 2 * d * d  # keys and values of the text
    total += dit.layers * block
    total += 2 * tokens * d * (dit.patch_channels + dit.out_channels)
    total += 2 * text * d * (dit.text_width + d)
  times = len(segments) if times is None else times
  return total + 2 * times * d * (dit.freq_dim + 7 * d)


def attention_flops(dit: dit_lib.DiT, segments: Sequence[tuple[int, int]],
                    lanes: int = 1) -> int:
  """The part of `dit_flops` that is scores and their sums.

  Args:
    dit: the module.
    segments: as in `dit_flops`.
    lanes: the size of a head is rounded up to a multiple of this, as hardware
      does: LANES on a TPU.
  """
  d = dit.heads * -(-dit.head_size // lanes) * lanes
  return dit.layers * sum(4 * n * (n + text) * d for n, text in segments)


def paper_macs(dit: dit_lib.DiT, tokens: int = 256) -> int:
  """Multiply-accumulates of a forward pass as the DiT paper counts them.

  For one image of `tokens` patches, without what attends to text, which its
  networks do not have (Peebles & Xie 2022, arXiv 2212.09748, Table 4).
  """
  d = dit.heads * dit.head_size
  text = 2 * 2 * d * d * tokens * dit.layers  # queries and output
  return (dit_flops(dit, [(tokens, 0)]) - text) // 2


def paper_params(dit: dit_lib.DiT) -> dict[str, int]:
  """The parameters, and how they differ from those of the DiT paper's network.

  Returns:
    {"parameters": of the module, "text": of them, what attends to text, which
    the paper's has not, "shared": what it would have more if every block had a
    modulation layer of its own, as the paper's has}.
  """
  d = dit.heads * dit.head_size
  text = dit.layers * (4 * (d * d + d) + 2 * d + 2 * d)
  text += dit.text_width * d + d + d * d + d
  return {"parameters": dit_params(dit), "text": text,
          "shared": (dit.layers - 1) * 6 * (d * d + d)}


def text_flops(encoder: encoder_lib.TextEncoder, lengths: Sequence[int]) -> int:
  """Operations of a forward pass over prompts of `lengths`."""
  d = encoder.width
  return encoder.layers * sum(
      n * (2 * 4 * d * d + 4 * d * encoder.ffn) + 4 * n * n * d
      for n in lengths)


def encode_flops(vae: vae_lib.VAE, size: tuple[int, int, int],
                 lanes: int = 1) -> int:
  """Operations to encode one clip of `size` (T, H, W); lanes as in `traced`."""
  st, sh, sw = vae_lib.stride(vae)
  video = lambda t, h, w: (
      1, frames_lib.frame_count(t, st), h * sh, w * sw, 3)
  return _vae_flops(vae, vae_lib.encode, video, size, lanes)


def decode_flops(vae: vae_lib.VAE, size: tuple[int, int, int],
                 lanes: int = 1) -> int:
  """Operations to decode one clip of `size` (T, H, W); lanes as in `traced`."""
  latents = lambda t, h, w: (1, t, h, w, vae.z)
  return _vae_flops(vae, vae_lib.decode, latents, size, lanes)


def _vae_flops(vae: vae_lib.VAE, fn: Callable, shape: Callable, size,
               lanes: int) -> int:
  """Operations of fn(vae, params, x) for a clip of `size`.

  Of a frame of n latents they are a n + b n^2, by convolutions and by attention,
  and from the fourth on every frame costs alike: small traces tell all.
  """
  st, sh, sw = vae_lib.stride(vae)
  params = jax.eval_shape(lambda key: vae_lib.init(vae, key), jax.random.key(0))
  n = (size[1] // sh) * (size[2] // sw)

  def frames(t):
    one, two = (traced(
        functools.partial(fn, vae), params,
        jax.ShapeDtypeStruct(shape(t, 4, w), jnp.float32), lanes=lanes)
                for w in (8, 16))  # n of 32 and 64
    square = (two - 2 * one) // (64**2 - 2 * 32**2)
    return (one - 32**2 * square) // 32 * n + square * n * n

  count = frames_lib.full_latents(size[0], st)
  if count < 4:  # a frame alone takes one tap of three
    return frames(count)
  third = frames(3)
  return third + (count - 3) * (frames(4) - third)


def params_of(init: Callable) -> int:
  """Parameters that init(key) makes, without making them."""
  shapes = jax.eval_shape(init, jax.random.key(0))
  return sum(math.prod(x.shape) for x in jax.tree.leaves(shapes))


def traced(fn: Callable, *args: types.PyTree, lanes: int = 1) -> int:
  """Operations of fn(*args), by what it traces to; args may be shapes.

  The channels of convolutions are rounded up to a multiple of `lanes`.

  Raises:
    ValueError: a loop whose length is not in the program.
  """
  return _count(jax.make_jaxpr(fn)(*args).jaxpr, lanes)


def _count(jaxpr, lanes: int) -> int:
  return sum(_operations(eqn, lanes) for eqn in jaxpr.eqns)


def _operations(eqn, lanes: int) -> int:
  out = math.prod(eqn.outvars[0].aval.shape) if eqn.outvars else 0
  inner = [getattr(p, "jaxpr", p) for p in eqn.params.values()
           if hasattr(getattr(p, "jaxpr", p), "eqns")]
  match eqn.primitive.name:
    case "dot_general":
      axes = eqn.params["dimension_numbers"][0][0]
      shape = eqn.invars[0].aval.shape
      return 2 * out * math.prod(shape[a] for a in axes)
    case "conv_general_dilated":
      x, kernel = (v.aval.shape for v in eqn.invars)
      y, axes = eqn.outvars[0].aval.shape, eqn.params["dimension_numbers"]
      result, source, *taps = axes.rhs_spec
      up = lambda axis: -(-kernel[axis] // lanes) * lanes
      # A row more than the input has is cut off again (conv._threaded).
      return (2 * y[axes.out_spec[0]] * up(result) * up(source) * math.prod(
          kernel[k] * min(x[i], y[o]) for k, i, o in zip(
              taps, axes.lhs_spec[2:], axes.out_spec[2:])))
    case "scan":
      return eqn.params["length"] * _count(inner[0], lanes)
    case "while":
      if _count(eqn.params["body_jaxpr"].jaxpr, lanes):
        raise ValueError("a loop of unknown length cannot be counted")
      return 0
    case "cond":
      return max(_count(b.jaxpr, lanes) for b in eqn.params["branches"])
  return sum(_count(jaxpr, lanes) for jaxpr in inner)

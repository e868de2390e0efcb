"""Floating point operations by walking what a function traces to.

The VAE is counted this way: its convolutions and its attention within frames
follow no short formula. What counts is as in flops.py.
"""

from collections.abc import Callable
import functools
import math

import jax
import jax.numpy as jnp

from sora_jax import types
from sora_jax.geometry import frames as frames_lib
from sora_jax.models.vae import vae as vae_lib


def encode_flops(vae: vae_lib.VAE, size: tuple[int, int, int],
                 lanes: int = 1) -> int:
  """Operations to encode one clip of `size` (T, H, W); lanes as in `count`."""
  st, sh, sw = vae_lib.stride(vae)
  video = lambda t, h, w: (
      1, frames_lib.frame_count(t, st), h * sh, w * sw, 3)
  return _vae_flops(vae, vae_lib.encode, video, size, lanes)


def decode_flops(vae: vae_lib.VAE, size: tuple[int, int, int],
                 lanes: int = 1) -> int:
  """Operations to decode one clip of `size` (T, H, W); lanes as in `count`."""
  latents = lambda t, h, w: (1, t, h, w, vae.z)
  return _vae_flops(vae, vae_lib.decode, latents, size, lanes)


def _vae_flops(vae: vae_lib.VAE, fn: Callable, shape: Callable, size,
               lanes: int) -> int:
  """Operations of fn(vae, params, x) for a clip of `size`.

  A frame of n latents takes a n + b n^2, for convolutions and attention, and
  every frame from the fourth on takes the same: small traces suffice.
  """
  st, sh, sw = vae_lib.stride(vae)
  params = jax.eval_shape(lambda key: vae_lib.init(vae, key), jax.random.key(0))
  n = (size[1] // sh) * (size[2] // sw)

  def frames(t):
    one, two = (count(
        functools.partial(fn, vae), params,
        jax.ShapeDtypeStruct(shape(t, 4, w), jnp.float32), lanes=lanes)
                for w in (8, 16))  # n of 32 and 64
    square = (two - 2 * one) // (64**2 - 2 * 32**2)
    return (one - 32**2 * square) // 32 * n + square * n * n

  latents = frames_lib.full_latents(size[0], st)
  if latents < 4:  # a frame alone takes one tap of three
    return frames(latents)
  third = frames(3)
  return third + (latents - 3) * (frames(4) - third)


def params_of(init: Callable) -> int:
  """Parameters that init(key) makes, without making them."""
  shapes = jax.eval_shape(init, jax.random.key(0))
  return sum(math.prod(x.shape) for x in jax.tree.leaves(shapes))


def count(fn: Callable, *args: types.PyTree, lanes: int = 1) -> int:
  """Operations of fn(*args), from its trace; args may be shapes.

  Args:
    fn: the function.
    *args: its arguments.
    lanes: the channels of convolutions are rounded up to a multiple of this.

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
      # An output row more than the input has is dropped (conv._threaded).
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

"""The blocks of the video compression network, in the layout of the Wan VAEs.

Every block takes

  x: [B, T, H, W, C], the next frames of a clip.
  cache: a tree of arrays, the inputs that its convolutions saw last; None at
    the start of a clip.
  valid: a mask [B, 1, H, W, 1] of the positions that hold content; None if all
    do.

and returns the output and the cache for the frames that follow. Normalisation
is per position: only convolutions see another frame, and only earlier ones.
Positions that are not valid are set to zero before every spatial convolution,
so a padded clip meets the same zeros as the clip alone.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from sora_jax import mesh as mesh_lib
from sora_jax import types
from sora_jax.models.attention import attend
from sora_jax.models.vae import conv

EPS = 1e-12  # a squared norm below is zero: it has no direction, no gradient


class Norm(nn.Module):
  """Divides each position by its root mean square and scales the channels."""

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    gamma = self.param("gamma", nn.initializers.ones, (x.shape[-1],),
                       jnp.float32)
    y = x.astype(jnp.float32)
    square = jnp.sum(y * y, axis=-1, keepdims=True)
    scale = jax.lax.rsqrt(jnp.maximum(square, EPS)) * x.shape[-1]**0.5
    return (y * jnp.where(square > EPS, scale, 0) * gamma).astype(x.dtype)


class ResBlock(nn.Module):
  """x + conv(silu(norm(conv(silu(norm(x))))))."""

  features: int

  @nn.compact
  def __call__(self, x: jax.Array, cache: types.PyTree = None,
               valid: jax.Array | None = None
               ) -> tuple[jax.Array, types.PyTree]:
    skip = x
    if x.shape[-1] != self.features:
      skip = conv.PointConv(self.features, name="conv_shortcut")(x)
    cache, new = cache or {}, {}
    for i in (1, 2):
      x = masked(nn.silu(Norm(name=f"norm{i}")(x)), valid)
      x, new[f"conv{i}"] = conv.CausalConv(self.features, name=f"conv{i}")(
          x, cache.get(f"conv{i}"))
    return x + skip, new


class Attention(nn.Module):
  """One head of attention among the positions of each frame."""

  @nn.compact
  def __call__(self, x: jax.Array,
               valid: jax.Array | None = None) -> jax.Array:
    b, t, h, w, c = x.shape
    qkv = conv.FrameConv(3 * c, space=1, name="to_qkv")(Norm(name="norm")(x))
    q, k, v = jnp.split(qkv.reshape(b * t, h * w, 1, 3 * c), 3, axis=-1)
    seg = None
    if valid is not None:  # [B T, h w], 1 where valid
      seg = jnp.repeat(valid.reshape(b, h * w).astype(jnp.int32), t, axis=0)
    kv_seg = seg
    if mesh_lib.splits(mesh_lib.TOKENS):  # the keys come from all columns of
      k, v, kv_seg = (  # a frame, in any order
          jax.tree.map(lambda a: jax.lax.all_gather(
              a, mesh_lib.TOKENS, axis=1, tiled=True), y) for y in (k, v, seg))
    y = attend.attend(q, k, v, seg, kv_seg).reshape(x.shape)
    return x + conv.FrameConv(c, space=1, name="proj")(y)


class Mid(nn.Module):
  """Residual block, attention within each frame, residual block."""

  @nn.compact
  def __call__(self, x: jax.Array, cache: types.PyTree = None,
               valid: jax.Array | None = None
               ) -> tuple[jax.Array, types.PyTree]:
    cache, new, width = cache or {}, {}, x.shape[-1]
    x, new["0"] = ResBlock(width, name="resnets_0")(x, cache.get("0"), valid)
    x = Attention(name="attentions_0")(x, valid)
    x, new["1"] = ResBlock(width, name="resnets_1")(x, cache.get("1"), valid)
    return x, new


class Down(nn.Module):
  """Halves height and width, and also time if `time`."""

  time: bool

  @nn.compact
  def __call__(self, x: jax.Array, cache: types.PyTree = None,
               valid: jax.Array | None = None
               ) -> tuple[jax.Array, types.PyTree]:
    width = x.shape[-1]
    x = conv.FrameConv(width, stride=2, name="resample_1")(masked(x, valid))
    if self.time:
      x, cache = conv.HalfTime(width, name="time_conv")(x, cache)
    return x, cache


class Up(nn.Module):
  """Doubles height and width (nearest, then a convolution), and time if `time`.

  The first frame of a clip stays one frame, and the convolution of the others
  does not see it. `first` says that x begins with it.
  """

  features: int
  time: bool

  @nn.compact
  def __call__(self, x: jax.Array, cache: types.PyTree = None,
               valid: jax.Array | None = None,
               first: bool = True) -> tuple[jax.Array, types.PyTree]:
    if self.time:
      width = x.shape[-1]
      head, x = (x[:, :1], x[:, 1:]) if first else (x[:, :0], x)
      y, cache = conv.CausalConv(2 * width, space=1, name="time_conv")(
          x, None if first else cache)
      b, t, h, w, _ = y.shape
      y = jnp.moveaxis(y.reshape(b, t, h, w, 2, width), 4, 2)
      x = jnp.concatenate([head, y.reshape(b, 2 * t, h, w, width)], axis=1)
    x = repeat2(x)
    x = conv.FrameConv(self.features, name="resample_1")(masked(x, valid))
    return x, cache


class DownLevel(nn.Module):
  """Residual blocks and, if `space`, a halving of the size."""

  features: int
  blocks: int
  time: bool
  space: bool
  shortcut: bool

  @nn.compact
  def __call__(self, x: jax.Array, cache: types.PyTree = None,
               valid: jax.Array | None = None
               ) -> tuple[jax.Array, types.PyTree]:
    cache, new, skip = cache or {}, {}, x
    for i in range(self.blocks):
      x, new[str(i)] = ResBlock(self.features, name=f"resnets_{i}")(
          x, cache.get(str(i)), valid)
    if self.space:
      x, new["down"] = Down(self.time, name="downsampler")(
          x, cache.get("down"), valid)
    if self.shortcut:
      x += mean_down(skip, self.features, 1 + self.time, 1 + self.space)
    return x, new


class UpLevel(nn.Module):
  """Residual blocks and, if `space`, a doubling of the size.

  The doubling keeps the channels with a shortcut and halves them without.
  """

  features: int
  blocks: int
  time: bool
  space: bool
  shortcut: bool

  @nn.compact
  def __call__(self, x: jax.Array, cache: types.PyTree = None,
               valid: jax.Array | None = None,
               first: bool = True) -> tuple[jax.Array, types.PyTree]:
    cache, new, skip = cache or {}, {}, x
    for i in range(self.blocks):
      x, new[str(i)] = ResBlock(self.features, name=f"resnets_{i}")(
          x, cache.get(str(i)), valid)
    if self.space:
      width = self.features if self.shortcut else self.features // 2
      x, new["up"] = Up(width, self.time, name="upsampler")(
          x, cache.get("up"), double(valid), first)
    if self.space and self.shortcut:
      x += copy_up(skip, self.features, 1 + self.time, 2, first)
    return x, new


def masked(x: jax.Array, valid: jax.Array | None) -> jax.Array:
  """x with zeros where `valid` is false."""
  return x if valid is None else jnp.where(valid, x, 0)


def halve(valid: jax.Array | None) -> jax.Array | None:
  """`valid` for half the height and width."""
  return None if valid is None else valid[:, :, ::2, ::2]


def double(valid: jax.Array | None) -> jax.Array | None:
  """`valid` for twice the height and width."""
  return None if valid is None else repeat2(valid)


def repeat2(x: jax.Array) -> jax.Array:
  """Nearest-neighbour doubling of height and width."""
  b, t, h, w, c = x.shape
  x = jnp.broadcast_to(x[:, :, :, None, :, None], (b, t, h, 2, w, 2, c))
  return x.reshape(b, t, 2 * h, 2 * w, c)


def mean_down(x: jax.Array, features: int, ft: int, fs: int) -> jax.Array:
  """The shortcut of a level that halves: ft x fs x fs positions into channels.

  Neighbouring channels are then averaged in groups, down to `features`. A zero
  frame comes first where ft does not divide the frames: the start of a clip.
  """
  x = jnp.pad(x, ((0, 0), (-x.shape[1] % ft, 0)) + ((0, 0),) * 3)
  b, t, h, w, c = x.shape
  x = x.reshape(b, t // ft, ft, h // fs, fs, w // fs, fs, c)
  x = x.transpose(0, 1, 3, 5, 7, 2, 4, 6)  # [B, t, h, w, C, ft, fs, fs]
  return x.reshape(b, t // ft, h // fs, w // fs, features, -1).mean(-1)


def copy_up(x: jax.Array, features: int, ft: int, fs: int,
            first: bool) -> jax.Array:
  """The shortcut of a level that doubles: channels repeated, then spread.

  The `features` channels of the result take ft x fs x fs positions; the first
  frame of a clip stays one frame (`first`).
  """
  b, t, h, w, c = x.shape
  x = jnp.repeat(x, features * ft * fs * fs // c, axis=-1)
  x = x.reshape(b, t, h, w, features, ft, fs, fs)
  x = x.transpose(0, 1, 5, 2, 6, 3, 7, 4)
  x = x.reshape(b, t * ft, h * fs, w * fs, features)
  return x[:, ft - 1:] if first else x

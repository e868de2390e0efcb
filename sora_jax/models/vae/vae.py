"""The video compression network: a VAE that is causal in time.

Report: "We train a network that reduces the dimensionality of visual data. This
network takes raw video as input and outputs a latent representation that is
compressed both temporally and spatially."

The layout is that of the Wan VAEs (arXiv:2503.20314), so that their open
weights load: Wan 2.1 is residual=False, patch=1; 2.2 is residual=True, patch=2.
The first frame becomes one latent and every further `stride` frames another, so
an image is a video of one frame. Parameters are a plain dict with the names of
the reference (formats/vae_mapping.py).

A long video goes through in chunks, in bounded memory: `encode_chunk` and
`decode_chunk` return a cache of what the next chunk must know, the two frames
before each convolution. Chunks equal the whole: nothing overlaps, nothing is
blended, and two programs (the first chunk and all others) serve any length.
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from sora_jax import mesh as mesh_lib
from sora_jax import ranges
from sora_jax import types
from sora_jax.models.vae import blocks
from sora_jax.models.vae import conv


@dataclasses.dataclass(frozen=True)
class VAE:
  """The sizes of a network.

  Attributes:
    base: channels of the encoder's first level.
    decoder_base: the same for the decoder; `base` if 0.
    mults: channels of each level, in units of the base. Each level but the last
      halves height and width.
    z: latent channels.
    blocks: residual blocks of a level (the decoder has one more).
    temporal: for each level but the last, whether it halves time as well.
    patch: pixels that are folded into channels in front, along each side.
    residual: shortcuts around the levels (Wan 2.2).
    dtype: of the computation; parameters are float32.
  """

  base: int = 32
  decoder_base: int = 0
  mults: tuple[int, ...] = (1, 2, 2)
  z: int = 8
  blocks: int = 2
  temporal: tuple[bool, ...] = (True, True)
  patch: int = 2
  residual: bool = True
  dtype: jnp.dtype = jnp.float32

  def __post_init__(self):
    size = ranges.whole(1)
    ranges.check(
        "vae", self, base=size, decoder_base=ranges.whole(),
        mults=ranges.every(size), z=size, blocks=size, patch=size,
        residual=ranges.flag())
    if self.temporal:  # a single level halves nothing
      ranges.check("vae", self, temporal=ranges.every(ranges.flag()))
    if len(self.temporal) != len(self.mults) - 1:
      raise ValueError(
          f"{len(self.mults)} levels (mults {self.mults}) have "
          f"{len(self.mults) - 1} places to halve time, temporal names "
          f"{len(self.temporal)}")
    for i, (wide, mult) in enumerate(zip((1,) + self.mults, self.mults)):
      space = i < len(self.mults) - 1
      fold = (4 if space else 1) * (1 + (space and self.temporal[i]))
      if self.residual and wide * fold % mult:
        raise ValueError(
            f"mults {self.mults}: the shortcut of level {i} averages {fold} x "
            f"{wide} into {mult} times the base, which must divide it; with "
            "residual the last of mults divides the one before")


def stride(vae: VAE) -> tuple[int, int, int]:
  """(st, sh, sw): frames, rows and columns of pixels for one latent."""
  space = 2**(len(vae.mults) - 1) * vae.patch
  return 2**sum(vae.temporal), space, space


class Encoder(nn.Module):
  """Patched video [B, T, H, W, 3 p p] to [B, t, h, w, 2 z]."""

  vae: VAE

  @nn.compact
  def __call__(self, x: jax.Array, cache: types.PyTree = None,
               valid: jax.Array | None = None
               ) -> tuple[jax.Array, types.PyTree]:
    cfg, cache, new = self.vae, cache or {}, {}
    x, new["in"] = conv.CausalConv(cfg.base, name="conv_in")(
        blocks.masked(x, valid), cache.get("in"))
    for i, mult in enumerate(cfg.mults):
      space = i < len(cfg.mults) - 1
      level = blocks.DownLevel(
          mult * cfg.base, cfg.blocks, space and cfg.temporal[i], space,
          cfg.residual, name=f"down_blocks_{i}")
      x, new[str(i)] = level(x, cache.get(str(i)), valid)
      valid = blocks.halve(valid) if space else valid
    x, new["mid"] = blocks.Mid(name="mid_block")(x, cache.get("mid"), valid)
    x = blocks.masked(nn.silu(blocks.Norm(name="norm_out")(x)), valid)
    x, new["out"] = conv.CausalConv(2 * cfg.z, name="conv_out")(
        x, cache.get("out"))
    return x, new


class Decoder(nn.Module):
  """Latents [B, t, h, w, z] to patched video [B, T, H, W, 3 p p]."""

  vae: VAE

  @nn.compact
  def __call__(self, x: jax.Array, cache: types.PyTree = None,
               valid: jax.Array | None = None,
               first: bool = True) -> tuple[jax.Array, types.PyTree]:
    cfg, cache, new = self.vae, cache or {}, {}
    base, temporal = cfg.decoder_base or cfg.base, cfg.temporal[::-1]
    x, new["in"] = conv.CausalConv(base * cfg.mults[-1], name="conv_in")(
        blocks.masked(x, valid), cache.get("in"))
    x, new["mid"] = blocks.Mid(name="mid_block")(x, cache.get("mid"), valid)
    for i, mult in enumerate(cfg.mults[::-1]):
      space = i < len(cfg.mults) - 1
      level = blocks.UpLevel(
          mult * base, cfg.blocks + 1, space and temporal[i], space,
          cfg.residual, name=f"up_blocks_{i}")
      x, new[str(i)] = level(x, cache.get(str(i)), valid, first)
      valid = blocks.double(valid) if space else valid
    x = blocks.masked(nn.silu(blocks.Norm(name="norm_out")(x)), valid)
    x, new["out"] = conv.CausalConv(3 * cfg.patch**2, name="conv_out")(
        x, cache.get("out"))
    return x, new


def init(vae: VAE, key: jax.Array) -> types.PyTree:
  """Random parameters, float32, in a dict of the reference's four parts."""
  kinds = {"encoder": (Encoder(vae), 3 * vae.patch**2),
           "quant_conv": (conv.PointConv(2 * vae.z), 2 * vae.z),
           "post_quant_conv": (conv.PointConv(vae.z), vae.z),
           "decoder": (Decoder(vae), vae.z)}
  side = 2**(len(vae.mults) - 1)

  @jax.jit
  def draw(key):
    params = {name: module.init(key, jnp.zeros((1, 1, side, side, c)))["params"]
              for name, (module, c) in kinds.items()}
    return conv.draw_kernels(key, params, zero="proj")  # attention adds nothing

  return draw(key)


def encode(vae: VAE, params: types.PyTree, video: types.Array,
           size: types.Array | None = None) -> tuple[jax.Array, jax.Array]:
  """The posterior of a clip's latents.

  Args:
    vae: the network.
    params: its parameters.
    video: [B, T, H, W, 3] float in [-1, 1]; T - 1, H and W multiples of the
      stride.
    size: [B, 2] int, valid (height, width) of each row in pixels, multiples of
      the stride; what lies outside changes no latent inside. None if all is
      valid.

  Returns:
    mean and log variance [B, t, h, w, C] float32, not normalised.

  Raises:
    ValueError: a size that the stride does not divide.
  """
  require_whole_stride(vae, video.shape)
  run = lambda *args: _encode(vae, *args)[0]
  return _on_mesh(run)(params, video, None, _encode_mask(vae, video, size))


def encode_chunk(
    vae: VAE, params: types.PyTree, video: types.Array, cache: types.PyTree,
    size: types.Array | None = None
) -> tuple[tuple[jax.Array, jax.Array], types.PyTree]:
  """`encode` of the next frames of a clip: ((mean, log variance), cache).

  Args:
    vae, params, size: as in `encode`.
    video: the first frame, or a multiple of `stride` frames that follow.
    cache: what the chunk before returned; None for the first.
  """
  run = lambda *args: _encode(vae, *args)
  return _on_mesh(run)(params, video, cache, _encode_mask(vae, video, size))


def _encode(vae: VAE, params, video, cache, valid):
  """`encode_chunk` of one device."""
  x, cache = Encoder(vae).apply({"params": params["encoder"]},
                                patchify(video.astype(vae.dtype), vae.patch),
                                cache, valid)
  x = conv.PointConv(2 * vae.z).apply({"params": params["quant_conv"]}, x)
  mean, logvar = jnp.split(x.astype(jnp.float32), 2, axis=-1)
  return (mean, jnp.clip(logvar, -30.0, 20.0)), cache


def decode(vae: VAE, params: types.PyTree, z: types.Array,
           size: types.Array | None = None) -> jax.Array:
  """The video of latents.

  Args:
    vae: the network.
    params: its parameters.
    z: [B, t, h, w, C], not normalised.
    size: as in `encode`, in pixels.

  Returns:
    [B, T, H, W, 3] float32, T = (t - 1) stride + 1. Not clipped to [-1, 1], so
    that values outside have a gradient.
  """
  run = lambda *args: _decode(vae, *args)[0]
  return _on_mesh(run)(params, z, None, _decode_mask(vae, z, size))


def decode_chunk(vae: VAE, params: types.PyTree, z: types.Array,
                 cache: types.PyTree, size: types.Array | None = None
                 ) -> tuple[jax.Array, types.PyTree]:
  """`decode` of the next latents of a clip: (video, cache).

  Args:
    vae, params, size: as in `decode`.
    z: the first latent, or latents that follow.
    cache: what the chunk before returned; None for the first.
  """
  run = lambda *args: _decode(vae, *args)
  return _on_mesh(run)(params, z, cache, _decode_mask(vae, z, size))


def _decode(vae: VAE, params, z, cache, valid):
  """`decode_chunk` of one device."""
  x = conv.PointConv(vae.z).apply({"params": params["post_quant_conv"]},
                                  z.astype(vae.dtype))
  x, cache = Decoder(vae).apply({"params": params["decoder"]}, x, cache, valid,
                                cache is None)
  return unpatchify(x, vae.patch).astype(jnp.float32), cache


def _on_mesh(run):
  """run(params, x, cache, valid) with rows and columns split over the mesh.

  Every array but the parameters is [B, T, H, W, C]. Convolutions and attention
  fetch what they need of other columns.
  """
  split = (mesh_lib.ROWS, None, None, mesh_lib.TOKENS, None)
  return mesh_lib.sharded(run, (None, split, split, split), split)


def _encode_mask(vae: VAE, video, size):
  """What is valid of patched video; None if `size` is."""
  return None if size is None else _valid(size, video.shape, vae.patch)


def _decode_mask(vae: VAE, z, size):
  """What is valid of latents z; None if `size` is."""
  if size is None:
    return None
  _, sh, sw = stride(vae)
  return _valid(size, (z.shape[0], 0, z.shape[2] * sh, z.shape[3] * sw), sh)


def _valid(size, shape, unit: int):
  """[B, 1, H / unit, W / unit, 1] bool from sizes [B, 2] of (height, width)."""
  size = jnp.asarray(size)
  rows = jnp.arange(0, shape[2], unit) < size[:, :1]  # [B, H / unit]
  cols = jnp.arange(0, shape[3], unit) < size[:, 1:]
  return rows[:, None, :, None, None] & cols[:, None, None, :, None]


def require_whole_stride(vae: VAE, shape: tuple[int, ...]) -> None:
  """Refuses a video [B, T, H, W, 3] that the stride does not divide.

  Raises:
    ValueError: it is one.
  """
  st, sh, sw = stride(vae)
  if len(shape) != 5 or (shape[1] - 1) % st or shape[2] % sh or shape[3] % sw:
    raise ValueError(
        f"video of shape {tuple(shape)} cannot be encoded at stride "
        f"{st}x{sh}x{sw}: extend it to {st} k + 1 frames, height and width to "
        f"multiples of {sh} and {sw}")


def normalise(z: types.Array, mean: np.ndarray, std: np.ndarray) -> types.Array:
  """Latents at unit scale; mean and std [C] are those of the training set."""
  return (z - np.float32(mean)) / np.float32(std)


def denormalise(z: types.Array, mean: np.ndarray,
                std: np.ndarray) -> types.Array:
  """The inverse of `normalise`."""
  return z * np.float32(std) + np.float32(mean)


def patchify(video: types.Array, p: int) -> types.Array:
  """Folds p x p pixels into channels, in the reference's order (C, x, y)."""
  b, t, h, w, c = video.shape
  x = video.reshape(b, t, h // p, p, w // p, p, c)
  return x.transpose(0, 1, 2, 4, 6, 5, 3).reshape(b, t, h // p, w // p, -1)


def unpatchify(x: types.Array, p: int) -> types.Array:
  """The inverse of `patchify`."""
  b, t, h, w, _ = x.shape
  x = x.reshape(b, t, h, w, -1, p, p).transpose(0, 1, 2, 6, 3, 5, 4)
  return x.reshape(b, t, h * p, w * p, -1)

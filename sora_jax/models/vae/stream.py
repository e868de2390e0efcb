"""The VAE over long videos: one part at a time, exact, in bounded memory.

The first frame is a part, and so are every `stride` frames after it (one
latent). What a part must know of those before it, two frames in front of each
convolution, is the carry of a lax.scan. The result equals that of the whole
clip at once: nothing is blended and no part overlaps another. A caller that
cannot hold the video uses `encode_part` and `decode_part` of vae.py instead,
which compile to two programs for any number of frames.
"""

import jax
import jax.numpy as jnp

from sora_jax.models.vae import vae as vae_lib


def encode_chunked(vae: vae_lib.VAE, params, video, size=None):
  """`vae.encode`, one latent at a time."""
  vae_lib.check_video(vae, video.shape)
  run = _in_parts(vae_lib.encode_frames, vae, vae_lib.stride(vae)[0])
  mask = vae_lib.encode_mask(vae, video, size)
  return vae_lib.on_mesh(run)(params, video, None, mask)


def decode_chunked(vae: vae_lib.VAE, params, z, size=None):
  """`vae.decode`, one latent at a time."""
  run = _in_parts(vae_lib.decode_frames, vae, 1)
  mask = vae_lib.decode_mask(vae, z, size)
  return vae_lib.on_mesh(run)(params, z, None, mask)


def _in_parts(step, vae, frames: int):
  """step over x[:, :1], then over `frames` at a time."""

  def run(params, x, ctx, valid):
    ctx_after, first = step(vae, params, x[:, :1], ctx, valid)[::-1]
    b, t, *shape = x.shape
    if t == 1:
      return first
    parts = x[:, 1:].reshape(b, (t - 1) // frames, frames, *shape)
    _, rest = jax.lax.scan(
        lambda ctx, x: step(vae, params, x, ctx, valid)[::-1], ctx_after,
        jnp.moveaxis(parts, 1, 0))

    def join(head, tail):  # tail [parts, B, T, ..]
      n, _, t, *shape = tail.shape
      tail = jnp.moveaxis(tail, 0, 1).reshape(b, n * t, *shape)
      return jnp.concatenate([head, tail], axis=1)

    return jax.tree.map(join, first, rest)

  return run

"""A small data set and latents that say what they are, for tests."""

import jax
import numpy as np

from sora_jax.data.loading import placement
from sora_jax.data.loading import plan as plan_lib
from sora_jax.data.loading import token_config
from sora_jax.data.pixels import buckets
from sora_jax.data.prepare import prepare
from sora_jax.data.sources import world
from sora_jax.data.store import latents
from sora_jax.data.store import manifest
from sora_jax.data.store import records
from sora_jax.data.store import shards
from sora_jax.geometry import sizes as sizes_lib
from sora_jax.text import tokenizer

BUCKETS = ((1, 24, 24, 8, 0.25), (5, 24, 24, 4, 0.5), (9, 16, 24, 4, 0.25))
CONFIG = token_config.TokenConfig(shapes=((8, 64), (4, 128)), text_length=160,
                              chunk=4000)
C = 2  # latent channels: one holds the clip, one what it is


def pixels(out):
  """A data set of 40 small clips and images."""
  prepare.prepare("world:balls", out, world.WorldOptions(
      count=40, sizes=(((32, 32), 2), ((48, 32), 1), ((24, 40), 1)),
      frames=((1, 2), (9, 2), (17, 4), (33, 1)), fps=((8, 2), (16, 1))),
      workers=0, test_share=0, shard=16, quiet=True)
  return manifest.open_manifest(out)


def synthetic(pixels, out, spoil=(), vae="digest", channels=C,
              splits=("train",)):
  """Latents whose values say what they are."""
  info = latents.describe(pixels.info, vae, (4, 8, 8), (1, 2, 2), channels, 0,
                          latents.Extras())
  latents.start(out, pixels.root, info)
  rng, tok = np.random.default_rng(0), tokenizer.of(pixels)
  one = np.eye(channels, dtype=np.float16)[1]  # what marks a view
  pick = lambda values, n: sorted(rng.choice(
      values, min(n, len(values)), replace=False).tolist())

  def each():
    for i in range(len(pixels)):
      item = records.read(pixels, i)
      t, h, w = sizes_lib.latent_size(
          (item.frames, item.height, item.width), (4, 8, 8))
      z = np.zeros((t, h, w, channels), np.float16)
      z[..., 0], z[..., 1] = i, np.arange(t)[:, None, None]
      starts, keyframes = pick(np.arange(1, t), 2), pick(
          np.arange(1, item.frames), 2)
      mark = lambda z, n: np.concatenate([z[..., :1], z[..., 1:] * 0 + n], -1)
      record = latents.Record(
          z, item.captions, item.fps, (item.frames, item.height, item.width),
          {c: z[c:] + 100 * one for c in starts},
          {f: mark(z[:1], 1000 + f) for f in keyframes},
          tuple(placement.draw_regions(
              rng, np.array([[t, h // 2, w // 2]]))[0].tolist()),
          z + 500 * one)
      data = latents.encode(record)
      yield data[:9] if i in spoil else data, latents.entry(record, tok)

  for split in splits:
    shards.write_shard(out, split, 0, each(), latents.LATENTS)
  shards.finish(out, shards.collect(out, dict.fromkeys(splits, 1), info))
  return manifest.open_manifest(out)


def equal(a, b):
  return jax.tree.all(jax.tree.map(
      lambda x, y: x.dtype == y.dtype and np.array_equal(x, y), a, b))


def plans(pixels, cached):
  """Fresh plans over pixels and over latents."""
  return (buckets.pixel_plan(pixels, buckets.PixelConfig(buckets=BUCKETS)),
          plan_lib.token_plan(cached, CONFIG))

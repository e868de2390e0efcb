"""The task of a config of kind "vae": the compression network, from pixels."""

import jax
import numpy as np

from sora_jax import mesh as mesh_lib
from sora_jax.cli import parts
from sora_jax.cli import task
from sora_jax.data import buckets
from sora_jax.data import records
from sora_jax.data import shards
from sora_jax.data import video_io
from sora_jax.generation import pipeline
from sora_jax.models import vae
from sora_jax.training import vae_objective

PREVIEW_FRAMES = 17


def make(cfg, manifest, workdir, compressor, initial) -> task.Task:
  """The task; its previews show held-out clips above their reconstruction."""
  if compressor:
    raise ValueError("--vae is for training the transformer; to start from a "
                     "VAE give --init_from")
  module = parts.vae_of(cfg)
  loss = vae_objective.VaeLoss(**cfg.objective)
  plan = buckets.pixel_plan(manifest, buckets.PixelConfig(
      seed=cfg.seed, **parts.plain(cfg.data)))
  encode = lambda p, x: vae.encode(module, p, x)
  decode = lambda p, z: vae.decode(module, p, z)
  begin = lambda key: vae.init(module, key)
  if initial:
    begin = lambda key: initial.vae.params
  clips = held_out(manifest, vae.stride(module))
  view = jax.jit(lambda p, x: decode(p, encode(p, x)[0]))

  def preview(step, state):
    strips = []
    for clip in clips:
      out = view(state.ema["vae"], pipeline.to_float(clip[None]))
      strips += [clip, pipeline.to_uint8(np.asarray(out))[0]]
    video_io.write(task.preview_path(workdir, step, "truth-and-vae.png"),
                   video_io.contact_sheet(strips)[None], 1.0)

  return task.Task(
      plan, vae_objective.make(encode, decode, loss),
      vae_objective.make_init(begin, loss), {"vae": mesh_lib.VAE_RULES},
      preview, lambda batch: int(np.prod(batch.video.shape[:4])), "pixels")


def held_out(manifest, stride, count: int = 3) -> list[np.ndarray]:
  """A few clips of one size of the split test, for previews."""
  test = shards.open_manifest(manifest.root, "test")
  rows = test.rows
  long = np.flatnonzero((rows["frames"] >= PREVIEW_FRAMES)
                        & (rows["height"] % stride[1] == 0)
                        & (rows["width"] % stride[2] == 0))
  if not len(long):
    return []
  same = long[(rows["height"][long] == rows["height"][long[0]])
              & (rows["width"][long] == rows["width"][long[0]])]
  return [video_io.read(records.read(test, int(i)).data)[0][:PREVIEW_FRAMES]
          for i in same[:count]]

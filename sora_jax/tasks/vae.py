"""The task of a config of kind "vae": the compression network, from pixels."""

import numpy as np

from sora_jax import mesh as mesh_lib
from sora_jax.data.pixels import buckets
from sora_jax.data.store import manifest as manifest_lib
from sora_jax.data.store import records
from sora_jax.encoding import video
from sora_jax.media import sheets
from sora_jax.media import video_io
from sora_jax.mesh import multihost
from sora_jax.models.vae import vae
from sora_jax.tasks import build
from sora_jax.tasks import task
from sora_jax.training.objectives import vae as vae_lib

PREVIEW_FRAMES = 17


def make(cfg, manifest, workdir, compressor, mesh) -> task.Task:
  """The task; its previews show held-out clips above their reconstruction."""
  if compressor:
    raise ValueError("--vae is for training the transformer; to start from a "
                     "VAE give --config.init_from")
  module = build.vae_of(cfg)
  loss = vae_lib.VaeLoss(**cfg.objective)
  plan = buckets.pixel_plan(manifest, buckets.PixelConfig(
      seed=cfg.seed, **build.plain(cfg.data)))
  encode = lambda p, x: vae.encode(module, p, x)
  decode = lambda p, z: vae.decode(module, p, z)
  begin = lambda key: vae.init(module, key)
  given = lambda: {"vae": build.initial(cfg, "vae", module, mesh)}
  clips = held_out(manifest)

  def preview(step, state):
    model = build.vae_model(cfg, multihost.gather(state.ema), None, None)
    strips = [x for clip in clips
              for x in (clip, video.reconstruct(model.vae, clip))]
    task.show(workdir, step, "truth-and-vae.png",
              sheets.contact_sheet(strips)[None], 1.0)

  return task.Task(
      plan, vae_lib.make(encode, decode, loss),
      vae_lib.make_init(begin, loss), {"vae": mesh_lib.VAE_RULES},
      preview, lambda batch: int(np.prod(batch.video.shape[:4])), "pixels",
      given if cfg.init_from else dict)


def held_out(manifest, count: int = 3) -> list[np.ndarray]:
  """The first clips of the split test that have the size of its longest.

  Of the training clips where the data set has no split test.
  """
  test = manifest
  if "test" in manifest.info["shards"]:
    test = manifest_lib.open_manifest(manifest.root, "test")
  rows, longest = test.entries, int(np.argmax(test.entries["frames"]))
  same = np.flatnonzero((rows["height"] == rows["height"][longest])
                        & (rows["width"] == rows["width"][longest])
                        & (rows["frames"] >= min(rows["frames"][longest],
                                                 PREVIEW_FRAMES)))
  return [video_io.read(records.read(test, int(i)).data, PREVIEW_FRAMES)[0]
          for i in same[:count]]

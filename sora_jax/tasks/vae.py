"""The task of a config of kind "vae": the compression network, from pixels."""

import functools
from typing import Any

import numpy as np

from sora_jax import mesh as mesh_lib
from sora_jax import ranges
from sora_jax.data.pixels import buckets
from sora_jax.data.pixels import crops
from sora_jax.data.store import manifest as manifest_lib
from sora_jax.data.store import records
from sora_jax.encoding import statistics
from sora_jax.encoding import video
from sora_jax.formats import find
from sora_jax.formats import pretrained
from sora_jax.media import sheets
from sora_jax.media import video_io
from sora_jax.mesh import multihost
from sora_jax.models import flops as flops_lib
from sora_jax.models import traced_flops
from sora_jax.models.vae import vae
from sora_jax.tasks import build
from sora_jax.tasks import task
from sora_jax.tasks import vae_programs
from sora_jax.training import progress
from sora_jax.training.objectives import vae as objective_lib

PREVIEW_FRAMES = 17


def plan(cfg: Any, manifest: manifest_lib.Manifest) -> buckets.PixelPlan:
  """Batches of crops."""
  manifest_lib.require(manifest, "pixels")
  return buckets.pixel_plan(manifest, _pixels_of(cfg),
                            vae.stride(build.vae_of(cfg)))


def check(cfg: Any) -> None:
  """Refuses a config that no run can use.

  Raises:
    ValueError: it is one.
  """
  module, accumulate = build.vae_of(cfg), build.optimizer_of(cfg).accumulate
  vae_programs.loss_of(cfg)
  for t, h, w, rows, _ in _pixels_of(cfg).buckets:
    try:
      vae.require_whole_stride(module, (rows, t, h, w, 3))
    except ValueError as e:
      raise ValueError(f"data.buckets: {e}") from e
    if rows % accumulate:
      raise ValueError(f"optimizer.accumulate is {accumulate}, it must divide "
                       f"the {rows} clips of a bucket")


def _pixels_of(cfg) -> buckets.PixelConfig:
  return ranges.made(buckets.PixelConfig, "data", cfg.data, seed=cfg.seed)


def recipe(run: task.Run) -> task.Recipe:
  """Trains the VAE; previews show held-out clips above their reconstruction."""
  cfg = run.cfg
  if run.vae:
    raise ValueError("--vae is for training the transformer; to start from a "
                     "VAE give --config.init_from")
  build.agree(lambda: crops.verify(run.manifest, multihost.place()))
  module, loss = build.vae_of(cfg), vae_programs.loss_of(cfg)
  clips = functools.cache(lambda: held_out(run.manifest))

  def preview(step, state, workdir):
    part = pretrained.Component(module, multihost.gather(state.ema)["vae"])
    strips = [x for clip in clips()
              for x in (clip, video.reconstruct(part, clip))]
    task.show(workdir, step, "truth-and-vae.png",
              sheets.contact_sheet(strips)[None], 1.0)

  return task.Recipe(
      objective_lib.reconstruction_objective(
          functools.partial(vae.encode, module),
          functools.partial(vae.decode, module), loss),
      objective_lib.init_params(functools.partial(vae.init, module), loss),
      {"vae": mesh_lib.VAE_RULES}, preview, "pixels",
      lambda batch: int(np.prod(batch.video.shape[:4])),
      lambda: {"vae": build.pretrained_params(cfg, "vae", module, run.mesh)}
      if cfg.init_from else {},
      flops=lambda batch: len(batch.video) * _flops(
          module, batch.video.shape[1:4], loss.decoder_only))


@functools.cache
def _flops(module: vae.VAE, size: tuple[int, int, int],
           decoder_only: bool) -> int:
  """Model FLOPs of a training step with one clip of (T, H, W).

  A discriminator is not counted.
  """
  encode, decode = (count(module, size) for count in (
      traced_flops.encode_flops, traced_flops.decode_flops))
  return (1 if decoder_only else flops_lib.TRAIN) * encode + (
      flops_lib.TRAIN * decode)


def held_out(manifest: manifest_lib.Manifest,
             count: int = 3) -> list[np.ndarray]:
  """The first clips of the split val that have the size of its longest.

  Of the split test where there is no val, and else of the training clips.

  Args:
    manifest: of the training clips.
    count: of clips, at most.

  Returns:
    Clips uint8 [T, H, W, 3], T at most PREVIEW_FRAMES.
  """
  test = manifest_lib.held_out(manifest) or manifest
  entries, longest = test.entries, int(np.argmax(test.entries["frames"]))
  same = np.flatnonzero((entries["height"] == entries["height"][longest])
                        & (entries["width"] == entries["width"][longest])
                        & (entries["frames"] >= min(entries["frames"][longest],
                                                 PREVIEW_FRAMES)))
  return [video_io.read(records.read(test, int(i)).data, PREVIEW_FRAMES)[0]
          for i in same[:count]]


def export(cfg: dict, params: dict, data: str,
           other: str | None) -> pretrained.Model:
  """The model of a run: its averaged params and the statistics of its latents."""
  del other  # the model is a VAE itself
  module = build.vae_of(cfg)
  if cfg["objective"].get("decoder_only"):  # the latents stay what they were
    first = pretrained.load(find.find(cfg["init_from"]), components=("vae",))
    mean, std = first.latent_mean, first.latent_std
  else:
    manifest = manifest_lib.open_manifest(data)
    progress.log("encoding clips for the mean and deviation of the latents")
    mean, std = statistics.statistics(
        module, params["vae"], manifest, report=lambda done, total: progress.live(
            f"{done} of {total} clips"))
    progress.live("")
  return pretrained.Model(pretrained.Component(module, params["vae"]), mean, std)


def describe(cfg: Any, manifest: manifest_lib.Manifest,
             options: task.DataOptions) -> tuple[dict, list[str]]:
  """What a config makes of a data set: numbers and lines of text."""
  del options  # they are for packed tokens
  planned = plan(cfg, manifest)
  found = buckets.report(planned)
  lines = ["    T x    H x    W   batch  share      pixels   clips large enough"]
  for b in found["buckets"]:
    t, h, w = b["shape"]
    lines.append(f"{t:>5} x{h:>5} x{w:>5}  {b['batch']:>6}  {b['share']:5.1%}  "
                 f"{b['pixels']:>10,}  {b['clips']:,}")
  return found, [*lines, *planned.notes, "too small or too short for every "
                 f"bucket, unused: {found['unused']:,}"]


TASK = task.Task(
    plan, recipe, describe, export,
    {"train": vae_programs.training_steps, "encode": vae_programs.encoder,
     "decode": vae_programs.decoder}, vae_programs.layout,
    ("vae", "objective"), check)

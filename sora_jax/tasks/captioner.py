"""The task of a config of kind "captioner": clips to captions, from latents."""

from collections.abc import Callable
import functools
import os
from typing import Any

import jax
import numpy as np

from sora_jax import files
from sora_jax import mesh as mesh_lib
from sora_jax import ranges
from sora_jax import types
from sora_jax.data.loading import caption_plan
from sora_jax.data.loading import clips as clips_lib
from sora_jax.data.loading import plan as plan_lib
from sora_jax.data.loading import token_config
from sora_jax.data.store import latents
from sora_jax.data.store import manifest as manifest_lib
from sora_jax.formats import find
from sora_jax.formats import pretrained
from sora_jax.mesh import multihost
from sora_jax.models import captioner as captioner_lib
from sora_jax.models import flops as flops_lib
from sora_jax.tasks import build
from sora_jax.tasks import dit_model
from sora_jax.tasks import task
from sora_jax.tasks import validation as validation_lib
from sora_jax.text import tokenizer as tokenizer_lib
from sora_jax.training import progress
from sora_jax.training.objectives import captioner as objective_lib

SHOWN = 12  # clips whose captions a preview tells


def plan(cfg: Any, manifest: manifest_lib.Manifest) -> caption_plan.CaptionPlan:
  """Packed batches of cached latents, with the caption that each clip has."""
  return caption_plan.CaptionPlan(
      plan_lib.token_plan(manifest, _tokens_of(cfg)))


def _tokens_of(cfg: Any) -> token_config.TokenConfig:
  data = dict(cfg["data"].items())
  descriptive, share = data.pop("descriptive", 1.0), ranges.share()
  if not share.holds(descriptive):
    raise ValueError(f"data.descriptive is {descriptive!r}, it must be {share.what}")
  return ranges.made(
      token_config.TokenConfig, "data", data, seed=cfg["seed"], dropout=0.0,
      conditioning=(*caption_plan.WHOLE, ("descriptive", descriptive)))


def loss_of(cfg: Any) -> objective_lib.CaptionLoss:
  """The loss of a config."""
  return ranges.made(objective_lib.CaptionLoss, "objective", cfg["objective"])


def check(cfg: Any) -> None:
  """Refuses a config that no run can use.

  Raises:
    ValueError: it is one.
  """
  tokens, loss_of_it = _tokens_of(cfg), loss_of(cfg)
  del loss_of_it
  module = build.captioner_of(cfg, (1, 1, 1), 1)
  if tokens.text_limit > module.length:
    raise ValueError(f"data.text_limit is {tokens.text_limit}, it must be at most "
                     f"captioner.length, {module.length}")
  accumulate = build.optimizer_of(cfg).accumulate
  if odd := [rows for rows, _ in tokens.shapes if rows % accumulate]:
    raise ValueError(f"optimizer.accumulate is {accumulate}, it must divide the "
                     f"{odd[0]} rows of data.shapes")


def recipe(run: task.Run) -> task.Recipe:
  """Trains the captioner; previews are captions of clips that are held out."""
  cfg, manifest = run.cfg, run.manifest
  build.agree(lambda: clips_lib.verify(manifest, multihost.place()))
  build.vae_of_latents(manifest, run.vae)
  tokenizer = tokenizer_lib.of(manifest)
  module = build.captioner_of(cfg, manifest.info["patch"],
                              manifest.info["channels"])
  if tokenizer.vocab_size > module.vocab:
    raise ValueError(f"the tokenizer has {tokenizer.vocab_size} ids and "
                     f"config.captioner.vocab is {module.vocab}: raise it")
  read = functools.partial(captioner_lib.read, module)
  clips = cfg.data.max_segments

  def params_of_init_from():
    build.check_tokenizer(cfg, manifest, tokenizer)
    return {"captioner": build.pretrained_params(cfg, "captioner", module,
                                                 run.mesh)}

  return task.Recipe(
      objective_lib.caption_objective(read, loss_of(cfg), clips),
      lambda key: {"captioner": captioner_lib.init(module, key)},
      {"captioner": mesh_lib.CAPTIONER_RULES},
      functools.partial(_preview, module, manifest), "clips",
      lambda batch: _clips(batch.text.seg),
      pretrained=params_of_init_from if cfg.get("init_from") else dict,
      flops=functools.partial(_flops, module),
      validate=_validation(run, read))


def _clips(seg: types.Array) -> int:
  """The segments of packed rows."""
  return sum(len(np.unique(row[row > 0])) for row in np.asarray(seg))


def _flops(module: captioner_lib.Captioner, batch: types.Captioned) -> float:
  """Model FLOPs of a training step with the clips of a batch."""
  return flops_lib.TRAIN * flops_lib.captioner_flops(
      module, flops_lib.packed_segments(np.asarray(batch.tokens.seg),
                                        np.asarray(batch.text.seg)))


def _validation(run: task.Run, read: Callable
                ) -> Callable[[Any], dict[str, float]] | None:
  """The loss on the split val; None, and a line that says so, without one."""
  if "val" not in run.manifest.info["shards"]:
    progress.log(f"{run.manifest.root} has no split val, so no validation loss is "
                 "told: prepare --held_out=.02 makes one")
    return None
  held = plan_lib.every_clip_once(
      manifest_lib.open_manifest(run.manifest.root, "val"), _tokens_of(run.cfg))
  loss = functools.partial(objective_lib.loss, read, loss_of(run.cfg),
                           run.cfg.data.max_segments)
  return validation_lib.validation(
      loss, caption_plan.CaptionPlan(held), held.steps, run.mesh)


def _preview(module: captioner_lib.Captioner, manifest: manifest_lib.Manifest,
             step: int, state: Any, workdir: str) -> None:
  """Writes captions of held-out clips beside those that the averaged weights give."""
  from sora_jax.language import captioner  # training alone needs no VAE
  ema = jax.device_put(multihost.gather(state.ema))
  held = manifest_lib.held_out(manifest) or manifest
  records = []
  for i in np.linspace(0, len(held) - 1, 2 * SHOWN).astype(int).tolist():
    try:
      records.append(latents.decode(held.record(i)))
    except (ValueError, RuntimeError, OSError):
      continue  # the plan counts what cannot be read
  records = records[:SHOWN]
  found = captioner.captions(
      pretrained.Component(module, ema["captioner"]),
      tokenizer_lib.of(manifest), records)
  lines = [f"- {record.captions[-1]}\n  - {text}" for record, (text,) in
           zip(records, found)]
  if multihost.first():
    folder = os.path.join(workdir, "previews")
    os.makedirs(folder, exist_ok=True)
    files.write_text(os.path.join(folder, f"{step:08d}-captions.md"),
                     "\n".join(["Told of the clip, and by the captioner:", "",
                                *lines, ""]))


def export(cfg: dict, params: dict, data: str,
           vae: str | None) -> pretrained.Model:
  """The model of a run: its averaged params and the VAE of its latents."""
  first = pretrained.load(find.find(vae or cfg["sources"]["vae"]),
                          components=("vae",))
  manifest = manifest_lib.open_manifest(data)
  module = build.captioner_of(cfg, manifest.info["patch"],
                              manifest.info["channels"])
  return pretrained.Model(
      vae=first.vae, latent_mean=first.latent_mean,
      latent_std=first.latent_std,
      captioner=pretrained.Component(module, params["captioner"]),
      tokenizer=tokenizer_lib.of(manifest).model,
      words=dit_model.words_of(cfg, manifest))


TASK = task.Task(plan, recipe, export=export, needed=("captioner", "objective"),
                 check=check)

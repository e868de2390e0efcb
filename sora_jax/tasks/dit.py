"""The task of a config of kind "dit": the transformer, from cached latents."""

from collections.abc import Callable
import functools
from typing import Any

import jax
import numpy as np

from sora_jax import mesh as mesh_lib
from sora_jax import types
from sora_jax.data.loading import clips
from sora_jax.data.loading import plan as plan_lib
from sora_jax.data.store import latents
from sora_jax.data.store import manifest as manifest_lib
from sora_jax.mesh import multihost
from sora_jax.models import dit
from sora_jax.models import flops as flops_lib
from sora_jax.tasks import build
from sora_jax.tasks import dit_data
from sora_jax.tasks import dit_layout
from sora_jax.tasks import dit_model
from sora_jax.tasks import dit_programs
from sora_jax.tasks import dit_surprise
from sora_jax.tasks import prompts as prompts_lib
from sora_jax.tasks import task
from sora_jax.tasks import validation as validation_lib
from sora_jax.training import progress
from sora_jax.training.objectives import dit as objective_lib

PREVIEWS = 4  # captions of the data that are drawn in a preview


def plan(cfg: Any, manifest: manifest_lib.Manifest) -> plan_lib.TokenPlan:
  """Packed batches of cached latents."""
  return plan_lib.token_plan(
      manifest, build.tokens_of(cfg), prompts_lib.open_tokenizer(cfg))


def check(cfg: Any) -> None:
  """Refuses a config that no run can use.

  Raises:
    ValueError: it is one.
  """
  build.tokens_of(cfg)
  build.process_of(cfg)
  network = build.dit_of(cfg, 1)
  if "text_encoder" in cfg:
    width = build.text_encoder_of(cfg).width
    if width != network.text_width:
      raise ValueError(f"transformer.text_width is {network.text_width} and "
                       f"text_encoder.width {width}: they must be the same")
  accumulate = build.optimizer_of(cfg).accumulate
  if odd := [rows for rows, _ in cfg.data.shapes if rows % accumulate]:
    raise ValueError(f"optimizer.accumulate is {accumulate}, it must divide the "
                     f"{odd[0]} rows of data.shapes")
  dit_model.check(cfg)
  dit_surprise.options_of(cfg)


def recipe(run: task.Run) -> task.Recipe:
  """Trains the transformer; previews are videos of the config's prompts."""
  cfg, manifest = run.cfg, run.manifest
  plan: Any = run.plan  # a TokenPlan
  build.agree(lambda: clips.verify(manifest, multihost.place()))
  vae = build.vae_of_latents(manifest, run.vae)
  network = build.dit_of(cfg, vae.vae.module.z)
  if list(network.patch) != list(manifest.info["patch"]):
    raise ValueError(f"{manifest.root} was encoded for patches of "
                     f"{manifest.info['patch']} and config.transformer.patch is "
                     f"{list(network.patch)}: encode it anew")
  prompts = (prompts_lib.trained(cfg, manifest, run.mesh)
             if "text_encoder" in cfg
             else prompts_lib.frozen(cfg, run.mesh, plan.tokenizer))

  denoise = functools.partial(dit.denoise, network)
  process, columns = build.process_of(cfg), cfg.data.max_segments + 1

  def params_of_init_from():
    return {"transformer": build.pretrained_params(
        cfg, "transformer", network, run.mesh)} | prompts.pretrained()

  return task.Recipe(
      objective_lib.dit_objective(denoise, prompts.encode, process, columns),
      objective_lib.init_params(functools.partial(dit.init, network),
                                prompts.init),
      {"transformer": mesh_lib.DIT_RULES, "text_encoder": mesh_lib.TEXT_RULES},
      functools.partial(_preview, cfg, vae, prompts,
                        preview_prompts(cfg, manifest)), "tokens",
      lambda batch: int(np.sum(batch.tokens.seg > 0)),
      params_of_init_from if cfg.init_from else dict, prompts.prepare,
      functools.partial(_flops, network, build.text_encoder_of(cfg)
                        if "text_encoder" in cfg else None),
      _validation(run, functools.partial(objective_lib.loss, denoise,
                                         prompts.encode, process, columns),
                  prompts.prepare),
      *dit_surprise.measure(cfg, vae, prompts))


def _validation(run: task.Run, loss: validation_lib.Loss,
                prepare: Callable[[Any], Any]
                ) -> Callable[[Any], dict[str, float]] | None:
  """The loss on the split val; None, and a line that says so, without one."""
  if "val" not in run.manifest.info["shards"]:
    progress.log(f"{run.manifest.root} has no split val, so no validation loss is "
                 "told: prepare --held_out=.02 makes one")
    return None
  plan: Any = run.plan
  held = plan_lib.every_clip_once(
      manifest_lib.open_manifest(run.manifest.root, "val"), plan.cfg,
      plan.tokenizer)
  return validation_lib.validation(loss, held, held.steps, run.mesh, prepare)


def preview_prompts(cfg: Any, manifest: manifest_lib.Manifest) -> list[str]:
  """The prompts of previews: those of the config, or captions of the data.

  Captions are those of clips spread over the split val, or else test or train.
  """
  if cfg.preview.prompts:
    return list(cfg.preview.prompts)
  held = manifest_lib.held_out(manifest) or manifest
  found: list[str] = []
  for i in np.linspace(0, len(held) - 1, 4 * PREVIEWS).astype(int).tolist():
    try:
      caption = latents.decode(held.record(i)).captions[0]
    except (ValueError, RuntimeError, OSError):
      continue  # the plan counts what cannot be read
    if caption not in found and len(found) < PREVIEWS:
      found.append(caption)
  return found


def _flops(network: dit.DiT, encoder: Any, batch: types.Batch) -> float:
  """Model FLOPs of a training step with the clips of a batch.

  A text encoder that stays frozen trains nothing and counts not.
  """
  segments = flops_lib.packed_segments(np.asarray(batch.tokens.seg),
                                       np.asarray(batch.text.seg))
  text = flops_lib.text_flops(encoder, segments[:, 1]) if encoder else 0
  return flops_lib.TRAIN * (flops_lib.dit_flops(network, segments) + text)


def _preview(cfg, vae, prompts: prompts_lib.Prompts, texts: list[str],
             step: int, state, workdir: str) -> None:
  """Writes videos of prompts, of the averaged weights."""
  if not texts:  # no clip of the data can be read
    return
  # Training alone needs neither generation nor video codecs.
  from sora_jax.generation import pipeline
  from sora_jax.media import sheets
  ema = jax.device_put(multihost.gather(state.ema))  # once, not every step
  model = dit_model.model_of(cfg, vae, ema, prompts.source, prompts.frozen)
  videos = list(pipeline.Pipeline(model, prompts.tokenizer).generate_batch(
      texts, tuple(cfg.preview.size), cfg.preview.frames,
      seeds=[cfg.preview.seed] * len(texts)))
  task.show(workdir, step, "sheet.png", sheets.contact_sheet(videos)[None],
            1.0)
  task.show(workdir, step, "prompts.mp4", np.concatenate(videos, axis=2),
            cfg.sampling.fps)


TASK = task.Task(
    plan, recipe, dit_data.describe, dit_model.export,
    {"train": dit_programs.training_steps,
     "sample": dit_programs.sampling_step}, dit_layout.layout,
    ("transformer", "process", "sampling", "preview"), check)

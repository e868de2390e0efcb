"""Trains a config of any kind on a data set: the recipe around the loop."""

from collections.abc import Callable
import os
import pathlib
import time

import jax
from ml_collections import config_dict

from sora_jax import files
from sora_jax import mesh as mesh_lib
from sora_jax.data.loading import pipeline
from sora_jax.mesh import chips
from sora_jax.mesh import multihost
from sora_jax.tasks import build
from sora_jax.tasks import check
from sora_jax.tasks import config as config_lib
from sora_jax.tasks import task as task_lib
from sora_jax.training import clock
from sora_jax.training import config_changes
from sora_jax.training import hooks as hooks_lib
from sora_jax.training import loop
from sora_jax.training import progress
from sora_jax.training import state as state_lib

# What a later call of the same run may change.
FREE = (*config_changes.FREE, "mesh", "sampling", "surprise", "sources",
        "init_from", "data.cache_bytes")
LATEST = "previews/latest.txt"


def train(config: str | dict | config_dict.ConfigDict, data: str | os.PathLike,
          workdir: str | os.PathLike, vae: str | os.PathLike | None = None, *,
          max_seconds: float = 0, tensorboard: bool = False,
          profile: tuple[int, int] | None = None) -> loop.Outcome:
  """Trains to config.steps, from the newest checkpoint in `workdir`.

  The same call goes on where a run was stopped; what it then makes equals what
  an uninterrupted run makes.

  Args:
    config: FILE:VARIANT, such as "configs/vae.py:tiny", or a ConfigDict or
      dict of the same keys.
    data: a data set: of `prepare` for the VAE, of `encode` for the transformer.
    workdir: the folder of the run, made if it is not there: checkpoints/,
      metrics.jsonl and previews/.
    vae: of the transformer: the model whose VAE made the latents.
    max_seconds: save and stop so early that the call ends within so long; 0 is
      no limit. One step is always done, unless the time is over while it is
      compiled; previews that do not fit are made by the next call.
    tensorboard: also write TensorBoard events (needs the extra `log`).
    profile: (first, last) of the steps to trace into profile/ of `workdir`.

  Returns:
    The state of the run, and why it ended.

  Raises:
    ValueError: a config, a data set or a checkpoint that cannot be used.
    OSError: a checkpoint could not be saved.
    FloatingPointError: too many steps in a row had no usable gradient.
  """
  start = time.monotonic()
  for name, path in (("data ", data), ("workdir ", workdir), ("vae ", vae)):
    files.refuse_address(path, name)
  cfg = config_lib.load(config) if isinstance(config, str) else (
      config_dict.ConfigDict(config) if isinstance(config, dict) else config)
  check.check(cfg)
  every = check.intervals_of(cfg)
  data, workdir = os.fspath(data), os.fspath(workdir)
  vae = os.fspath(vae) if vae else None
  task = task_lib.find(cfg.kind)
  manifest = task.open(data)
  multihost.check_joined()
  mesh = mesh_lib.make_mesh(**cfg.mesh)
  plan = task.plan(cfg, manifest)
  for note in getattr(plan, "notes", ()):
    progress.log(note)
  recipe = task.recipe(task_lib.Run(cfg, manifest, plan, mesh, vae))
  key = jax.random.key(cfg.seed)
  program = state_lib.program(
      recipe.objective, recipe.init, build.optimizer_of(cfg), mesh,
      dict(recipe.rules), key, recipe.pretrained)
  record = config_lib.with_new_names(config_lib.to_json(cfg)) | {
      "plan": plan.digest,
      "sources": {"data": os.path.abspath(data),
                  # The name of a model stays one.
                  "vae": os.path.abspath(vae) if vae and os.path.isdir(vae)
                         else vae}}
  hooks = [_previews(recipe.preview, every.preview_every, workdir)
           ] if recipe.preview else []
  validations = []
  if validate := recipe.validate:
    validations.append(hooks_lib.Validation(
        every.validate_every, lambda state: validate(state.params)))
  if recipe.measure:
    validations.append(hooks_lib.Validation(recipe.measure_every, recipe.measure))
  share = mesh_lib.host(mesh)
  threads = max(1, min(8, (os.cpu_count() or 1) // 2))
  kind = mesh.devices.flat[0].device_kind
  if not (peak := chips.peak_flops(kind)):
    progress.log(f"unknown chip {kind}: its peak is not known, so no MFU is told")
  return loop.train(
      program, lambda start: pipeline.batches(plan, start, share, threads),
      steps=cfg.steps, workdir=workdir, config=record, key=key, hooks=hooks,
      validations=validations,
      place=lambda batch: recipe.prepare(mesh_lib.to_global(mesh, batch)),
      losses=getattr(plan, "losses", None),
      rates=clock.Rates(recipe.unit, recipe.count, recipe.flops, mesh.size, peak),
      log_every=every.log_every, save_every=every.save_every,
      save_minutes=every.save_minutes, free=FREE,
      with_new_names=config_lib.with_new_names, max_seconds=max_seconds,
      tensorboard=tensorboard, profile=profile, start=start)


def _previews(preview: Callable, every: int, workdir: str) -> hooks_lib.Hook:
  """Writes previews/, and there in LATEST the step of the last whole ones."""
  latest = pathlib.Path(workdir) / LATEST

  def run(step, state):
    preview(step, state, workdir)
    if multihost.first():
      latest.parent.mkdir(exist_ok=True)
      files.write_text(latest, f"{step}\n")

  return hooks_lib.Hook(every, run, lambda step: (
      not latest.exists() or files.read_text(latest).strip() != str(step)))

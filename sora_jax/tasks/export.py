"""A run, or a model with another VAE, becomes a model to save."""

import dataclasses

import jax
import numpy as np

from sora_jax.formats import find
from sora_jax.formats import pretrained
from sora_jax.tasks import config
from sora_jax.tasks import task as task_lib
from sora_jax.training import checkpoint


def model_of_run(workdir: str, data: str | None = None,
                 vae: str | None = None) -> tuple[pretrained.Model, int]:
  """The model of a run, of its averaged weights, and the step.

  Args:
    workdir: of the run.
    data: the data set, if it is no longer where it was.
    vae: the model folder whose VAE made the latents, likewise.

  Raises:
    ValueError: no whole checkpoint, or a kind of config that makes no model.
  """
  params, saved, step = checkpoint.load_ema(workdir)
  cfg = config.with_new_names(saved)
  task = task_lib.find(cfg["kind"])
  if task.export is None:
    raise ValueError(f"a run of kind {cfg['kind']} cannot be exported: its task "
                     "has no export")
  return task.export(cfg, params, data or cfg["sources"]["data"], vae), step


def with_vae(model: pretrained.Model, folder: str) -> pretrained.Model:
  """A model with the VAE of another folder, which makes the same latents.

  Raises:
    ValueError: its latents would not be those that the model was trained on.
  """
  other = pretrained.load(find.find(folder), components=("vae",))
  old, new = ([np.float32(m.latent_mean), np.float32(m.latent_std), *(
      m.vae.params[name] for name in ("encoder", "quant_conv"))]
              for m in (model, other))
  same = jax.tree.structure(old) == jax.tree.structure(new) and all(
      np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, (old, new))))
  if not same:
    raise ValueError(f"--vae={folder} makes other latents than the VAE of the "
                     "model: train the transformer on latents of its own")
  return dataclasses.replace(model, vae=other.vae,
                             latent_mean=other.latent_mean,
                             latent_std=other.latent_std)

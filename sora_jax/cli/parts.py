"""The parts of a model, from the config that trains them.

A config is converted here, once, into the frozen dataclasses of the parts.
"""

import numpy as np

from sora_jax.models import dit
from sora_jax.models import pretrained
from sora_jax.models import text_encoder
from sora_jax.models import vae
from sora_jax.training import optimizer

PATCH = (1, 2, 2)


def plain(cfg) -> dict:
  """A section of a config as keyword arguments."""
  return dict(cfg.items())


def optimizer_of(cfg) -> optimizer.Optimizer:
  """The optimiser of a run; its schedule spans the steps of the run."""
  return optimizer.Optimizer(steps=cfg["steps"], **cfg["optimizer"])


def vae_of(cfg) -> vae.VAE:
  """The compression network of a config of kind "vae"."""
  fields = dict(cfg["vae"])
  return vae.VAE(**fields | {k: tuple(fields[k]) for k in ("mults", "temporal")})


def dit_of(cfg, compressor: pretrained.Model) -> dit.DiT:
  """The transformer of a config, for the latents of a VAE."""
  patch = int(np.prod(PATCH)) * compressor.vae.module.z
  return dit.DiT(patch_channels=patch, out_channels=patch, **cfg["transformer"])


def text_encoder_of(cfg) -> text_encoder.TextEncoder:
  """The text encoder of a config."""
  return text_encoder.TextEncoder(**cfg["text_encoder"])


def vae_model(cfg, params, mean: np.ndarray, std: np.ndarray):
  """A model of a VAE alone: averaged weights and latent statistics."""
  return pretrained.Model(vae=pretrained.Part(vae_of(cfg), params["vae"]),
                          latent_mean=mean, latent_std=std)


def dit_model(cfg, compressor: pretrained.Model, params,
              tokenizer: bytes) -> pretrained.Model:
  """A whole model, of the averaged weights of a run and the VAE it used."""
  return pretrained.Model(
      vae=compressor.vae, latent_mean=compressor.latent_mean,
      latent_std=compressor.latent_std,
      transformer=pretrained.Part(dit_of(cfg, compressor),
                                  params["transformer"]),
      text_encoder=pretrained.Part(text_encoder_of(cfg),
                                   params["text_encoder"]),
      tokenizer=tokenizer, scheduler=scheduler(cfg))


def scheduler(cfg) -> dict:
  """scheduler_config.json: the reference's names, then our own settings.

  The reference's UniPC scheduler runs an x0 model with these keys.
  """
  kinds = {"x0": "sample", "eps": "epsilon", "velocity": "flow_prediction"}
  return {
      "_class_name": "UniPCMultistepScheduler", "num_train_timesteps": 1000,
      "prediction_type": kinds[cfg["process"]["prediction"]],
      "use_flow_sigmas": True, "flow_shift": 1.0,
      "sora_jax": {"process": dict(cfg["process"]), **dict(cfg["sampling"]),
                   "f_ref": cfg["data"]["f_ref"],
                   "text_limit": cfg["data"]["text_limit"]}}

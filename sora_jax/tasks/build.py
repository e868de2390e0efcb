"""The parts of a model, from the config that trains them.

A config is converted here, once, into the frozen dataclasses of the parts.
"""

import dataclasses
import math

import jax.numpy as jnp
import numpy as np

from sora_jax.formats import find
from sora_jax.formats import pretrained
from sora_jax.geometry import sizes
from sora_jax.models import dit
from sora_jax.models.text import encoder
from sora_jax.models.vae import vae
from sora_jax.training import optimizer


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
  patch = tuple(cfg["transformer"].get("patch", sizes.DEFAULT_PATCH))
  channels = math.prod(patch) * compressor.vae.module.z
  return dit.DiT(**{**cfg["transformer"], "patch": patch},
                 patch_channels=channels, out_channels=channels,
                 dtype=jnp.dtype(cfg.get("dtype", "float32")).type)


def text_encoder_of(cfg) -> encoder.TextEncoder:
  """The text encoder of a config."""
  return encoder.TextEncoder(**cfg["text_encoder"])


def vae_model(cfg, params, mean: np.ndarray, std: np.ndarray):
  """A model of a VAE alone: averaged weights and latent statistics."""
  return pretrained.Model(vae=pretrained.Component(vae_of(cfg), params["vae"]),
                          latent_mean=mean, latent_std=std)


def initial(cfg, part: str, module, mesh):
  """The parameters of a network of config.init_from, float32 on the mesh.

  Raises:
    ValueError: no such folder, or its network is not the config's.
  """
  folder = find.find(cfg["init_from"])
  found = getattr(pretrained.load(folder, mesh=mesh, components=(part,)), part)
  if found is None:
    raise ValueError(f"config.init_from={folder} has no {part}")
  free = ("dtype", "remat", "parent", "name")
  for field in dataclasses.fields(module):
    a, b = (getattr(m, field.name) for m in (module, found.module))
    if a != b and field.name not in free:
      raise ValueError(f"{part}: {field.name} is {a} in the config and {b} in "
                       f"{folder}, config.init_from")
  return found.params


def dit_model(cfg, compressor: pretrained.Model, params, tokenizer,
              text: pretrained.Component | None = None) -> pretrained.Model:
  """A whole model, of the averaged weights of a run and the VAE it used.

  Args:
    cfg: the config of the run.
    compressor: the VAE.
    params: of the run.
    tokenizer: bytes or a folder, as in pretrained.Model.
    text: the text encoder where it is not one of the run.
  """
  if "text_encoder" in cfg:
    text = pretrained.Component(text_encoder_of(cfg), params["text_encoder"])
  # Known tokens had a time of their own in training.
  return pretrained.Model(
      expand_timesteps=True,
      vae=compressor.vae, latent_mean=compressor.latent_mean,
      latent_std=compressor.latent_std,
      transformer=pretrained.Component(dit_of(cfg, compressor),
                                  params["transformer"]),
      text_encoder=text, tokenizer=tokenizer, scheduler=scheduler(cfg))


def scheduler(cfg) -> dict:
  """scheduler_config.json: the reference's names, then our own settings.

  The reference's UniPC scheduler runs an x0 model with these keys.
  """
  sampling, preview = dict(cfg["sampling"]), cfg["preview"]
  # Configs of older runs have no size and frames but those of the preview.
  size = sampling.pop("size", preview["size"])
  frames = sampling.pop("frames", preview["frames"])
  kinds = {"x0": "sample", "eps": "epsilon", "velocity": "flow_prediction"}
  return {
      "_class_name": "UniPCMultistepScheduler", "num_train_timesteps": 1000,
      "prediction_type": kinds[cfg["process"]["prediction"]],
      "use_flow_sigmas": True, "flow_shift": sampling.pop("flow_shift", 1.0),
      "sora_jax": {"process": dict(cfg["process"]), **sampling,
                   "size": list(size), "frames": frames,
                   "f_ref": cfg["data"]["f_ref"],
                   "text_limit": cfg["data"]["text_limit"],
                   "text_pad": cfg["data"].get("text_pad", False)}}

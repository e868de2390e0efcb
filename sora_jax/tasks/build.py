"""The networks and the optimiser that a config names.

A config is converted here, once, into the frozen dataclasses of its components.
"""

import dataclasses
import math
from typing import Any

import jax.numpy as jnp

from sora_jax.formats import find
from sora_jax.formats import pretrained
from sora_jax.geometry import sizes
from sora_jax.models import dit
from sora_jax.models.text import encoder
from sora_jax.models.vae import vae
from sora_jax.training import optimizer


def optimizer_of(cfg: Any) -> optimizer.Optimizer:
  """The optimiser of a run; its schedule spans the steps of the run."""
  return optimizer.Optimizer(steps=cfg["steps"], **cfg["optimizer"])


def vae_of(cfg: Any) -> vae.VAE:
  """The compression network of a config of kind "vae"."""
  fields = dict(cfg["vae"])
  return vae.VAE(**fields | {k: tuple(fields[k]) for k in ("mults", "temporal")})


def dit_of(cfg: Any, channels: int) -> dit.DiT:
  """The transformer of a config of kind "dit", for latents of `channels`."""
  patch = tuple(cfg["transformer"].get("patch", sizes.DEFAULT_PATCH))
  size = math.prod(patch) * channels
  return dit.DiT(**{**cfg["transformer"], "patch": patch},
                 patch_channels=size, out_channels=size,
                 dtype=jnp.dtype(cfg.get("dtype", "float32")).type)


def text_encoder_of(cfg: Any) -> encoder.TextEncoder:
  """The text encoder of a config."""
  return encoder.TextEncoder(**cfg["text_encoder"])


def pretrained_params(cfg: Any, component: str, module: Any, mesh: Any) -> Any:
  """The parameters of a network of config.init_from, float32 on the mesh.

  Raises:
    ValueError: no such folder, or its network is not the config's.
  """
  folder = find.find(cfg["init_from"])
  found = getattr(pretrained.load(folder, mesh=mesh, components=(component,)),
                  component)
  if found is None:
    raise ValueError(f"config.init_from={folder} has no {component}")
  free = ("dtype", "remat", "parent", "name")
  for field in dataclasses.fields(module):
    a, b = (getattr(m, field.name) for m in (module, found.module))
    if a != b and field.name not in free:
      raise ValueError(f"{component}: {field.name} is {a} in the config and {b} "
                       f"in {folder}, config.init_from")
  return found.params

"""The networks and the optimiser that a config names.

A config is converted here, once, into the frozen dataclasses of its components.
"""

from collections.abc import Callable
import dataclasses
import math
from typing import Any

import jax.numpy as jnp

from sora_jax import ranges
from sora_jax.data.loading import token_config
from sora_jax.data.store import manifest as manifest_lib
from sora_jax.diffusion import flow
from sora_jax.formats import find
from sora_jax.formats import pretrained
from sora_jax.geometry import sizes
from sora_jax.mesh import multihost
from sora_jax.models import captioner
from sora_jax.models import dit
from sora_jax.models import expander
from sora_jax.models.text import encoder
from sora_jax.models.vae import vae
from sora_jax.text import tokenizer as tokenizer_lib
from sora_jax.training import optimizer

DTYPES = ("float32", "bfloat16")  # of the computation


def optimizer_of(cfg: Any) -> optimizer.Optimizer:
  """The optimiser of a run; its schedule spans the steps of the run."""
  return ranges.made(optimizer.Optimizer, "optimizer", cfg["optimizer"],
                     steps=cfg["steps"])


def process_of(cfg: Any) -> flow.Process:
  """The diffusion process of a config of kind "dit"."""
  return ranges.made(flow.Process, "process", cfg["process"])


def tokens_of(cfg: Any, **given: Any) -> token_config.TokenConfig:
  """What packed batches look like; `given` replaces keys of its section."""
  return ranges.made(token_config.TokenConfig, "data", cfg["data"],
                     seed=cfg["seed"], **given)


def vae_of(cfg: Any) -> vae.VAE:
  """The compression network of a config of kind "vae"."""
  lists = {k: tuple(v) for k, v in cfg["vae"].items() if isinstance(v, list)}
  return ranges.made(vae.VAE, "vae", cfg["vae"], **lists)


def dit_of(cfg: Any, channels: int) -> dit.DiT:
  """The transformer of a config of kind "dit", for latents of `channels`."""
  given = cfg["transformer"].get("patch", sizes.DEFAULT_PATCH)
  rule = ranges.every(ranges.whole(1), 3)
  if not rule.holds(given):
    raise ValueError(f"transformer.patch is {given!r}, it must be {rule.what}")
  patch = tuple(given)
  size = math.prod(patch) * channels
  return ranges.made(dit.DiT, "transformer", cfg["transformer"], patch=patch,
                     patch_channels=size, out_channels=size,
                     dtype=_dtype_of(cfg))


def captioner_of(cfg: Any, patch: sizes.Patch,
                 channels: int) -> captioner.Captioner:
  """The captioner of a config, for latents of `channels` cut into patches."""
  return ranges.made(
      captioner.Captioner, "captioner", cfg["captioner"], patch=tuple(patch),
      patch_channels=math.prod(patch) * channels, f_ref=cfg["data"]["f_ref"],
      most_tokens=max(length for _, length in cfg["data"]["shapes"]),
      dtype=_dtype_of(cfg))


def expander_of(cfg: Any) -> expander.Expander:
  """The expander of a config."""
  return ranges.made(expander.Expander, "expander", cfg["expander"],
                     dtype=_dtype_of(cfg))


def _dtype_of(cfg: Any) -> Any:
  """The dtype of the computation of a config."""
  dtype = cfg.get("dtype", "float32")
  if dtype not in DTYPES:
    raise ValueError(f"dtype is {dtype!r}, it must be one of {', '.join(DTYPES)}")
  return jnp.dtype(dtype).type


def text_encoder_of(cfg: Any) -> encoder.TextEncoder:
  """The text encoder of a config."""
  return ranges.made(encoder.TextEncoder, "text_encoder", cfg["text_encoder"])


def vae_of_latents(manifest: manifest_lib.Manifest,
                   vae: str | None) -> pretrained.Model:
  """The VAE of a run, which must be the one that made its latents.

  Raises:
    ValueError: none is given, or another one.
  """
  if not vae:
    raise ValueError("--vae=MODEL is needed: the model folder whose VAE made "
                     "the latents")
  found = pretrained.load(find.find(vae), components=("vae",))
  made_by = manifest.info.get("vae")
  if made_by is None:
    raise ValueError(f"{manifest.root} names no VAE that made latents: give "
                     "the folder that sora-jax encode wrote")
  # Sets of older versions name the whole folder.
  if made_by not in (found.vae_digest, found.digest):
    raise ValueError(
        f"{manifest.root} holds latents of the VAE {made_by[:12]} and "
        f"--vae is {found.vae_digest[:12]}: give the one they were made with")
  return found


def agree(check: Callable[[], None]) -> None:
  """Calls `check` on every process; what one of them refuses, all do.

  Raises:
    ValueError: of the first that refuses.
  """
  fault = ""
  try:
    check()
  except ValueError as e:
    fault = str(e)
  if faults := multihost.exchange(fault):
    raise ValueError(faults[0])


def check_tokenizer(cfg: Any, manifest: manifest_lib.Manifest,
                    tokenizer: tokenizer_lib.Tokenizer) -> None:
  """Raises ValueError where config.init_from reads other ids than the data has."""
  first = pretrained.load(find.find(cfg["init_from"]), components=())
  if first.tokenizer != tokenizer.model:
    raise ValueError(
        f"config.init_from={cfg['init_from']} has another tokenizer than "
        f"{manifest.root}: prepare the data by the command of its card")


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
  free = ("dtype", "remat", "most_tokens", "parent", "name")
  for field in dataclasses.fields(module):
    a, b = (getattr(m, field.name) for m in (module, found.module))
    if a != b and field.name not in free:
      raise ValueError(f"{component}: {field.name} is {a} in the config and {b} "
                       f"in {folder}, config.init_from")
  return found.params

"""Writes a model folder in the layout of pretrained.py.

A folder is written beside its name and renamed, so that a process that is killed
loses neither the old one nor half of the new one.
"""

import os
import shutil
from typing import Any

import numpy as np

from sora_jax import files
from sora_jax.formats import dit_mapping
from sora_jax.formats import networks
from sora_jax.formats import pretrained
from sora_jax.formats import vae_mapping
from sora_jax.formats import weight_files
from sora_jax.formats import weight_mapping

REPLACED = ".replaced"  # behind the name of a folder that a new one follows


def save(folder: str, model: pretrained.Model, dtype: Any = np.float16) -> str:
  """Writes a model folder beside its name and renames it; returns its digest.

  A text encoder that is not ours is copied with its tokenizer, as it was read.

  Raises:
    ValueError: the folder exists and is no model folder, or holds more.
  """
  folder = os.path.realpath(folder)
  old = folder + REPLACED
  if os.path.exists(old) and not os.path.exists(folder):
    os.rename(old, folder)  # an export was killed between the two names
  if os.path.exists(folder):
    _check_old(folder)
  unfinished = folder + ".writing"
  shutil.rmtree(unfinished, ignore_errors=True)  # of an export that was killed
  os.makedirs(unfinished)  # refused where a link has been put
  try:
    _write(unfinished, model, dtype)
    _replace(folder, unfinished)
  except BaseException:  # a full disk too: no half is left
    shutil.rmtree(unfinished, ignore_errors=True)
    raise
  return weight_files.verify(folder)


def _write(unfinished: str, model: pretrained.Model, dtype: Any) -> None:
  """Writes all files of a model."""
  if component := model.expander:
    _write_own(unfinished, "expander", component, dtype)
    files.write_json(os.path.join(unfinished, "model_index.json"), {
        "expander": ["sora_jax", "Expander"],
        "tokenizer": _write_tokenizer(unfinished, model)}, indent=2)
    weight_files.write_sums(unfinished)
    return
  index = {"_class_name": "WanPipeline", "boundary_ratio": None,
           "expand_timesteps": model.expand_timesteps,
           "vae": ["diffusers", "AutoencoderKLWan"]}
  component = model.vae
  statistics = {"latents_mean": np.asarray(model.latent_mean).tolist(),
                "latents_std": np.asarray(model.latent_std).tolist()}
  _write_component(unfinished, "vae", component, vae_mapping.mapping,
                   networks.vae_config(component.module) | statistics, dtype)
  if component := model.transformer:
    index["transformer"] = ["diffusers", "WanTransformer3DModel"]
    index["scheduler"] = ["diffusers", model.scheduler["_class_name"]]
    _write_component(unfinished, "transformer", component, dit_mapping.mapping,
                     networks.dit_config(component.module), dtype)
    os.makedirs(os.path.join(unfinished, "scheduler"))
    files.write_json(os.path.join(unfinished, "scheduler", "scheduler_config.json"),
                     model.scheduler, indent=2)
    index |= _write_text(unfinished, model, dtype)
  elif component := model.captioner:
    index |= {"captioner": ["sora_jax", "Captioner"],
              "tokenizer": _write_tokenizer(unfinished, model)}
    _write_own(unfinished, "captioner", component, dtype)
  files.write_json(os.path.join(unfinished, "model_index.json"), index, indent=2)
  weight_files.write_sums(unfinished)


def _replace(folder: str, unfinished: str) -> None:
  """Gives a written folder its name; the card of the old one stays."""
  old = folder + REPLACED
  if os.path.exists(folder):
    card = os.path.join(folder, "README.md")
    if os.path.exists(card):  # it is the author's
      shutil.copy(card, unfinished)
    shutil.rmtree(old, ignore_errors=True)
    os.rename(folder, old)
  os.rename(unfinished, folder)
  shutil.rmtree(old, ignore_errors=True)


def _check_old(folder: str) -> None:
  """Raises ValueError where replacing a folder would lose what is not ours."""
  if not os.path.exists(os.path.join(folder, "model_index.json")):
    raise ValueError(f"{folder} exists and is no model folder: name another")
  ours = {"README.md", weight_files.SUMS, *weight_files.named(folder)}
  found = {os.path.relpath(os.path.join(at, name), folder)
           for at, _, names in os.walk(folder) for name in names}
  if more := sorted(found - ours):
    raise ValueError(f"{folder} holds {more[0]}, which is not of a model that "
                     "was written here: name another folder")


def _copy_regular(source: str, target: str) -> None:
  """Copies a file, and nothing that is none, such as a link to a device."""
  if not os.path.isfile(source):
    raise ValueError(f"{source} is no regular file")
  shutil.copyfile(source, target)


def _write_text(folder: str, model: pretrained.Model, dtype) -> dict:
  """Writes the text encoder and its tokenizer; their entries of the index."""
  if isinstance(model.tokenizer, str):
    source = os.path.dirname(model.tokenizer)
    for name in ("text_encoder", "tokenizer"):
      shutil.copytree(os.path.join(source, name), os.path.join(folder, name),
                      copy_function=_copy_regular)
    index = files.read_json(os.path.join(source, "model_index.json"))
    return {name: index[name] for name in ("text_encoder", "tokenizer")}
  _write_own(folder, "text_encoder", model.text_encoder, dtype)
  return {"text_encoder": ["sora_jax", "TextEncoder"],
          "tokenizer": _write_tokenizer(folder, model)}


def _write_tokenizer(folder: str, model: pretrained.Model) -> list[str]:
  """Writes a tokenizer of ours with its words; its entry of the index."""
  assert isinstance(model.tokenizer, bytes)  # of ours
  os.makedirs(os.path.join(folder, "tokenizer"))
  files.write_bytes(os.path.join(folder, "tokenizer", "tokenizer.model"),
                    model.tokenizer)
  if model.words:
    files.write_text(os.path.join(folder, "tokenizer", pretrained.WORDS),
                     "".join(f"{word}\n" for word in model.words))
  return ["sora_jax", "SentencePiece"]


def _write_own(folder: str, name: str, component: pretrained.Component,
               dtype) -> None:
  """Writes a network of our own."""
  config = networks.own_config(component.module)
  network = networks.NETWORKS[config["_class_name"]]
  _write_component(folder, name, component, network.mapping, config, dtype)


def _write_component(folder: str, name: str, component: pretrained.Component,
                     mapping, config: dict, dtype) -> None:
  folder = os.path.join(folder, name)
  stem = ("model" if name in ("text_encoder", "captioner", "expander") else
          "diffusion_pytorch_model")
  os.makedirs(folder)
  files.write_json(os.path.join(folder, "config.json"), config, indent=2)
  tensors = weight_mapping.from_flax(component.params, mapping(component.module))
  weight_files.write_weights(folder, stem, tensors, dtype)

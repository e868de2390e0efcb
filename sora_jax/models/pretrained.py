"""Reads and writes a model folder: one layout for our models and other people's.

The layout is that of the `diffusers` package: model_index.json and one folder a
part (transformer/, vae/, text_encoder/, tokenizer/, scheduler/), with weights
as safetensors in the names of the reference implementation and settings as
JSON. Nothing in a folder is ever run. SHA256SUMS names every file that we
write; a folder that has it is checked before use, since a flipped byte in
safetensors loads silently.
"""

import dataclasses
import os
import shutil
from typing import Any

import jax.numpy as jnp
import numpy as np

from sora_jax.models import dit
from sora_jax.models import dit_names
from sora_jax.models import text_encoder
from sora_jax.models import vae
from sora_jax.models import vae_names
from sora_jax.models import weights


@dataclasses.dataclass(frozen=True)
class Part:
  """One network of a model: its frozen module and its parameters."""

  module: Any
  params: Any


@dataclasses.dataclass(frozen=True)
class Model:
  """The parts of a model folder; a folder with a VAE alone has the rest None.

  Attributes:
    vae: the compression network.
    latent_mean: [C] statistics of the raw latents, by which the transformer's
      latents are normalised.
    latent_std: [C].
    transformer: the denoiser.
    text_encoder: the encoder of the prompts.
    tokenizer: bytes of a sentencepiece model.
    scheduler: the diffusion process and the defaults of sampling.
    digest: sha256 over the digests of all files of the folder.
  """

  vae: Part
  latent_mean: np.ndarray
  latent_std: np.ndarray
  transformer: Part | None = None
  text_encoder: Part | None = None
  tokenizer: bytes | None = None
  scheduler: dict = dataclasses.field(default_factory=dict)
  digest: str = ""


def load(folder: str, dtype=jnp.float32) -> Model:
  """Reads a model folder.

  Args:
    folder: a folder in the layout above.
    dtype: of the computation; parameters are float32.

  Raises:
    ValueError: no such folder, a file that is missing, damaged or of another
      architecture; the message names the file and the key.
  """
  index_file = os.path.join(folder, "model_index.json")
  if not os.path.isfile(index_file):
    raise ValueError(f"{folder} is no model folder: model_index.json is missing")
  digest = weights.verify(folder)
  index = weights.read_json(index_file)
  config = weights.read_json(os.path.join(folder, "vae", "config.json"))
  network = _module(vae.VAE, _vae_fields(config), folder, "vae", dtype)
  parts = dict(
      vae=_part(folder, "vae", network, vae_names.to_flax),
      latent_mean=np.asarray(config["latents_mean"], np.float32),
      latent_std=np.asarray(config["latents_std"], np.float32))
  if "transformer" in index:
    fields = _dit_fields(weights.read_json(os.path.join(folder, "transformer",
                                            "config.json")))
    network = _module(dit.DiT, fields, folder, "transformer", dtype)
    parts["transformer"] = _part(folder, "transformer", network,
                                 dit_names.to_flax)
  if "text_encoder" in index:
    config = weights.read_json(os.path.join(folder, "text_encoder",
                                            "config.json"))
    fields = {k: v for k, v in config.items() if not k.startswith("_")}
    network = _module(text_encoder.TextEncoder, fields, folder, "text_encoder",
                      dtype)
    parts["text_encoder"] = _part(folder, "text_encoder", network,
                                  text_encoder.to_flax)
  if "tokenizer" in index:
    with open(os.path.join(folder, "tokenizer", "tokenizer.model"), "rb") as f:
      parts["tokenizer"] = f.read()
  if "scheduler" in index:
    parts["scheduler"] = weights.read_json(os.path.join(folder, "scheduler",
                                            "scheduler_config.json"))
  return Model(**parts, digest=digest)


def save(folder: str, model: Model, dtype=np.float16) -> str:
  """Writes a model folder aside and renames it; returns its digest.

  Raises:
    ValueError: the folder exists and is no model folder.
  """
  if os.path.exists(folder) and not os.path.exists(
      os.path.join(folder, "model_index.json")):
    raise ValueError(f"{folder} exists and is no model folder: name another")
  aside = folder.rstrip("/") + ".writing"
  shutil.rmtree(aside, ignore_errors=True)
  os.makedirs(aside)
  index = {"_class_name": "WanPipeline",
           "vae": ["diffusers", "AutoencoderKLWan"]}
  _write_part(aside, "vae", vae_names.from_flax(model.vae.params,
                                                model.vae.module),
              _vae_config(model), dtype)
  if model.transformer:
    index["transformer"] = ["diffusers", "WanTransformer3DModel"]
    index["scheduler"] = ["diffusers", model.scheduler["_class_name"]]
    index["tokenizer"] = ["sora_jax", "SentencePiece"]
    index["text_encoder"] = ["sora_jax", "TextEncoder"]
    _write_part(
        aside, "transformer",
        dit_names.from_flax(model.transformer.params, model.transformer.module),
        _dit_config(model.transformer.module), dtype)
    _write_part(
        aside, "text_encoder", text_encoder.from_flax(
            model.text_encoder.params, model.text_encoder.module),
        {"_class_name": "TextEncoder", **_fields(model.text_encoder.module)},
        dtype)
    weights.write_json(os.path.join(aside, "scheduler",
                                    "scheduler_config.json"), model.scheduler)
    os.makedirs(os.path.join(aside, "tokenizer"))
    with open(os.path.join(aside, "tokenizer", "tokenizer.model"), "wb") as f:
      f.write(model.tokenizer)
  weights.write_json(os.path.join(aside, "model_index.json"), index)
  weights.write_sums(aside)
  if os.path.exists(folder):
    card = os.path.join(folder, "README.md")
    if os.path.exists(card):  # it is the author's
      shutil.copy(card, aside)
    shutil.rmtree(folder)
  os.rename(aside, folder)
  return weights.verify(folder)


def _write_part(folder: str, part: str, tensors: dict, config: dict, dtype):
  folder = os.path.join(folder, part)
  stem = "model" if part == "text_encoder" else "diffusion_pytorch_model"
  weights.write_json(os.path.join(folder, "config.json"), config)
  weights.write_weights(folder, stem, tensors, dtype)


def _vae_fields(config: dict) -> dict:
  base = config["base_dim"]
  return dict(
      base=base, decoder_base=config.get("decoder_base_dim") or 0,
      mults=tuple(config["dim_mult"]), z=config["z_dim"],
      blocks=config["num_res_blocks"],
      temporal=tuple(config["temperal_downsample"]),
      patch=config.get("patch_size") or 1,
      residual=config.get("is_residual", False))


def _vae_config(model: Model) -> dict:
  m = model.vae.module
  return {
      "_class_name": "AutoencoderKLWan", "base_dim": m.base,
      "decoder_base_dim": m.decoder_base or None, "dim_mult": list(m.mults),
      "z_dim": m.z, "num_res_blocks": m.blocks, "attn_scales": [],
      "temperal_downsample": list(m.temporal), "dropout": 0.0,
      "patch_size": m.patch if m.patch > 1 else None, "is_residual": m.residual,
      "in_channels": 3 * m.patch**2, "out_channels": 3 * m.patch**2,
      "scale_factor_temporal": vae.stride(m)[0],
      "scale_factor_spatial": vae.stride(m)[1],
      "latents_mean": np.asarray(model.latent_mean).tolist(),
      "latents_std": np.asarray(model.latent_std).tolist()}


# The reference's names of the transformer's sizes, and ours.
DIT_FIELDS = {
    "num_layers": "layers", "num_attention_heads": "heads",
    "attention_head_dim": "head_size", "ffn_dim": "ffn",
    "text_dim": "text_width", "freq_dim": "freq_dim", "eps": "eps"}


def _dit_fields(config: dict) -> dict:
  patch = int(np.prod(config["patch_size"]))
  return {ours: config[theirs] for theirs, ours in DIT_FIELDS.items()} | dict(
      patch_channels=config["in_channels"] * patch,
      out_channels=config["out_channels"] * patch)


def _dit_config(module: dit.DiT, patch=(1, 2, 2)) -> dict:
  size = int(np.prod(patch))
  return {"_class_name": "WanTransformer3DModel", "patch_size": list(patch),
          "in_channels": module.patch_channels // size,
          "out_channels": module.out_channels // size, "cross_attn_norm": True,
          "qk_norm": "rms_norm_across_heads", "image_dim": None,
          "added_kv_proj_dim": None, "rope_max_seq_len": 1024,
          **{theirs: getattr(module, ours)
             for theirs, ours in DIT_FIELDS.items()}}


def _fields(module) -> dict:
  """The settings of a frozen module that its weights depend on."""
  skip = ("parent", "name", "dtype", "remat")
  return {f.name: getattr(module, f.name) for f in dataclasses.fields(module)
          if f.name not in skip}


def _module(kind, fields: dict, folder: str, part: str, dtype):
  try:
    return kind(**fields, dtype=dtype)
  except TypeError as e:
    raise ValueError(f"{folder}/{part}/config.json: {e}") from e


def _part(folder: str, part: str, module, to_flax) -> Part:
  tensors = weights.read_weights(os.path.join(folder, part))
  try:
    return Part(module, to_flax(tensors, module))
  except (KeyError, ValueError) as e:
    raise ValueError(f"{folder}/{part}: {e}") from e

"""Reads and writes a model folder: one layout for our models and other people's.

The layout is that of the `diffusers` package: model_index.json and one folder a
part (transformer/, vae/, text_encoder/, tokenizer/, scheduler/), with weights
as safetensors in the names of the reference implementation and settings as
JSON. Nothing in a folder is ever run. SHA256SUMS names every file that we
write; a folder that has it is checked before use, since a flipped byte in
safetensors loads silently.
"""

import dataclasses
import hashlib
import json
import os
import shutil
from typing import Any

import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy

from sora_jax.models import dit
from sora_jax.models import dit_names
from sora_jax.models import text_encoder
from sora_jax.models import vae
from sora_jax.models import vae_names

SHARD_BYTES = 12 * 10**6  # of our own folders; large hosts refuse large files


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
  digest = verify(folder)
  index = _json(index_file)
  config = _json(os.path.join(folder, "vae", "config.json"))
  network = _module(vae.VAE, _vae_fields(config), folder, "vae", dtype)
  parts = dict(
      vae=_part(folder, "vae", network, vae_names.to_flax),
      latent_mean=np.asarray(config["latents_mean"], np.float32),
      latent_std=np.asarray(config["latents_std"], np.float32))
  if "transformer" in index:
    fields = _dit_fields(_json(os.path.join(folder, "transformer",
                                            "config.json")))
    network = _module(dit.DiT, fields, folder, "transformer", dtype)
    parts["transformer"] = _part(folder, "transformer", network,
                                 dit_names.to_flax)
  if "text_encoder" in index:
    config = _json(os.path.join(folder, "text_encoder", "config.json"))
    fields = {k: v for k, v in config.items() if not k.startswith("_")}
    network = _module(text_encoder.TextEncoder, fields, folder, "text_encoder",
                      dtype)
    parts["text_encoder"] = _part(folder, "text_encoder", network,
                                  text_encoder.to_flax)
  if "tokenizer" in index:
    with open(os.path.join(folder, "tokenizer", "tokenizer.model"), "rb") as f:
      parts["tokenizer"] = f.read()
  if "scheduler" in index:
    parts["scheduler"] = _json(os.path.join(folder, "scheduler",
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
    _write_json(os.path.join(aside, "scheduler", "scheduler_config.json"),
                model.scheduler)
    os.makedirs(os.path.join(aside, "tokenizer"))
    with open(os.path.join(aside, "tokenizer", "tokenizer.model"), "wb") as f:
      f.write(model.tokenizer)
  _write_json(os.path.join(aside, "model_index.json"), index)
  with open(os.path.join(aside, "SHA256SUMS"), "w", encoding="utf-8") as f:
    for name in _files(aside):
      if name != "SHA256SUMS":
        f.write(f"{_sha256(os.path.join(aside, name))}  {name}\n")
  if os.path.exists(folder):
    for keep in ("README.md",):  # the card is the author's
      if os.path.exists(os.path.join(folder, keep)):
        shutil.copy(os.path.join(folder, keep), aside)
    shutil.rmtree(folder)
  os.rename(aside, folder)
  return verify(folder)


def verify(folder: str) -> str:
  """The digest of a folder, after its files have been checked against it.

  Raises:
    ValueError: a file that is missing or differs from SHA256SUMS.
  """
  sums = os.path.join(folder, "SHA256SUMS")
  if not os.path.exists(sums):
    names = [n for n in _files(folder) if n.endswith((".json", ".safetensors"))]
    lines = [f"{_sha256(os.path.join(folder, n))}  {n}" for n in names]
  else:
    with open(sums, encoding="utf-8") as f:
      lines = f.read().splitlines()
    for line in lines:
      expected, name = line.split("  ", 1)
      path = os.path.join(folder, name)
      if not os.path.exists(path):
        raise ValueError(f"{path} is missing, SHA256SUMS names it")
      if _sha256(path) != expected:
        raise ValueError(f"{path} is damaged: its sha256 is not the one in "
                         "SHA256SUMS; fetch the model again")
  return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


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
  weights = read_weights(os.path.join(folder, part))
  try:
    return Part(module, to_flax(weights, module))
  except (KeyError, ValueError) as e:
    raise ValueError(f"{folder}/{part}: {e}") from e


def read_weights(folder: str) -> dict[str, np.ndarray]:
  """All tensors of a part's safetensors files as float32.

  Raises:
    ValueError: no weights, a shard that the index names is missing, or a file
      that is no safetensors file.
  """
  names = sorted(n for n in os.listdir(folder) if n.endswith(".safetensors"))
  for index in (n for n in os.listdir(folder) if n.endswith(".index.json")):
    wanted = set(_json(os.path.join(folder, index))["weight_map"].values())
    if missing := sorted(wanted - set(names)):
      raise ValueError(f"{folder}/{missing[0]} is missing, {index} names it")
    names = sorted(wanted)
  if not names:
    raise ValueError(f"{folder} has no safetensors file")
  out = {}
  for name in names:
    path = os.path.join(folder, name)
    try:
      with safetensors.safe_open(path, framework="flax") as f:
        for key in f.keys():  # noqa: SIM118, no dict
          out[key] = np.asarray(f.get_tensor(key), np.float32)
    except safetensors.SafetensorError as e:
      raise ValueError(f"{path} cannot be read: {e}") from e
  return out


def _write_part(folder: str, part: str, weights: dict, config: dict, dtype):
  """Weights in shards of at most SHARD_BYTES, with an index if several."""
  _write_json(os.path.join(folder, part, "config.json"), config)
  weights = {k: np.ascontiguousarray(v, dtype) for k, v in weights.items()}
  shards, size = [{}], 0
  for key, value in weights.items():
    if size + value.nbytes > SHARD_BYTES and shards[-1]:
      shards.append({})
      size = 0
    shards[-1][key] = value
    size += value.nbytes
  stem = "diffusion_pytorch_model" if part != "text_encoder" else "model"
  weight_map = {}
  for i, shard in enumerate(shards):
    name = f"{stem}.safetensors"
    if len(shards) > 1:
      name = f"{stem}-{i + 1:05d}-of-{len(shards):05d}.safetensors"
    safetensors.numpy.save_file(shard, os.path.join(folder, part, name),
                                metadata={"format": "pt"})
    weight_map |= dict.fromkeys(shard, name)
  if len(shards) > 1:
    total = sum(v.nbytes for v in weights.values())
    _write_json(os.path.join(folder, part, f"{stem}.safetensors.index.json"),
                {"metadata": {"total_size": total}, "weight_map": weight_map})


def _files(folder: str) -> list[str]:
  found = [os.path.relpath(os.path.join(root, name), folder)
           for root, _, names in os.walk(folder) for name in names]
  return sorted(n for n in found if n != "README.md")


def _sha256(path: str) -> str:
  with open(path, "rb") as f:
    return hashlib.file_digest(f, "sha256").hexdigest()


def _json(path: str) -> dict:
  try:
    with open(path, encoding="utf-8") as f:
      return json.load(f)
  except FileNotFoundError:
    raise ValueError(f"{path} is missing") from None
  except json.JSONDecodeError as e:
    raise ValueError(f"{path} is no JSON: {e}") from e


def _write_json(path: str, value: dict) -> None:
  os.makedirs(os.path.dirname(path), exist_ok=True)
  with open(path, "w", encoding="utf-8") as f:
    json.dump(value, f, indent=2)
    f.write("\n")

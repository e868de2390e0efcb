"""The networks that a model folder may hold, by the names of their classes.

A network is built from its config.json, in the reference's names, and its
weights are placed by its weight mapping and sharding rules. What is not in the table
is refused by name: nothing in a folder is ever run.
"""

from collections.abc import Callable
import dataclasses
import functools
import math

from flax import linen as nn

from sora_jax import mesh as mesh_lib
from sora_jax.formats import dit_mapping
from sora_jax.formats import own_mapping
from sora_jax.formats import t5_mapping
from sora_jax.formats import vae_mapping
from sora_jax.geometry import sizes
from sora_jax.models import captioner
from sora_jax.models import dit
from sora_jax.models import expander
from sora_jax.models.text import encoder
from sora_jax.models.text import t5
from sora_jax.models.vae import vae


@dataclasses.dataclass(frozen=True)
class Network:
  """How a class of networks is read.

  Attributes:
    component: the folder that it lies in.
    kind: our module.
    fields: config.json -> the fields of the module; ValueError names a key that
      is missing (KeyError will do) or has a value that is not supported.
    mapping: module -> weight_mapping.WeightMapping.
    rules: the sharding rules of its parameters.
  """

  component: str
  kind: Callable
  fields: Callable
  mapping: Callable
  rules: tuple


# The reference's names of the transformer's sizes, and ours.
DIT_SIZES = {
    "num_layers": "layers", "num_attention_heads": "heads",
    "attention_head_dim": "head_size", "ffn_dim": "ffn",
    "text_dim": "text_width", "freq_dim": "freq_dim", "eps": "eps"}
# What our transformer always is.
DIT_FIXED = {
    "cross_attn_norm": True, "image_dim": None,
    "qk_norm": "rms_norm_across_heads", "added_kv_proj_dim": None}


def _check_whole(config: dict, *keys: str, optional=()) -> None:
  """Raises ValueError where a key is no whole number from 1.

  Those that are optional may be missing or null.
  """
  for key in (*keys, *optional):
    value = config.get(key) if key in optional else config[key]
    if (type(value) is not int or value < 1) and not (
        value is None and key in optional):
      raise ValueError(f"key {key} is {value!r}, it must be a whole number "
                       "from 1")


def dit_fields(config: dict) -> dict:
  """The fields of our transformer from the reference's config."""
  for key, value in DIT_FIXED.items():
    if (found := config.get(key, value)) != value:
      raise ValueError(f"key {key} is {found!r}, only {value!r} is supported")
  _check_whole(config, *(k for k in DIT_SIZES if k != "eps"), "in_channels",
               optional=("out_channels",))
  if not isinstance(config["eps"], float) or not 0 < config["eps"] < 1:
    raise ValueError(f"key eps is {config['eps']!r}, it must be in (0, 1)")
  patch = config.get("patch_size", list(sizes.DEFAULT_PATCH))
  if not isinstance(patch, list) or len(patch) != 3 or patch[0] != 1 or not all(
      type(n) is int and n > 0 for n in patch):
    raise ValueError(f"key patch_size is {patch!r}, only [1, height, width] is "
                     "supported")
  size, channels = math.prod(patch), config["in_channels"]
  return {ours: config[reference] for reference, ours in DIT_SIZES.items()} | dict(
      patch=tuple(patch), patch_channels=channels * size,
      out_channels=(config.get("out_channels") or channels) * size)


def dit_config(module: dit.DiT) -> dict:
  """The reference's config of our transformer."""
  size = math.prod(module.patch)
  return {"_class_name": "WanTransformer3DModel",
          "in_channels": module.patch_channels // size,
          "out_channels": module.out_channels // size,
          "rope_max_seq_len": 1024,
          "patch_size": list(module.patch), **DIT_FIXED,
          **{reference: getattr(module, ours)
             for reference, ours in DIT_SIZES.items()}}


def vae_fields(config: dict) -> dict:
  """The fields of our VAE from the reference's config."""
  if config.get("attn_scales"):
    raise ValueError(f"key attn_scales is {config['attn_scales']!r}, only [] is "
                     "supported")
  _check_whole(config, "base_dim", "z_dim", "num_res_blocks",
               optional=("decoder_base_dim", "patch_size"))
  for key, kind in (("dim_mult", int), ("temperal_downsample", bool)):
    value = config[key]
    if not isinstance(value, list) or not all(
        type(v) is kind and (kind is bool or v > 0) for v in value) or (
            kind is int and not value):
      raise ValueError(f"key {key} is {value!r}, it must be a list of " + (
          "true and false" if kind is bool else "whole numbers from 1"))
  return dict(
      base=config["base_dim"], decoder_base=config.get("decoder_base_dim") or 0,
      mults=tuple(config["dim_mult"]), z=config["z_dim"],
      blocks=config["num_res_blocks"],
      temporal=tuple(config["temperal_downsample"]),
      patch=config.get("patch_size") or 1,
      residual=config.get("is_residual", False))


def vae_config(m: vae.VAE) -> dict:
  """The reference's config of our VAE, but for the latent statistics."""
  return {
      "_class_name": "AutoencoderKLWan", "base_dim": m.base,
      "decoder_base_dim": m.decoder_base or None, "dim_mult": list(m.mults),
      "z_dim": m.z, "num_res_blocks": m.blocks, "attn_scales": [],
      "temperal_downsample": list(m.temporal), "dropout": 0.0,
      "patch_size": m.patch if m.patch > 1 else None, "is_residual": m.residual,
      "in_channels": 3 * m.patch**2, "out_channels": 3 * m.patch**2,
      "scale_factor_temporal": vae.stride(m)[0],
      "scale_factor_spatial": vae.stride(m)[1]}


def own_config(module: nn.Module) -> dict:
  """The config of a network of our own: its class and its fields."""
  skip = ("parent", "name", "dtype")
  return {"_class_name": type(module).__name__, **{
      f.name: getattr(module, f.name) for f in dataclasses.fields(module)
      if f.name not in skip}}


def text_fields(config: dict) -> dict:
  """The fields of our own text encoder from its config."""
  _check_whole(config, "vocab", "width", "layers", "heads", "ffn")
  return _own_fields(config)


def captioner_fields(config: dict) -> dict:
  """The fields of our captioner from its config."""
  fields = _own_fields(config)
  patch = fields["patch"]
  if not isinstance(patch, list) or len(patch) != 3 or not all(
      type(n) is int and n > 0 for n in patch):
    raise ValueError(f"key patch is {patch!r}, it must be three whole numbers "
                     "from 1")
  _check_whole(config, "patch_channels", "most_tokens")
  return fields | {"patch": tuple(patch)}


def expander_fields(config: dict) -> dict:
  """The fields of our expander from its config."""
  _check_whole(config, "vocab", "width", "layers", "decoder_layers", "heads",
               "ffn", "prompt_length", "length")
  return _own_fields(config)


def _own_fields(config: dict) -> dict:
  return {k: v for k, v in config.items() if not k.startswith("_")}


def _own(init: Callable) -> Callable:
  return functools.partial(own_mapping.mapping, init)


T5 = Network("text_encoder", t5.T5Encoder, t5.fields, t5_mapping.mapping,
             mesh_lib.TEXT_RULES)
NETWORKS = {
    "AutoencoderKLWan": Network("vae", vae.VAE, vae_fields, vae_mapping.mapping,
                                mesh_lib.VAE_RULES),
    "WanTransformer3DModel": Network("transformer", dit.DiT, dit_fields,
                                     dit_mapping.mapping, mesh_lib.DIT_RULES),
    "TextEncoder": Network("text_encoder", encoder.TextEncoder,
                           text_fields, _own(encoder.init),
                           mesh_lib.TEXT_RULES),
    "Captioner": Network("captioner", captioner.Captioner, captioner_fields,
                         _own(captioner.init), mesh_lib.CAPTIONER_RULES),
    "Expander": Network("expander", expander.Expander, expander_fields,
                        _own(expander.init), mesh_lib.CAPTIONER_RULES),
    "UMT5EncoderModel": T5, "T5EncoderModel": T5,
}

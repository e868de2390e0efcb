"""How a run of the transformer reads its prompts.

Either by a small encoder of ours that is trained along, or by the encoder of
the open model that the run starts from, frozen: then the prompts of a batch are
encoded before the training step, and the step sees their states.
"""

from collections.abc import Callable
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from sora_jax import types
from sora_jax.data.store import manifest as manifest_lib
from sora_jax.formats import find
from sora_jax.formats import pretrained as pretrained_lib
from sora_jax.models.text import encoder as encoder_lib
from sora_jax.tasks import build
from sora_jax.text import tokenizer as tokenizer_lib


@dataclasses.dataclass(frozen=True)
class Prompts:
  """The text side of a run.

  Attributes:
    tokenizer: of the prompts.
    source: of the tokenizer, as in formats.pretrained.Model.
    init: key -> parameters that are trained, or None.
    pretrained: () -> those that a new run starts from, {} without.
    encode: (params, text of a batch) -> TextStates, in the training step.
    prepare: batch -> batch, before the step.
    frozen: the encoder that is not trained.
  """

  tokenizer: Any
  source: bytes | str
  init: Callable | None
  pretrained: Callable
  encode: Callable
  prepare: Callable = lambda batch: batch
  frozen: pretrained_lib.Component | None = None


def open_tokenizer(cfg: Any) -> Any:
  """The tokenizer of config.init_from, if the text encoder is its."""
  if "text_encoder" in cfg or not cfg.init_from:
    return None
  source = pretrained_lib.load(find.find(cfg.init_from), components=()).tokenizer
  if not isinstance(source, str):
    return None
  return tokenizer_lib.open_folder(source)


def trained(cfg: Any, manifest: manifest_lib.Manifest, mesh: Any) -> Prompts:
  """An encoder of ours, with the tokenizer of the data set."""
  encoder, tokenizer = build.text_encoder_of(cfg), tokenizer_lib.of(manifest)
  if tokenizer.vocab_size > encoder.vocab:
    raise ValueError(f"the tokenizer has {tokenizer.vocab_size} ids and "
                     f"config.text_encoder.vocab is {encoder.vocab}: raise it")

  def params_of_init_from():
    build.check_tokenizer(cfg, manifest, tokenizer)
    return {"text_encoder": build.pretrained_params(
        cfg, "text_encoder", encoder, mesh)}

  return Prompts(
      tokenizer, tokenizer.model, lambda key: encoder_lib.init(encoder, key),
      params_of_init_from,
      lambda p, text: encoder_lib.encode(encoder, p, text))


def frozen(cfg: Any, mesh: Any, tokenizer: Any) -> Prompts:
  """The encoder of config.init_from, in bfloat16, and its tokenizer."""
  if not cfg.init_from:
    raise ValueError("--config.init_from=MODEL is needed: this config trains no "
                     "text encoder of its own")
  model = pretrained_lib.load(find.find(cfg.init_from), jnp.bfloat16, mesh,
                          ("text_encoder",))
  if model.text_encoder is None or isinstance(model.tokenizer, bytes):
    raise ValueError(f"config.init_from={cfg.init_from} has no open text "
                     "encoder, which this config needs")
  encoder = model.text_encoder

  @jax.jit
  def states(params, text):
    real = jnp.where(text.ids == tokenizer.pad, 0, text.seg)
    found = encoder.module.apply({"params": params}, types.Text(text.ids, real))
    return found.replace(seg=text.seg)  # zeros in the padding, and keys

  return Prompts(
      tokenizer, model.tokenizer, None, dict, lambda p, text: text,
      lambda batch: batch.replace(text=states(encoder.params, batch.text)),
      encoder)

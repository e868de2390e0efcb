"""Prompts as the transformer sees them."""

from collections.abc import Sequence
import functools

import jax
import numpy as np

from sora_jax import types
from sora_jax.formats import pretrained
from sora_jax.mesh import multihost
from sora_jax.text import prompts as prompts_lib


def encode(model: pretrained.Model, tokenizer: prompts_lib.Tokenizer,
           prompts: Sequence[str], continues: bool = False
           ) -> types.TextStates:
  """Encodes prompts, one a row.

  Args:
    model: with the text encoder.
    tokenizer: of the model.
    prompts: one a row.
    continues: whether the videos begin inside another, which the prompts of
      our own models say; open models do not know of it.
  """
  defaults = model.defaults
  ids, seg = prompts_lib.encode_rows(tokenizer, prompts, defaults.text_limit,
                                     defaults.text_pad, continues)
  component = model.text_encoder
  # Through the host: the encoder may lie on other devices.
  states = multihost.gather(_encode(component.module, component.params,
                                    types.Text(ids=ids, seg=seg)))
  return states.replace(seg=np.ones_like(seg)) if defaults.text_pad else states


@functools.partial(jax.jit, static_argnums=0)
def _encode(module, params, text):
  return module.apply({"params": params}, text)

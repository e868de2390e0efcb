"""The expander: a short prompt becomes a longer one.

  prompt -> text encoder -> memory -> text decoder -> ids

The parts are those of models/text: a prompt is what a clip is to the captioner.
"""

import functools

from flax import linen as nn
import jax
import jax.numpy as jnp

from sora_jax import ranges
from sora_jax import types
from sora_jax.models.text import decoder as decoder_lib
from sora_jax.models.text import encoder as encoder_lib


class Expander(nn.Module):
  """The networks of an expander.

  Attributes:
    vocab: size of the tokenizer's vocabulary.
    width: D of the encoder and the decoder.
    layers: blocks of the encoder.
    decoder_layers: blocks of the decoder.
    heads: attention heads of both.
    ffn: hidden units of each MLP.
    prompt_length: the most ids of a prompt, EOS included.
    length: the most ids of the longer text, EOS included.
    dtype: compute dtype.
  """

  vocab: int
  width: int
  layers: int
  decoder_layers: int
  heads: int
  ffn: int
  prompt_length: int = 64
  length: int = 96
  dtype: jnp.dtype = jnp.float32

  def __post_init__(self):
    size = ranges.whole(1)
    ranges.check("expander", self, vocab=size, width=size, layers=size,
                 decoder_layers=size, heads=size, ffn=size,
                 prompt_length=ranges.whole(2), length=ranges.whole(2))
    if self.width % (2 * self.heads):
      raise ValueError(f"expander.heads is {self.heads}: width, {self.width}, must "
                       "divide into heads of an even size")
    super().__post_init__()

  def setup(self) -> None:
    self.encoder = encoder_lib.TextEncoder(
        self.vocab, self.width, self.layers, self.heads, self.ffn, self.dtype)
    self.decoder = text_decoder(self)

  def __call__(self, prompt: types.Text, text: types.Text) -> jax.Array:
    """Logits [B, S, vocab] float32 of the id at each position of the text."""
    kind = jnp.zeros_like(text.ids)
    return self.decoder(text, kind, kind > 0, self.encoder(prompt))

  def remember(self, prompt: types.Text) -> types.TextStates:
    """The memory of prompts."""
    return self.encoder(prompt)


def text_decoder(expander: Expander) -> decoder_lib.TextDecoder:
  """The decoder alone."""
  return decoder_lib.TextDecoder(
      expander.vocab, expander.width, expander.decoder_layers, expander.heads,
      expander.ffn, expander.length, 1, expander.dtype)


@functools.partial(jax.jit, static_argnums=0)
def init(expander: Expander, key: jax.Array) -> types.PyTree:
  """Fresh parameters, float32."""
  ids = jnp.ones((1, 1), jnp.int32)
  return expander.init(key, types.Text(ids, ids), types.Text(ids, ids))["params"]


def read(expander: Expander, params: types.PyTree, prompt: types.Text,
         text: types.Text) -> jax.Array:
  """Logits [B, S, vocab] float32 of the id that stands at each position."""
  return expander.apply({"params": params}, prompt, text)


@functools.partial(jax.jit, static_argnums=(0, 4))
def write(expander: Expander, params: types.PyTree, prompt: types.Text,
          key: jax.Array, temperature: float) -> jax.Array:
  """Longer texts [B, length] int32, each ended by EOS and filled up with zeros.

  Args:
    expander: the module.
    params: its parameters.
    prompt: one in each row, of segment 1.
    key: of what is drawn.
    temperature: 0 takes the likeliest id each time.
  """
  memory = expander.apply({"params": params}, prompt, method=expander.remember)
  return decoder_lib.write(
      text_decoder(expander), params["decoder"], memory,
      jnp.zeros(prompt.ids.shape[0], jnp.int32), key, temperature)

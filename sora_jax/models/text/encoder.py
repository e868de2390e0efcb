"""A small text encoder that is trained together with the diffusion transformer.

A pre-norm transformer over packed prompts. Every prompt is a segment that
attends only to itself and whose positions start at 0: where a prompt stands in
its row changes nothing.
"""

import functools

from flax import linen as nn
import jax
import jax.numpy as jnp

from sora_jax import ranges
from sora_jax import types
from sora_jax.models import layers as layers_lib
from sora_jax.models.attention import attend


class EncoderBlock(nn.Module):
  """Self-attention and MLP, each after a layer norm."""

  heads: int
  ffn: int
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, x: jax.Array, seg: jax.Array,
               rope: layers_lib.Rope) -> jax.Array:
    width = x.shape[-1]
    dense = lambda name: layers_lib.Dense(width, self.dtype, name=name)
    y = layers_lib.LayerNorm(name="norm_1")(x)
    split = lambda z: z.reshape(*z.shape[:-1], self.heads, -1)
    q, k, v = (split(dense(name)(y)) for name in "qkv")  # [B, S, N, K]
    rotate = lambda z: layers_lib.rotate(
        z.astype(jnp.float32), rope).astype(self.dtype)
    y = attend.attend(rotate(q), rotate(k), v, seg, seg)
    x = x + dense("out")(y.reshape(x.shape))
    y = layers_lib.LayerNorm(name="norm_2")(x)
    return x + layers_lib.Mlp(self.ffn, width, self.dtype, name="mlp")(y)


class TextEncoder(nn.Module):
  """Token ids to states.

  Attributes:
    vocab: size of the tokenizer's vocabulary.
    width: of the states.
    layers: number of blocks.
    heads: attention heads.
    ffn: hidden units of each MLP.
    dtype: compute dtype.
  """

  vocab: int
  width: int
  layers: int
  heads: int
  ffn: int
  dtype: jnp.dtype = jnp.float32

  def __post_init__(self):
    size = ranges.whole(1)
    ranges.check("text_encoder", self, vocab=size, width=size, layers=size,
                 heads=size, ffn=size)
    if self.width % (2 * self.heads):
      raise ValueError(
          f"text_encoder.heads is {self.heads}: width, {self.width}, must divide "
          "into heads of an even size")
    super().__post_init__()

  @nn.compact
  def __call__(self, text: types.Text) -> types.TextStates:
    x = nn.Embed(self.vocab, self.width, dtype=self.dtype, name="embed",
                 embedding_init=nn.initializers.normal(1.))(text.ids)
    rope = _rotations(text.seg, self.width // self.heads)
    block = EncoderBlock(self.heads, self.ffn, self.dtype, parent=None)

    def init_blocks(key):
      init = lambda key: block.init(key, x, text.seg, rope)["params"]
      return jax.vmap(init)(jax.random.split(key, self.layers))

    def layer(x, params):
      return block.apply({"params": params}, x, text.seg, rope), None

    x, _ = jax.lax.scan(layer, x, self.param("blocks", init_blocks))
    x = layers_lib.LayerNorm(name="norm")(x)
    return types.TextStates(states=x, seg=text.seg)


@functools.partial(jax.jit, static_argnums=0)
def init(encoder: TextEncoder, key: jax.Array) -> types.PyTree:
  """Fresh parameters, float32."""
  ids = jnp.ones((1, 1), jnp.int32)
  return encoder.init(key, types.Text(ids=ids, seg=ids))["params"]


def encode(encoder: TextEncoder, params: types.PyTree,
           text: types.Text) -> types.TextStates:
  """States [B, S, width] float32 of packed prompts, and their segments."""
  return encoder.apply({"params": params}, text)


def positions(seg: jax.Array) -> jax.Array:
  """The place [B, S] of each token in its run of equal segments, from 0."""
  index = jnp.broadcast_to(jnp.arange(seg.shape[1]), seg.shape)
  first = jnp.pad(seg[:, 1:] != seg[:, :-1], ((0, 0), (1, 0)),
                  constant_values=True)
  return index - jax.lax.cummax(jnp.where(first, index, 0), axis=1)


def _rotations(seg, head_size: int):
  """Cosine and sine [B, S, 1, K / 2] of RoPE at the positions of `seg`."""
  freq = 10000.**(-jnp.arange(0, head_size, 2) / head_size)
  angles = positions(seg)[:, :, None, None] * freq
  return jnp.cos(angles), jnp.sin(angles)

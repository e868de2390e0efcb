"""A small text encoder that is trained together with the diffusion transformer.

A pre-norm transformer over packed prompts. Every prompt is a segment that
attends only to itself and whose positions start at 0, so a prompt is encoded
alike wherever it stands in a row.
"""

import functools

from flax import linen as nn
from flax import traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from sora_jax import types
from sora_jax.models import attention
from sora_jax.models import layers as layers_lib


class TextBlock(nn.Module):
  """Self-attention and MLP, each behind a layer norm."""

  heads: int
  ffn: int
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, x, seg, rope):
    width = x.shape[-1]
    dense = lambda name: layers_lib.Dense(width, self.dtype, name=name)
    y = layers_lib.LayerNorm(name="norm_1")(x)
    split = lambda z: z.reshape(*z.shape[:-1], self.heads, -1)
    q, k, v = (split(dense(name)(y)) for name in "qkv")  # [B, S, N, K]
    rotate = lambda z: layers_lib.rotate(
        z.astype(jnp.float32), rope).astype(self.dtype)
    y = attention.attend(rotate(q), rotate(k), v, seg, seg)
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

  @nn.compact
  def __call__(self, text: types.Text) -> types.TextStates:
    x = nn.Embed(self.vocab, self.width, dtype=self.dtype, name="embed",
                 embedding_init=nn.initializers.normal(1.))(text.ids)
    rope = _rotations(text.seg, self.width // self.heads)
    block = TextBlock(self.heads, self.ffn, self.dtype, parent=None)

    def init_blocks(key):
      init = lambda key: block.init(key, x, text.seg, rope)["params"]
      return jax.vmap(init)(jax.random.split(key, self.layers))

    def layer(x, params):
      return block.apply({"params": params}, x, text.seg, rope), None

    x, _ = jax.lax.scan(layer, x, self.param("blocks", init_blocks))
    x = layers_lib.LayerNorm(name="norm")(x)
    return types.TextStates(states=x, seg=text.seg)


@functools.partial(jax.jit, static_argnums=0)
def init(encoder: TextEncoder, key: jax.Array):
  """Fresh parameters, float32."""
  ids = jnp.ones((1, 1), jnp.int32)
  return encoder.init(key, types.Text(ids=ids, seg=ids))["params"]


def encode(encoder: TextEncoder, params, text: types.Text) -> types.TextStates:
  """States [B, S, width] float32 of packed prompts; segments stay theirs."""
  return encoder.apply({"params": params}, text)


def positions(seg: jax.Array) -> jax.Array:
  """[B, S] the place of each token in its run of equal segments, from 0."""
  index = jnp.broadcast_to(jnp.arange(seg.shape[1]), seg.shape)
  first = jnp.pad(seg[:, 1:] != seg[:, :-1], ((0, 0), (1, 0)),
                  constant_values=True)
  return index - jax.lax.cummax(jnp.where(first, index, 0), axis=1)


def _rotations(seg, head_size: int):
  """Cosine and sine [B, S, 1, K / 2] of RoPE at the positions of `seg`."""
  freq = 10000.**(-jnp.arange(0, head_size, 2) / head_size)
  angles = positions(seg)[:, :, None, None] * freq
  return jnp.cos(angles), jnp.sin(angles)


def from_flax(params, encoder: TextEncoder) -> dict[str, np.ndarray]:
  """A state dict: the paths of the parameters, joined with dots."""
  del encoder  # its settings are all in the shapes
  return {name: np.asarray(value) for name, value in
          traverse_util.flatten_dict(params, sep=".").items()}


def to_flax(weights: dict[str, np.ndarray], encoder: TextEncoder):
  """Parameters from what `from_flax` made.

  Raises:
    ValueError: a tensor that is missing, of another shape, or not known; the
      message names it.
  """
  shapes = traverse_util.flatten_dict(
      jax.eval_shape(lambda key: init(encoder, key), jax.random.key(0)),
      sep=".")
  for name, shape in shapes.items():
    if name not in weights:
      raise ValueError(f"tensor {name} is missing")
    if weights[name].shape != shape.shape:
      raise ValueError(f"tensor {name} has shape {weights[name].shape}, the "
                       f"text encoder needs {shape.shape}")
  if unknown := sorted(set(weights) - set(shapes)):
    raise ValueError(f"tensor {unknown[0]} is not part of this text encoder")
  return traverse_util.unflatten_dict(
      {name: np.asarray(weights[name]) for name in shapes}, sep=".")

"""A block of the text decoder, for whole texts and for one more token of each."""

from flax import linen as nn
import jax
from jax import ad_checkpoint
import jax.numpy as jnp

from sora_jax.models import layers as layers_lib
from sora_jax.models.attention import attend

NEVER = -1e30  # the score of a masked key; finite, so never NaN

KeyValues = tuple[jax.Array, jax.Array]


class DecoderBlock(nn.Module):
  """Self-attention, attention to the memory, and MLP, each after a norm."""

  width: int
  heads: int
  ffn: int
  dtype: jnp.dtype

  def setup(self) -> None:
    dense = lambda: layers_lib.Dense(self.width, self.dtype)
    self.norm_1, self.norm_2, self.norm_3 = (
        layers_lib.LayerNorm() for _ in range(3))
    self.q, self.k, self.v, self.out = (dense() for _ in range(4))
    self.memory_q, self.memory_k, self.memory_v, self.memory_out = (
        dense() for _ in range(4))
    self.mlp = layers_lib.Mlp(self.ffn, self.width, self.dtype)

  def remember(self, states: jax.Array) -> KeyValues:
    """Keys and values [B, K, N, C] of a memory [B, K, D]."""
    return self._split(self.memory_k(states)), self._split(
        self.memory_v(states))

  def __call__(self, x: jax.Array, mask: jax.Array, seg: jax.Array,
               memory: KeyValues, memory_seg: jax.Array) -> jax.Array:
    """x [B, S, D] of whole texts.

    Args:
      x: [B, S, D].
      mask: [B, S, S] bool, which tokens of the text each token sees.
      seg: [B, S] int32.
      memory: of `remember`.
      memory_seg: [B, K] int32.
    """
    q, k, v = self._read(x)
    x = x + self.out(_attend(q, k, v, mask).reshape(x.shape))
    y = attend.attend(self._ask(x), *memory, seg, memory_seg)
    x = x + self.memory_out(y.reshape(x.shape))
    return x + self.mlp(self.norm_3(x))

  def one(self, x: jax.Array, at: jax.Array, memory: KeyValues,
          there: jax.Array, cache: KeyValues) -> tuple[jax.Array, KeyValues]:
    """(x [B, 1, D] of one more token of each text, the cache with it).

    Args:
      x: [B, 1, D].
      at: its place in the cache.
      memory: keys and values [B, N, K, C].
      there: [B, K] bool, where the memory has something.
      cache: keys and values [B, N, R, C] of the tokens before.
    """
    q, *new = map(heads_first, self._read(x))
    k, v = (jax.lax.dynamic_update_slice_in_dim(old, one, at, 2)
            for old, one in zip(cache, new))
    seen = jnp.arange(k.shape[2])[None] <= at
    x = x + self.out(_look(q, k, v, seen).reshape(x.shape))
    y = _look(heads_first(self._ask(x)), *memory, there)
    x = x + self.memory_out(y.reshape(x.shape))
    return x + self.mlp(self.norm_3(x)), (k, v)

  def _read(self, x):
    """Queries, keys and values of a text."""
    y = self.norm_1(x)
    return (self._split(f(y)) for f in (self.q, self.k, self.v))

  def _ask(self, x):
    """Queries of the memory."""
    return self._split(self.memory_q(self.norm_2(x)))

  def _split(self, x):
    return x.reshape(*x.shape[:-1], self.heads, -1)


def heads_first(x: jax.Array) -> jax.Array:
  """[B, K, N, C] as [B, N, K, C], and back."""
  return jnp.swapaxes(x, 1, 2)


def _attend(q, k, v, mask):
  """Attention [B, S, N, K] of tokens to those that `mask` [B, S, R] lets see."""
  s = jnp.einsum("blnk,bsnk->bnls", q * q.shape[-1]**-.5, k,
                 preferred_element_type=jnp.float32)
  p = jax.nn.softmax(jnp.where(mask[:, None], s, NEVER), -1)
  out = jnp.einsum("bnls,bsnk->blnk", p.astype(v.dtype), v)
  return ad_checkpoint.checkpoint_name(out, "attention")


def _look(q, k, v, seen):
  """Attention [B, N, 1, C] of one token to those of [B, N, R, C] that are seen."""
  s = jnp.einsum("bnlc,bnrc->bnlr", q * q.shape[-1]**-.5, k,
                 preferred_element_type=jnp.float32)
  p = jax.nn.softmax(jnp.where(seen[:, None, None], s, NEVER), -1)
  return jnp.einsum("bnlr,bnrc->bnlc", p.astype(v.dtype), v)

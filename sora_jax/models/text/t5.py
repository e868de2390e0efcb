"""The encoder of T5 v1.1 (arXiv:1910.10683, 2002.05202) and UMT5 (2304.09151).

  x = x + attention(rms_norm(x)),  x = x + gated_mlp(rms_norm(x))

Scores are q . k + bias[bucket(j - i)], not divided by sqrt(K): the weights hold
that scale. A bucket is a range of distances. Half of the buckets are for keys
before the query, half for keys after it; in each half the first buckets are
single distances and the others grow in powers up to `max_distance`. T5 has one
bias table for all layers, UMT5 one for each. No dense layer has a bias.

A prompt is a segment that attends only to itself. seg == 0 is padding; its
states are zeros.
"""

from collections.abc import Callable
import functools
import math

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from sora_jax import types
from sora_jax.models import layers as layers_lib

NEVER = -1e30  # the score of a masked key; finite, so never NaN
# "gated-gelu" is the tanh form in every open checkpoint.
ACTS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "gelu": functools.partial(nn.gelu, approximate=True), "silu": nn.silu,
    "relu": nn.relu}
# The sizes: the reference's names and ours.
SIZES = {"vocab_size": "vocab", "d_model": "width", "d_kv": "head_size",
         "num_heads": "heads", "d_ff": "ffn", "num_layers": "layers",
         "relative_attention_num_buckets": "buckets",
         "relative_attention_max_distance": "max_distance"}
# The reference's defaults of keys that older config.json files do not have.
DEFAULTS = {"relative_attention_num_buckets": 32,
          "relative_attention_max_distance": 128, "layer_norm_epsilon": 1e-6}

normal = nn.initializers.normal


class Linear(nn.Module):
  """y = x W over the last axis."""

  features: int
  dtype: jnp.dtype
  stddev: float

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    kernel = self.param("kernel", normal(self.stddev),
                        (x.shape[-1], self.features))
    return x.astype(self.dtype) @ kernel.astype(self.dtype)


class RmsNorm(nn.Module):
  """x / rms(x) * scale, in float32."""

  eps: float

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    scale = self.param("scale", nn.initializers.ones_init(), x.shape[-1:])
    return layers_lib.rms_norm(x, scale, self.eps)


class GatedMlp(nn.Module):
  """linear_2(act(gate(x)) linear_1(x))."""

  hidden: int
  act: str
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    width = x.shape[-1]
    wide = lambda name: Linear(self.hidden, self.dtype, width**-.5, name=name)
    y = ACTS[self.act](wide("gate")(x)) * wide("linear_1")(x)
    return Linear(width, self.dtype, self.hidden**-.5, name="linear_2")(y)


class T5Block(nn.Module):
  """Self-attention and gated MLP; the fields are those of `T5Encoder`."""

  head_size: int
  heads: int
  ffn: int
  buckets: int
  max_distance: int
  eps: float
  act: str
  per_layer_bias: bool
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, x: jax.Array, seg: jax.Array,
               bias: jax.Array | None) -> jax.Array:
    """x [B, S, D], seg [B, S], bias [N, S, S]; None with `per_layer_bias`."""
    width, inner = x.shape[-1], self.heads * self.head_size
    if self.per_layer_bias:
      table = self.param("bias", normal(width**-.5),
                         (self.buckets, self.heads))
      bias = relative_bias(table, seg.shape[1], self.max_distance)

    y = RmsNorm(self.eps, name="norm_1")(x)
    project = lambda name, stddev: Linear(
        inner, self.dtype, stddev, name=name)(y).reshape(
            *y.shape[:-1], self.heads, -1)
    # With these the scores start with unit variance (as in Mesh TensorFlow).
    q = project("q", (width * self.head_size)**-.5)
    k, v = project("k", width**-.5), project("v", width**-.5)
    y = attend(q, k, v, bias, seg).reshape(*x.shape[:-1], inner)
    x = x + Linear(width, self.dtype, inner**-.5, name="out")(y)

    y = RmsNorm(self.eps, name="norm_2")(x)
    return x + GatedMlp(self.ffn, self.act, self.dtype, name="mlp")(y)


class T5Encoder(nn.Module):
  """Token ids to states.

  Attributes:
    vocab: number of rows of the embedding.
    width: D of the states.
    head_size: K; N K may differ from D.
    heads: attention heads N.
    ffn: hidden units of each MLP.
    layers: number of blocks.
    buckets: of relative distances.
    max_distance: all distances from here on share a bucket.
    eps: of every norm.
    act: of the MLP's gate: "gelu" (tanh form), "silu" or "relu".
    per_layer_bias: True for UMT5, where every block has its own bias table;
      False for T5, where one table serves all.
    dtype: compute dtype; norms, scores and softmax are float32. float16
      overflows with the open weights: use bfloat16 or float32.
  """

  vocab: int
  width: int
  head_size: int
  heads: int
  ffn: int
  layers: int
  buckets: int = 32
  max_distance: int = 128
  eps: float = 1e-6
  act: str = "gelu"
  per_layer_bias: bool = False
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, text: types.Text) -> types.TextStates:
    x = nn.Embed(self.vocab, self.width, dtype=self.dtype, name="embed",
                 embedding_init=normal(1.))(text.ids)  # [B, S, D]
    bias = None
    if not self.per_layer_bias:
      table = self.param("bias", normal(self.width**-.5),
                         (self.buckets, self.heads))
      bias = relative_bias(table, text.ids.shape[1], self.max_distance)
    block = T5Block(self.head_size, self.heads, self.ffn, self.buckets,
                    self.max_distance, self.eps, self.act, self.per_layer_bias,
                    self.dtype, parent=None)

    def init_blocks(key):
      init = lambda key: block.init(key, x, text.seg, bias)["params"]
      return jax.vmap(init)(jax.random.split(key, self.layers))

    def layer(x, params):
      return block.apply({"params": params}, x, text.seg, bias), None

    x, _ = jax.lax.scan(layer, x, self.param("blocks", init_blocks))
    x = RmsNorm(self.eps, name="norm")(x)
    return types.TextStates(states=jnp.where(text.seg[..., None] == 0, 0, x),
                            seg=text.seg)


@functools.partial(jax.jit, static_argnums=0)
def init(module: T5Encoder, key: jax.Array) -> types.PyTree:
  """Fresh parameters, float32."""
  ids = jnp.ones((1, 1), jnp.int32)
  return module.init(key, types.Text(ids=ids, seg=ids))["params"]


def encode(module: T5Encoder, params: types.PyTree,
           text: types.Text) -> types.TextStates:
  """States of prompts, float32.

  Args:
    module: the encoder.
    params: its parameters, from `init` or from t5_mapping.to_flax.
    text: ids and segments [B, S]; a segment is one run of positions.

  Returns:
    states [B, S, width], zeros where seg == 0, and the segments of `text`.
  """
  return module.apply({"params": params}, text)


def fields(config: dict) -> dict:
  """The fields of a `T5Encoder` from a config.json of `transformers`.

  Raises:
    ValueError: a key that is missing, or a value that is not supported.
  """
  config = DEFAULTS | config
  if config.get("model_type") not in ("t5", "umt5"):
    raise ValueError(f"model_type is {config.get('model_type')!r}: only t5 and "
                     "umt5 text encoders are supported")
  per_layer_bias = config["model_type"] == "umt5"
  # The reference's default is T5's first form for t5 and gated for umt5.
  form = str(config.get("feed_forward_proj",
                        "gated-gelu" if per_layer_bias else "relu"))
  act = form.removeprefix("gated-")
  if form == act or act not in ACTS:
    raise ValueError(f"feed_forward_proj is {form!r}: only T5 v1.1 and later "
                     f"are supported, gated- with one of {', '.join(ACTS)}")
  for name in SIZES:
    if not isinstance(config.get(name), int) or config[name] < 1:
      raise ValueError(f"{name} is {config.get(name)!r}, it must be a whole "
                       "number from 1")
  buckets, far = (config[f"relative_attention_{name}"]
                  for name in ("num_buckets", "max_distance"))
  if buckets < 4 or far <= buckets // 4:
    raise ValueError(
        f"relative_attention_num_buckets {buckets} must be at least 4 and "
        f"relative_attention_max_distance {far} above a quarter of it")
  return {ours: config[name] for name, ours in SIZES.items()} | dict(
      eps=config["layer_norm_epsilon"], act=act, per_layer_bias=per_layer_bias)


def attend(q: jax.Array, k: jax.Array, v: jax.Array, bias: jax.Array,
           seg: jax.Array) -> jax.Array:
  """Attention within segments with scores q . k + bias, all pairs at once.

  Args:
    q: [B, S, N, K] queries.
    k: [B, S, N, K] keys.
    v: [B, S, N, K] values.
    bias: [N, S, S] float32, queries first.
    seg: [B, S] int32.

  Returns:
    [B, S, N, K] in the dtype of v.
  """
  s = jnp.einsum("blnk,bsnk->bnls", q, k, preferred_element_type=jnp.float32)
  mask = seg[:, None, :, None] == seg[:, None, None, :]
  p = jax.nn.softmax(jnp.where(mask, s + bias, NEVER), -1)  # [B, N, S, S]
  return jnp.einsum("bnls,bsnk->blnk", p.astype(v.dtype), v)


def relative_bias(table: jax.Array, length: int,
                  max_distance: int) -> jax.Array:
  """[N, S, S] float32, queries first, from a table [buckets, N]."""
  distances = np.arange(1 - length, length)
  by_distance = table.astype(jnp.float32)[
      bucket(distances, table.shape[0], max_distance)]  # [2 S - 1, N]
  index = jnp.arange(length)
  offset = index[None, :] - index[:, None] + length - 1  # [S, S]
  return by_distance[offset].transpose(2, 0, 1)


def bucket(distance: np.ndarray, buckets: int,
           max_distance: int) -> np.ndarray:
  """The bucket of distances j - i from query i to key j, int32.

  Computed in float32 and in the reference's order, because rounding decides at
  the border of two buckets.
  """
  half = buckets // 2
  exact = half // 2  # distances below have a bucket each
  far = np.abs(distance)
  ratio = np.log(np.maximum(far, 1).astype(np.float32) / np.float32(exact))
  grown = ratio / np.float32(math.log(max_distance / exact)) * (half - exact)
  large = np.minimum(exact + grown.astype(np.int32), half - 1)
  return (np.where(far < exact, far, large) +
          half * (distance > 0)).astype(np.int32)

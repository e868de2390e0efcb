"""The captioner: any clip or image at its native size becomes text.

  latents -> patches -> encoder -> memory -> text decoder -> ids
                           |
                        queries -> embedding of the clip   } alike where a
  caption -> text encoder -> embedding of the text         } caption is true

Clips are the packed tokens of the diffusion transformer (types.Tokens), so one
model serves all sizes, lengths and aspects. A few learned queries a clip stand
among its tokens; the embedding of the clip is read from them. The contrastive
half is that of CoCa (arXiv:2205.01917), the decoder that of CapPa
(arXiv:2306.07915): models/text/decoder.py.

A position enters twice: by rotation, which tells tokens how they lie to each
other, and as features, which tell where in the picture and when.
"""

import functools
import math

from flax import linen as nn
import jax
import jax.numpy as jnp

from sora_jax import ranges
from sora_jax import types
from sora_jax.models import layers as layers_lib
from sora_jax.models.text import decoder as decoder_lib
from sora_jax.models.text import encoder as encoder_lib

FEATURES = 32  # of each coordinate of a position
FIRST_SCALE = math.log(1 / 0.07)  # of similarities, learned (CLIP)
MOST_SCALE = math.log(100.0)

Seen = tuple[types.TextStates, jax.Array]


class ClipEncoder(nn.Module):
  """Packed tokens of clips to a memory and an embedding of each clip.

  The fields are those of `Captioner`.
  """

  width: int
  layers: int
  heads: int
  ffn: int
  queries: int
  embedding: int
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, tokens: types.Tokens, clips: int) -> Seen:
    """(memory [B, L + clips * queries, D], embeddings [B, clips, E] of length 1).

    Args:
      tokens: x [B, L, P], pos, seg with segments 1 .. clips.
      clips: the most clips of a row.
    """
    dense = lambda name: layers_lib.Dense(self.width, self.dtype, name=name)
    rows = tokens.x.shape[0]
    # 1000 t in time_features: positions are counted, not of a unit interval.
    where = layers_lib.time_features(tokens.pos / 1000, FEATURES)
    x = dense("patch")(tokens.x) + dense("where")(
        where.reshape(*tokens.pos.shape[:-1], -1))
    queries = self.param("queries", nn.initializers.normal(1.),
                         (self.queries, self.width))
    x = jnp.concatenate([x, jnp.tile(queries.astype(x.dtype),
                                     (rows, clips, 1))], axis=1)
    seg = jnp.concatenate([tokens.seg, jnp.tile(
        jnp.repeat(jnp.arange(1, clips + 1), self.queries), (rows, 1))], axis=1)
    pos = jnp.pad(tokens.pos, ((0, 0), (0, clips * self.queries), (0, 0)))
    rope = layers_lib.rotations(pos, self.width // self.heads)
    block = encoder_lib.EncoderBlock(self.heads, self.ffn, self.dtype,
                                     parent=None)

    def init_blocks(key):
      init = lambda key: block.init(key, x, seg, rope)["params"]
      return jax.vmap(init)(jax.random.split(key, self.layers))

    def layer(x, params):
      return block.apply({"params": params}, x, seg, rope), None

    x, _ = jax.lax.scan(jax.checkpoint(layer, policy=layers_lib.KEEP), x,
                        self.param("blocks", init_blocks))
    x = layers_lib.LayerNorm(name="norm")(x)
    read = x[:, tokens.x.shape[1]:].reshape(rows, clips, -1)
    out = layers_lib.Dense(self.embedding, self.dtype, name="embedding")(read)
    return types.TextStates(x, seg), unit(out)


class Captioner(nn.Module):
  """The networks of a captioner.

  Attributes:
    patch: of a token, in latents of the VAE (t, h, w).
    patch_channels: P, numbers of a token.
    vocab: size of the tokenizer's vocabulary.
    width: D of the encoder and the decoder.
    layers: blocks of the encoder.
    decoder_layers: blocks of the decoder.
    heads: attention heads of both.
    ffn: hidden units of each MLP.
    text_width: of the text encoder.
    text_layers: of the text encoder.
    queries: learned ones of a clip.
    embedding: E, numbers by which clips and texts are compared.
    length: the most ids of a caption, EOS included.
    f_ref: the frame rate at which latents are one time position apart.
    most_tokens: of the longest clips that it was trained on.
    dtype: compute dtype.
  """

  patch: tuple[int, int, int]
  patch_channels: int
  vocab: int
  width: int
  layers: int
  decoder_layers: int
  heads: int
  ffn: int
  text_width: int
  text_layers: int
  queries: int = 4
  embedding: int = 128
  length: int = 128
  f_ref: float = 8.0
  most_tokens: int = 320
  dtype: jnp.dtype = jnp.float32

  def __post_init__(self):
    size = ranges.whole(1)
    ranges.check("captioner", self, vocab=size, width=size, layers=size,
                 decoder_layers=size, heads=size, ffn=size, text_width=size,
                 text_layers=size, queries=size, embedding=size,
                 length=ranges.whole(2), f_ref=ranges.above(0),
                 most_tokens=size)
    for name in ("width", "text_width"):
      if getattr(self, name) % (2 * self.heads):
        raise ValueError(f"captioner.heads is {self.heads}: {name}, "
                         f"{getattr(self, name)}, must divide into heads of an "
                         "even size")
    if self.width // self.heads < 6:
      raise ValueError(f"captioner.width is {self.width}: its {self.heads} heads "
                       "need a size of 6 or more for three coordinates")
    super().__post_init__()

  def setup(self) -> None:
    self.encoder = ClipEncoder(self.width, self.layers, self.heads, self.ffn,
                               self.queries, self.embedding, self.dtype)
    self.decoder = text_decoder(self)
    self.text = encoder_lib.TextEncoder(
        self.vocab, self.text_width, self.text_layers, self.heads,
        4 * self.text_width, self.dtype)
    self.text_embedding = layers_lib.Dense(self.embedding, self.dtype)
    self.scale = self.param("scale", nn.initializers.constant(FIRST_SCALE), (1,))

  def __call__(self, tokens: types.Tokens, text: types.Text, kind: jax.Array,
               parallel: jax.Array, clips: int
               ) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """What training needs of packed clips and their captions.

    Args:
      tokens: of the clips.
      text: their captions, of the same segments.
      kind: [B, S] int32, of the caption at each position.
      parallel: [B, S] bool, whether it is read in parallel.
      clips: the most clips of a row.

    Returns:
      (logits [B, S, vocab], embeddings of clips and of captions [B, clips, E],
      the factor of their products).
    """
    memory, seen = self.encoder(tokens, clips)
    return (self.decoder(text, kind, parallel, memory), seen,
            self.embed_text(text, clips),
            jnp.exp(jnp.minimum(self.scale[0], MOST_SCALE)))

  def see(self, tokens: types.Tokens, clips: int) -> Seen:
    """The memory and the embeddings of clips; as `ClipEncoder`."""
    return self.encoder(tokens, clips)

  def embed_text(self, text: types.Text, clips: int) -> jax.Array:
    """Embeddings [B, clips, E] of packed texts; any where there is none."""
    states = self.text(text).states
    of = text.seg[:, None] == jnp.arange(1, clips + 1)[:, None]  # [B, clips, S]
    share = of / jnp.maximum(of.sum(-1, keepdims=True), 1)
    return unit(self.text_embedding(
        jnp.einsum("bms,bsd->bmd", share, states.astype(jnp.float32))))


def unit(x: jax.Array) -> jax.Array:
  """x [.., E] at length 1, float32."""
  x = x.astype(jnp.float32)
  return x * jax.lax.rsqrt(jnp.sum(x * x, -1, keepdims=True) + 1e-12)


@functools.partial(jax.jit, static_argnums=0)
def init(captioner: Captioner, key: jax.Array) -> types.PyTree:
  """Fresh parameters, float32."""
  ids = jnp.ones((1, 1), jnp.int32)
  tokens = types.Tokens(jnp.zeros((1, 1, captioner.patch_channels)),
                        jnp.zeros((1, 1, 3)), ids)
  return captioner.init(key, tokens, types.Text(ids, ids), ids, ids > 1,
                        1)["params"]


def read(captioner: Captioner, params: types.PyTree, tokens: types.Tokens,
         text: types.Text, kind: jax.Array, parallel: jax.Array, clips: int
         ) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
  """`Captioner.__call__` as a pure function."""
  return captioner.apply({"params": params}, tokens, text, kind, parallel,
                         clips)


@functools.partial(jax.jit, static_argnums=0)
def write(captioner: Captioner, params: types.PyTree, tokens: types.Tokens,
          kinds: jax.Array) -> jax.Array:
  """Captions [B, K, length] int32 of one clip a row, whose tokens have segment 1.

  Args:
    captioner: the module.
    params: its parameters.
    tokens: of the clips, each of which is looked at once.
    kinds: [K] int32, of the captions that each clip gets.
  """
  memory, _ = captioner.apply({"params": params}, tokens, 1,
                              method=captioner.see)
  rows, count = memory.seg.shape[0], len(kinds)
  each = jax.tree.map(lambda x: jnp.repeat(x, count, axis=0), memory)
  ids = decoder_lib.write(text_decoder(captioner), params["decoder"], each,
                          jnp.tile(kinds, rows))
  return ids.reshape(rows, count, -1)


@functools.partial(jax.jit, static_argnums=0)
def embed_clips(captioner: Captioner, params: types.PyTree,
                tokens: types.Tokens) -> jax.Array:
  """Embeddings [B, E] of one clip a row."""
  return captioner.apply({"params": params}, tokens, 1,
                         method=captioner.see)[1][:, 0]


@functools.partial(jax.jit, static_argnums=0)
def embed_texts(captioner: Captioner, params: types.PyTree,
                text: types.Text) -> jax.Array:
  """Embeddings [B, E] of one text a row."""
  return captioner.apply({"params": params}, text, 1,
                         method=captioner.embed_text)[:, 0]


def text_decoder(captioner: Captioner) -> decoder_lib.TextDecoder:
  """The decoder of a captioner as a module of its own."""
  return decoder_lib.TextDecoder(
      captioner.vocab, captioner.width, captioner.decoder_layers,
      captioner.heads, captioner.ffn, captioner.length, dtype=captioner.dtype)

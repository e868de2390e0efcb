"""A small text decoder: ids of a caption, one after the other, given a memory.

A pre-norm transformer over packed texts. A text is a segment that attends to
itself and to the states of its segment in the memory: those of a clip
(models/captioner.py) or of a prompt. It is read in one of two ways:

  * one by one: a token sees those before it, and is told the next one;
  * in parallel (CapPa, arXiv:2306.07915): a token sees none of the text, so
    that all must be read from the memory.

`read` gives the logits of packed texts, `write` draws texts of a memory with
cached keys and values.
"""

import functools
from typing import NamedTuple

from flax import linen as nn
import jax
import jax.numpy as jnp

from sora_jax import ranges
from sora_jax import types
from sora_jax.models import layers as layers_lib
from sora_jax.models.text import decoder_block
from sora_jax.models.text import encoder as encoder_lib

EOS = 1  # of text/tokenizer.py: the id that ends a text

# Keys and values of each layer.
Cache = list[decoder_block.KeyValues]


class Reading(NamedTuple):
  """How the positions of packed texts are read.

  Attributes:
    seg: [B, S] int32, the segment of each position.
    place: [B, S] int32, the place of a position in its text, from 0.
    parallel: [B, S] bool, whether nothing of the text is seen.
  """

  seg: jax.Array
  place: jax.Array
  parallel: jax.Array


class TextDecoder(nn.Module):
  """Texts from memories.

  Attributes:
    vocab: size of the tokenizer's vocabulary.
    width: D, of its states and of the memory's.
    layers: number of blocks.
    heads: attention heads.
    ffn: hidden units of each MLP.
    length: the most ids of a text, EOS included.
    kinds: of texts that can be asked for, such as short and descriptive.
    dtype: compute dtype.
  """

  vocab: int
  width: int
  layers: int
  heads: int
  ffn: int
  length: int = 128
  kinds: int = 2
  dtype: jnp.dtype = jnp.float32

  def __post_init__(self):
    size = ranges.whole(1)
    ranges.check("text_decoder", self, vocab=size, width=size, layers=size,
                 heads=size, ffn=size, length=ranges.whole(2), kinds=size)
    if self.width % self.heads:
      raise ValueError(f"text_decoder.heads is {self.heads}: it must divide "
                       f"width, {self.width}")
    super().__post_init__()

  def setup(self) -> None:
    table = lambda rows, std: nn.Embed(
        rows, self.width, dtype=self.dtype,
        embedding_init=nn.initializers.normal(std))
    self.embed = table(self.vocab, self.width**-.5)  # of ids, in and out
    self.place = table(self.length, self.width**-.5)
    self.begin = table(self.kinds, self.width**-.5)  # of a text, by its kind
    self.unseen = table(1, self.width**-.5)  # stands for every id in parallel
    self.norm = layers_lib.LayerNorm()
    self.blocks = self.param("blocks", self._init_blocks)

  def __call__(self, text: types.Text, kind: jax.Array, parallel: jax.Array,
               memory: types.TextStates) -> jax.Array:
    """Logits [B, S, vocab] float32 of the id at each position; see `read`."""
    how = Reading(text.seg, encoder_lib.positions(text.seg), parallel)
    before = jnp.pad(text.ids[:, :-1], ((0, 0), (1, 0)))
    x = jnp.where((how.place == 0)[..., None], self.begin(kind),
                  self.embed(before))
    hidden = jnp.where((how.place == 0)[..., None], self.begin(kind),
                       self.unseen(jnp.zeros_like(kind)))
    x = jnp.where(parallel[..., None], hidden, x) + self._places(how.place)
    index = jnp.arange(text.seg.shape[1])
    mask = (how.seg[:, :, None] == how.seg[:, None, :]) & (
        parallel[:, :, None] | (index[:, None] >= index[None, :]))
    block = self._block()

    def layer(x, params):
      keys = block.apply({"params": params}, memory.states,
                         method=block.remember)
      return block.apply({"params": params}, x, mask, text.seg, keys,
                         memory.seg), None

    x, _ = jax.lax.scan(jax.checkpoint(layer, policy=layers_lib.KEEP), x, self.blocks)
    return self._logits(x)

  def start(self, memory: types.TextStates) -> tuple[Cache, Cache]:
    """(keys and values of the memory, empty ones of the text) of each layer.

    Heads stand before places, and every layer is an array of its own: the step
    reads them without a copy.
    """
    empty = jnp.zeros((memory.seg.shape[0], self.heads, self.length,
                       self.width // self.heads), self.dtype)
    remember = decoder_block.DecoderBlock.remember
    keys = [self._layer(i, memory.states, method=remember)
            for i in range(self.layers)]
    return ([tuple(map(decoder_block.heads_first, pair)) for pair in keys],
            [(empty, empty)] * self.layers)

  def step(self, ids: jax.Array, kind: jax.Array, at: jax.Array,
           memory: Cache, there: jax.Array, cache: Cache
           ) -> tuple[jax.Array, Cache]:
    """Logits [B, vocab] of the id at place `at`, and the cache with it.

    Args:
      ids: [B] int32 at the place before; not looked at where `at` is 0.
      kind: [B] int32.
      at: the place.
      memory, cache: of `start`.
      there: [B, K] bool, where the memory has something.
    """
    x = jnp.where(at == 0, self.begin(kind), self.embed(ids))
    x, cache = x[:, None] + self._places(at), list(cache)
    for i in range(self.layers):
      x, cache[i] = self._layer(i, x, at, memory[i], there, cache[i],
                                method=decoder_block.DecoderBlock.one)
    return self._logits(x)[:, 0], cache

  def _layer(self, i, *args, method):
    return self._block().apply(
        {"params": jax.tree.map(lambda x: x[i], self.blocks)}, *args,
        method=method)

  def _block(self):
    return decoder_block.DecoderBlock(self.width, self.heads, self.ffn,
                                      self.dtype, parent=None)

  def _init_blocks(self, key):
    x, mask = jnp.zeros((1, 1, self.width)), jnp.ones((1, 1, 1), bool)
    seg, block = jnp.ones((1, 1), jnp.int32), self._block()

    def run(block):
      return block(x, mask, seg, block.remember(x), seg)

    init = lambda key: nn.init(run, block)(key)["params"]
    return jax.vmap(init)(jax.random.split(key, self.layers))

  def _places(self, place):
    return self.place(jnp.minimum(place, self.length - 1))

  def _logits(self, x):
    table = self.embed.embedding.astype(self.dtype)
    return (self.norm(x).astype(self.dtype) @ table.T).astype(jnp.float32)


@functools.partial(jax.jit, static_argnums=0)
def init(decoder: TextDecoder, key: jax.Array) -> types.PyTree:
  """Fresh parameters, float32."""
  ids = jnp.ones((1, 1), jnp.int32)
  return decoder.init(
      key, types.Text(ids, ids), jnp.zeros_like(ids), ids > 1,
      types.TextStates(jnp.zeros((1, 1, decoder.width)), ids))["params"]


def read(decoder: TextDecoder, params: types.PyTree, text: types.Text,
         kind: jax.Array, parallel: jax.Array,
         memory: types.TextStates) -> jax.Array:
  """Logits [B, S, vocab] float32 of the id that stands at each position.

  Args:
    decoder: the module.
    params: its parameters.
    text: packed texts; a segment is one run of positions.
    kind: [B, S] int32, of the text at each position.
    parallel: [B, S] bool, whether the text is read in parallel.
    memory: packed alike, of the same segments.
  """
  return decoder.apply({"params": params}, text, kind, parallel, memory)


def write(decoder: TextDecoder, params: types.PyTree, memory: types.TextStates,
          kind: jax.Array, key: jax.Array | None = None,
          temperature: float = 0.0) -> jax.Array:
  """Texts [B, length] int32, each ended by EOS and filled up with zeros.

  Args:
    decoder: the module.
    params: its parameters.
    memory: one in each row, of segment 1.
    kind: [B] int32.
    key: of what is drawn; needed with a temperature.
    temperature: 0 takes the likeliest id each time.
  """
  apply = functools.partial(decoder.apply, {"params": params})
  keys, cache = apply(memory, method=decoder.start)
  rows = memory.seg.shape[0]

  def unfinished(carry):
    at, _, _, done = carry
    return (at < decoder.length) & ~jnp.all(done)

  def one(carry):
    at, ids, cache, done = carry
    last = jnp.take(ids, jnp.maximum(at - 1, 0), axis=1)
    logits, cache = apply(last, kind, at, keys, memory.seg > 0, cache,
                          method=decoder.step)
    if temperature:
      assert key is not None
      new = jax.random.categorical(jax.random.fold_in(key, at),
                                   logits / temperature)
    else:
      new = jnp.argmax(logits, -1)
    # The last place ends a text that has not ended.
    new = jnp.where(at == decoder.length - 1, EOS, new)
    new = jnp.where(done, 0, new).astype(jnp.int32)
    ids = jax.lax.dynamic_update_slice_in_dim(ids, new[:, None], at, 1)
    return at + 1, ids, cache, done | (new == EOS)

  return jax.lax.while_loop(unfinished, one, (
      jnp.int32(0), jnp.zeros((rows, decoder.length), jnp.int32), cache,
      jnp.zeros((rows,), bool)))[1]

"""The diffusion transformer over spacetime patches.

Report: "Sora is a diffusion transformer ... given input noisy patches (and
conditioning information like text prompts), it's trained to predict the
original clean patches."

The layers are those of Wan 2.x (arXiv:2503.20314), so its open weights load:

  x = x + gate_1 * self_attention(modulate(norm(x), shift_1, scale_1))
  x = x + cross_attention(norm(x), text)
  x = x + gate_2 * mlp(modulate(norm(x), shift_2, scale_2))

with shifts, scales and gates from one time MLP plus a learned table per block,
RMS norm of queries and keys over all heads, and 3D RoPE at given positions.
Every token has its own time: a row has few distinct times, and each token the
index of one.

Modules are used as pure functions: `init(dit, key)` makes a plain dict in
which the parameters of the blocks are stacked along a leading layer axis, and
`denoise` runs them in one scan.
"""

import dataclasses
import functools
import math

from flax import linen as nn
import jax
from jax import ad_checkpoint
import jax.numpy as jnp

from sora_jax import mesh as mesh_lib
from sora_jax import ranges
from sora_jax import types
from sora_jax.geometry import sizes
from sora_jax.models import layers as layers_lib
from sora_jax.models.attention import attend

POLICIES = {
    "dots": layers_lib.KEEP,
    # Keep only the input of each block and its attention.
    "full": jax.checkpoint_policies.save_only_these_names("attention"),
    # The same, in the host's memory.
    "offload": jax.checkpoint_policies.save_and_offload_only_these_names(
        names_which_can_be_saved=[],
        names_which_can_be_offloaded=["layer", "attention"],
        offload_src="device", offload_dst="pinned_host"),
}


class SelfAttention(nn.Module):
  """Attention of the tokens of a segment to each other."""

  heads: int
  eps: float
  dtype: jnp.dtype
  backend: str

  @nn.compact
  def __call__(self, x: jax.Array, seg: jax.Array | None, rope: layers_lib.Rope,
               block_mask: types.PyTree) -> jax.Array:
    width = x.shape[-1]
    q = QueryKey(self.heads, self.eps, self.dtype, name="q")(x)
    k = QueryKey(self.heads, self.eps, self.dtype, name="k")(x)
    v = layers_lib.Dense(width, self.dtype, name="v")(x)
    v = v.reshape(q.shape)  # [B, L, N, K]
    q = layers_lib.rotate(q, rope).astype(self.dtype)
    k = layers_lib.rotate(k, rope).astype(self.dtype)
    out = attend.attend(q, k, v, seg, seg, self.backend, "all",
                        block_mask)
    return layers_lib.Dense(width, self.dtype, name="out")(out.reshape(x.shape))


class CrossAttention(nn.Module):
  """Attention of the tokens of a segment to the text of that segment."""

  heads: int
  eps: float
  dtype: jnp.dtype
  backend: str

  @nn.compact
  def __call__(self, x: jax.Array, seg: jax.Array | None, text: jax.Array,
               text_seg: jax.Array, block_mask: types.PyTree) -> jax.Array:
    width = x.shape[-1]
    seg = _segments(x, seg)
    q = QueryKey(self.heads, self.eps, self.dtype, name="q")(x)
    k = QueryKey(self.heads, self.eps, self.dtype, name="k")(text)
    v = layers_lib.Dense(width, self.dtype, name="v")(text)
    out = attend.attend(q.astype(self.dtype), k.astype(self.dtype),
                        v.reshape(k.shape), seg, text_seg, self.backend,
                        "queries", block_mask)
    # Starts at zero, like the gates of the other two branches (PixArt-alpha,
    # arXiv:2310.00426).
    return layers_lib.Dense(width, self.dtype, layers_lib.zeros, name="out")(
        out.reshape(x.shape))


class QueryKey(nn.Module):
  """Projection with RMS norm over all heads: [B, L, D] to [B, L, N, K] float32.

  The result has the order of `layers.rotate`, the parameters have the
  reference's.
  """

  heads: int
  eps: float
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    width = x.shape[-1]
    param = lambda name, init, *shape: layers_lib.halves(
        self.param(name, init, shape), self.heads)
    kernel = param("kernel", layers_lib.xavier, width, width)
    bias = param("bias", layers_lib.zeros, width)
    scale = param("scale", nn.initializers.ones_init(), width)
    x = layers_lib.dense(x, kernel, bias, self.dtype)
    x = layers_lib.rms_norm(x, scale, self.eps)
    return x.reshape(*x.shape[:-1], self.heads, -1)


class Block(nn.Module):
  """One layer; the arguments are those of `DiT` with everything embedded."""

  heads: int
  ffn: int
  eps: float
  dtype: jnp.dtype
  backend: str = attend.AUTO

  @nn.compact
  def __call__(self, x: jax.Array, seg: jax.Array | None, rope: layers_lib.Rope,
               mod: jax.Array, time_index: jax.Array, text: jax.Array,
               text_seg: jax.Array,
               block_masks: tuple[types.PyTree, types.PyTree] = (None, None)
               ) -> jax.Array:
    """x [B, L, D], mod [B, M, 6, D], text [B, S, D] -> [B, L, D]."""
    width = x.shape[-1]
    scale_shift_table = self.param("table", layers_lib.zeros, (6, width))
    shift_1, scale_1, gate_1, shift_2, scale_2, gate_2 = (
        layers_lib.gather(mod[:, :, i] + scale_shift_table[i], time_index)
        for i in range(6))

    with jax.named_scope("self_attention"):
      y = layers_lib.modulate(
          layers_lib.layer_norm(x, self.eps), shift_1, scale_1)
      y = SelfAttention(self.heads, self.eps, self.dtype, self.backend,
                        name="self")(y, seg, rope, block_masks[0])
      x = (x + y * gate_1).astype(self.dtype)
    with jax.named_scope("cross_attention"):
      y = layers_lib.LayerNorm(self.eps, name="norm")(x)
      x = x + CrossAttention(self.heads, self.eps, self.dtype, self.backend,
                             name="cross")(y, seg, text, text_seg,
                                           block_masks[1])
    with jax.named_scope("mlp"):
      y = layers_lib.modulate(
          layers_lib.layer_norm(x, self.eps), shift_2, scale_2)
      y = layers_lib.Mlp(self.ffn, width, self.dtype, name="mlp")(y)
      x = (x + y * gate_2).astype(self.dtype)
    return x


class DiT(nn.Module):
  """The diffusion transformer.

  Attributes:
    layers: number of blocks.
    heads: attention heads N.
    head_size: K; the width D is N K.
    ffn: hidden units of each block's MLP.
    patch_channels: P of the tokens that come in.
    out_channels: P of the prediction.
    text_width: width of the text states.
    freq_dim: size of the sinusoidal time features.
    eps: of every norm.
    dtype: compute dtype; parameters, norms, softmax and time are float32.
    remat: "none" or one of POLICIES, what the backward pass computes again.
    attention: the backend, one of attention.BACKENDS.
    patch: (pt, ph, pw), the latents that make one token.
  """

  layers: int
  heads: int
  head_size: int
  ffn: int
  patch_channels: int
  out_channels: int
  text_width: int
  freq_dim: int = 256
  eps: float = 1e-6
  dtype: jnp.dtype = jnp.float32
  remat: str = "dots"
  attention: str = attend.AUTO
  patch: sizes.Patch = sizes.DEFAULT_PATCH

  def __post_init__(self):
    size, even = ranges.whole(1), ranges.even()
    ranges.check(
        "transformer", self, layers=size, heads=size, head_size=even, ffn=size,
        patch_channels=size, out_channels=size, text_width=size, freq_dim=even,
        eps=ranges.above(0, 1), remat=ranges.one_of("none", *POLICIES),
        patch=ranges.every(size, 3))
    attend.require_backend(self.attention)
    super().__post_init__()

  @nn.compact
  def __call__(self, tokens: types.Tokens, time: types.Times,
               text: types.TextStates) -> jax.Array:
    width = self.heads * self.head_size
    dense = lambda size, name, init=layers_lib.xavier: layers_lib.Dense(
        size, self.dtype, init, name=name)

    x = _along(dense(width, "patch")(_along(tokens.x)))  # [B, L, D]
    emb = layers_lib.time_features(time.t, self.freq_dim)
    emb = layers_lib.Dense(width, name="time_1")(emb)
    emb = layers_lib.Dense(width, name="time_2")(nn.silu(emb))  # [B, M, D]
    mod = layers_lib.Dense(6 * width, kernel_init=layers_lib.zeros,
                           name="time_mod")(nn.silu(emb))
    mod = mod.reshape(*emb.shape[:2], 6, width)
    states = layers_lib.Mlp(width, width, self.dtype, name="text")(text.states)
    rope = layers_lib.rotations(_along(tokens.pos), self.head_size)
    # Made once here and not in every layer.
    block_masks = tuple(
        attend.make_block_mask(q_seg, kv_seg, self.heads, self.attention, split)
        for q_seg, kv_seg, split in (
            (tokens.seg, tokens.seg, "all"),
            (_segments(x, tokens.seg), text.seg, "queries")))

    block = Block(self.heads, self.ffn, self.eps, self.dtype, self.attention,
                  parent=None)
    args = (tokens.seg, rope, mod, _along(time.time_index), states, text.seg,
            block_masks)

    def init_blocks(key):
      init = lambda key: block.init(key, x, *args)["params"]
      return jax.lax.map(init, jax.random.split(key, self.layers))

    stack = self.param("blocks", init_blocks)

    x = scan(block, stack, x, args, self.remat)

    scale_shift_table = self.param("table", layers_lib.zeros, (2, width))
    shift, scale = (layers_lib.gather(emb + scale_shift_table[i],
                                      time.time_index) for i in range(2))
    x = layers_lib.modulate(layers_lib.layer_norm(x, self.eps), shift, scale)
    return dense(self.out_channels, "head", layers_lib.zeros)(x).astype(
        jnp.float32)


def scan(block: Block, stack: types.PyTree, x: jax.Array, args: tuple,
         remat: str) -> jax.Array:
  """x after all blocks, in one scan over their stacked parameters."""

  def layer(x, params):
    x = ad_checkpoint.checkpoint_name(x, "layer")
    # Casts before it gathers over fsdp: half the bytes in bfloat16.
    params = mesh_lib.gathered(params, mesh_lib.DIT_RULES, "blocks",
                               block.dtype)
    return _along(block.apply({"params": params}, x, *args)), None

  if remat != "none":
    layer = jax.checkpoint(layer, policy=POLICIES[remat], prevent_cse=False)
  return jax.lax.scan(layer, x, stack)[0]


def _segments(x: jax.Array, seg: jax.Array | None) -> jax.Array:
  """seg; where it is None, ones: each row of x [B, L, ..] is one clip."""
  return jnp.ones(x.shape[:2], jnp.int32) if seg is None else seg


def _along(x: jax.Array) -> jax.Array:
  """x [B, L, ..], split over the mesh along rows and tokens."""
  return mesh_lib.constrain(x, mesh_lib.ROWS, mesh_lib.TOKENS,
                            *(None,) * (x.ndim - 2))


@functools.partial(jax.jit, static_argnums=0)
def init(dit: DiT, key: jax.Array) -> types.PyTree:
  """Fresh parameters, float32; with them the model predicts zero."""
  tokens = types.Tokens(x=jnp.zeros((1, 1, dit.patch_channels)),
                        pos=jnp.zeros((1, 1, 3)),
                        seg=jnp.ones((1, 1), jnp.int32))
  time = types.Times(t=jnp.zeros((1, 1)),
                     time_index=jnp.zeros((1, 1), jnp.int32))
  text = types.TextStates(states=jnp.zeros((1, 1, dit.text_width)),
                          seg=jnp.ones((1, 1), jnp.int32))
  return dit.init(key, tokens, time, text)["params"]


def denoise(dit: DiT, params: types.PyTree, tokens: types.Tokens,
            time: types.Times, text: types.TextStates) -> jax.Array:
  """The prediction for noisy tokens.

  Args:
    dit: the module.
    params: its parameters, from `init` or from a model folder.
    tokens: noisy tokens, L in each row.
    time: the time of each token.
    text: the encoded prompts.

  Returns:
    [B, L, out_channels] float32: x0, eps or velocity, as the model was
    trained.
  """
  length = tokens.x.shape[1]
  extra = -length % mesh_lib.size(mesh_lib.TOKENS)
  if extra:  # padding: then any length divides over any mesh
    fill = lambda x: jnp.pad(x, [(0, 0), (0, extra)] + [(0, 0)] * (x.ndim - 2))
    tokens = dataclasses.replace(tokens, seg=_segments(tokens.x, tokens.seg))
    tokens = jax.tree.map(fill, tokens)
    time = dataclasses.replace(time, time_index=fill(time.time_index))
  return dit.apply({"params": params}, tokens, time, text)[:, :length]


def count(params: types.PyTree) -> int:
  """The number of parameters."""
  return sum(math.prod(p.shape) for p in jax.tree.leaves(params))

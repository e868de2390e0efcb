"""The transformer and the text encoder: what must not change their outputs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sora_jax import mesh
from sora_jax import types
from sora_jax.formats import own_mapping
from sora_jax.formats import weight_mapping
from sora_jax.models import dit
from sora_jax.models import layers
from sora_jax.models.text import encoder

pytestmark = pytest.mark.quick_compile

DIT = dit.DiT(layers=2, heads=2, head_size=16, ffn=48, patch_channels=6,
              out_channels=6, text_width=12, freq_dim=16)
TEXT = encoder.TextEncoder(vocab=40, width=16, layers=2, heads=2, ffn=32)
LENGTHS = (12, 5, 8)  # tokens of the clips of a row, before 3 of padding
PROMPTS = (4, 3, 6)  # tokens of their prompts, before 2 of padding


def perturbed(params, seed=1):
  """Parameters away from the start, where gates and output are zero."""
  leaves, tree = jax.tree.flatten(params)
  rng = np.random.default_rng(seed)
  noise = lambda x: .2 * rng.standard_normal(x.shape).astype(np.float32)
  return tree.unflatten([np.asarray(x) + noise(x) for x in leaves])


@pytest.fixture(name="params", scope="module")
def _params():
  return perturbed(dit.init(DIT, jax.random.key(0)))


def pack(lengths, padding):
  seg = np.repeat(np.arange(1, len(lengths) + 1), lengths)
  return np.pad(seg, (0, padding))[None].astype(np.int32)


def inputs(seed=0):
  """A row of three clips of one time each, one of them with known tokens."""
  rng = np.random.default_rng(seed)
  draw = lambda *s: rng.standard_normal(s).astype(np.float32)
  seg, text_seg = pack(LENGTHS, 3), pack(PROMPTS, 2)
  time_index = seg.copy()
  time_index[0, :3] = 0
  return (types.Tokens(x=draw(1, 28, 6), pos=5 * draw(1, 28, 3), seg=seg),
          types.Times(t=np.array([[.01, .3, .7, .9]], np.float32),
                      time_index=time_index),
          types.TextStates(states=draw(1, 15, 12), seg=text_seg))


def run(params, *args, module=DIT):
  return np.asarray(jax.jit(lambda *a: dit.denoise(module, *a))(params, *args))


def close(a, b, limit=1e-5):
  a, b = np.asarray(a), np.asarray(b)
  assert np.max(np.abs(a - b)) <= limit * np.max(np.abs(b))


@pytest.mark.slow
def test_predicts_zero_at_first_and_counts_parameters():
  params = jax.eval_shape(lambda: dit.init(
      dit.DiT(layers=6, heads=6, head_size=64, ffn=1536, patch_channels=64,
              out_channels=64, text_width=256, freq_dim=128), jax.random.key(0)))
  assert dit.count(params) == 15_594_688
  params = dit.init(DIT, jax.random.key(0))
  assert not np.any(run(params, *inputs()))
  assert all(np.any(x) for name, x in params["blocks"]["self"]["q"].items()
             if name != "bias")


@pytest.mark.slow
def test_scan_is_unrolled(params):
  """And no remat policy changes gradients."""
  tokens, time, text = inputs()

  def draw(*shape, seed=3):
    rng = np.random.default_rng(seed)
    return rng.standard_normal(shape).astype(np.float32)

  block = dit.Block(DIT.heads, DIT.ffn, DIT.eps, DIT.dtype, parent=None)
  args = (tokens.seg, layers.rotations(tokens.pos, DIT.head_size),
          draw(1, 4, 6, 32), time.time_index, draw(1, 15, 32), text.seg)

  def unrolled(stack, x):
    first, second = (jax.tree.map(lambda p, i=i: p[i], stack) for i in range(2))
    x = block.apply({"params": first}, x, *args)
    return block.apply({"params": second}, x, *args)

  def both(f):
    loss = lambda *a: jnp.sum(jnp.sin(f(*a)))
    return jax.jit(jax.value_and_grad(loss, (0, 1)))(
        params["blocks"], draw(1, 28, 32, seed=4))

  wanted = both(unrolled)
  for remat in dit.POLICIES:
    found = both(lambda *a, remat=remat: dit.scan(block, *a, args, remat))
    jax.tree.map(lambda a, b: close(a, b, 1e-4), found, wanted)


def test_permuted_tokens_permute_the_prediction(params):
  tokens, time, text = inputs()
  order = np.random.default_rng(2).permutation(tokens.x.shape[1])
  move = lambda tree: jax.tree.map(lambda x: x[:, order], tree)
  moved = time.replace(time_index=move(time.time_index))
  found = run(params, move(tokens), moved, text)
  close(found, run(params, tokens, time, text)[:, order])


def test_padding_content_changes_nothing(params):
  tokens, time, text = inputs()
  wanted = run(params, tokens, time, text)
  real = tokens.seg[0] > 0
  wild = lambda x, seg: np.where((seg > 0)[..., None], x, 1e4).astype(x.dtype)
  tokens = tokens.replace(x=wild(tokens.x, tokens.seg),
                          pos=wild(tokens.pos, tokens.seg))
  text = text.replace(states=wild(text.states, text.seg))
  found = run(params, tokens, time, text)
  assert np.all(np.isfinite(found))
  np.testing.assert_array_equal(found[:, real], wanted[:, real])


def test_a_clip_alone_is_a_clip_packed(params):
  tokens, time, text = inputs()
  packed = run(params, tokens, time, text)
  for s in (1, 3):
    mine, words = tokens.seg[0] == s, text.seg[0] == s
    pick = lambda tree, mask: jax.tree.map(lambda x: x[:, mask], tree)
    alone = run(params, pick(tokens, mine),
                types.Times(t=time.t, time_index=time.time_index[:, mine]),
                pick(text, words))
    close(alone, packed[:, mine])


def test_a_row_of_one_clip_needs_no_segments(params):
  tokens, time, text = inputs()
  ones = tokens.replace(seg=np.ones_like(tokens.seg))
  first = text.replace(seg=np.asarray(text.seg == 1, np.int32))
  close(run(params, tokens.replace(seg=None), time, first),
        run(params, ones, time, first))


@pytest.mark.slow
def test_a_time_for_each_token_is_a_table_of_times(params):
  tokens, time, text = inputs()
  wanted = run(params, tokens, time, text)
  each = np.take_along_axis(time.t, time.time_index, 1)
  index = np.arange(each.shape[1], dtype=np.int32)[None]
  close(run(params, tokens, types.Times(t=each, time_index=index), text), wanted)
  one = types.Times(t=time.t[:, :1], time_index=np.zeros_like(time.time_index))
  many = types.Times(t=np.repeat(time.t[:, :1], 28, 1), time_index=index)
  close(run(params, tokens, one, text), run(params, tokens, many, text))


@pytest.mark.parametrize("count", [1, 5, 100])
def test_take_and_its_gradient(count):
  rng = np.random.default_rng(0)
  table = rng.standard_normal((2, count, 3)).astype(np.float32)
  index = rng.integers(0, count, (2, 40))
  wave = np.cos(np.arange(240.)).reshape(2, 40, 3).astype(np.float32)
  plain = lambda t: jnp.take_along_axis(t, index[..., None], 1)
  found = layers.gather(table, index)
  np.testing.assert_array_equal(found, plain(table))
  grad = lambda f: jax.grad(lambda t: jnp.sum(f(t) * wave))(table)
  close(grad(lambda t: layers.gather(t, index)), grad(plain))


@pytest.mark.slow
def test_text_encoder_keeps_prompts_apart():
  params = perturbed(encoder.init(TEXT, jax.random.key(0)))
  seg = pack(PROMPTS, 2)
  ids = np.random.default_rng(0).integers(1, 40, seg.shape).astype(np.int32)
  encode = jax.jit(lambda ids, seg: encoder.encode(
      TEXT, params, types.Text(ids=ids, seg=seg)))
  packed = encode(ids, seg)
  assert packed.states.shape == (1, 15, 16)
  np.testing.assert_array_equal(packed.seg, seg)
  np.testing.assert_array_equal(
      encoder.positions(seg)[0],
      [0, 1, 2, 3, 0, 1, 2, 0, 1, 2, 3, 4, 5, 0, 1])
  second = seg[0] == 2
  alone = encode(ids[:, second], np.ones((1, sum(second)), np.int32))
  close(alone.states, packed.states[:, second])
  other = np.where(seg > 0, ids, 7).astype(np.int32)
  np.testing.assert_array_equal(encode(other, seg).states[:, seg[0] > 0],
                                packed.states[:, seg[0] > 0])


def test_text_encoder_names_there_and_back():
  params = encoder.init(TEXT, jax.random.key(0))
  where = own_mapping.mapping(encoder.init, TEXT)
  weights = weight_mapping.from_flax(params, where)
  assert "blocks.mlp.linear_1.kernel" in weights
  back = weight_mapping.to_flax(weights, where)
  jax.tree.map(np.testing.assert_array_equal, back, params)
  with pytest.raises(ValueError, match="embed.embedding has shape"):
    weight_mapping.to_flax(weights, own_mapping.mapping(
        encoder.init, TEXT.clone(vocab=41)))
  with pytest.raises(ValueError, match="extra is not part"):
    weight_mapping.to_flax(weights | {"extra": np.zeros(1)}, where)
  del weights["norm.bias"]
  with pytest.raises(ValueError, match="norm.bias is missing"):
    weight_mapping.to_flax(weights, where)


@pytest.mark.parametrize("init, module, rules", [
    (dit.init, DIT, mesh.DIT_RULES),
    (encoder.init, TEXT, mesh.TEXT_RULES)])
def test_each_parameter_has_one_sharding_rule(init, module, rules):
  params = jax.eval_shape(lambda: init(module, jax.random.key(0)))
  specs = mesh.param_specs(params, rules)
  moments = mesh.param_specs({"mu": params}, rules)
  assert moments["mu"] == specs
  assert any(specs["blocks"]["mlp"]["linear_1"]["kernel"])


def test_unknown_remat_is_refused():
  with pytest.raises(ValueError, match="'some'"):
    jax.eval_shape(lambda: dit.init(DIT.clone(remat="some"),
                                    jax.random.key(0)))

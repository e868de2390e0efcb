"""Attention: flash agrees with dense, segments keep to themselves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sora_jax.data.loading import statistics
from sora_jax.models.attention import attend as attend_lib
from sora_jax.models.attention import cudnn
from sora_jax.models.attention import flash
from sora_jax.models.attention import splash
from sora_jax.models.attention import splash_library

pytestmark = pytest.mark.quick_compile

# Several blocks of queries and keys in a few hundred tokens.
BLOCKS = {"BLOCK_Q": 64, "BLOCK_K": 16, "WHOLE": 64}


def values(length, keys, rows=2, heads=2, size=8, seed=0):
  rng = np.random.default_rng(seed)
  draw = lambda n: rng.standard_normal((rows, n, heads, size)).astype(
      np.float32)
  return draw(length), draw(keys), draw(keys)


def segments(length, count, rows=2, seed=0, padded=True):
  """[B, L] sorted segments 1 .. count, then padding."""
  rng = np.random.default_rng(seed)
  seg = np.sort(rng.integers(1, count + 1, (rows, length)), 1)
  if padded:
    seg[:, length - length // 8:] = 0
  return seg.astype(np.int32)


def relative(a, b):
  return float(jnp.max(jnp.abs(a - b)) / jnp.max(jnp.abs(b)))


@pytest.fixture(name="small_blocks")
def _small_blocks(monkeypatch):
  for name, value in BLOCKS.items():
    monkeypatch.setattr(flash, name, value)


@pytest.mark.parametrize("length, keys, q_seg, kv_seg", [
    pytest.param(70, 110, None, None, marks=pytest.mark.slow),
    (300, 112, None, None),
    pytest.param(130, 130, segments(130, 5), segments(130, 5),
                 marks=pytest.mark.slow),
    # The text of segment 2 is missing, and rows without padding.
    pytest.param(70, 40, segments(70, 3, padded=False),
                 1 + 2 * (segments(40, 2) > 1), marks=pytest.mark.slow),
    # Segments in no order.
    (64, 64, segments(64, 4)[:, ::-1], segments(64, 4)[:, ::-1]),
])
def test_flash_is_dense(small_blocks, length, keys, q_seg, kv_seg):
  q, k, v = values(length, keys)
  wave = jnp.cos(jnp.arange(q.size)).reshape(q.shape)

  @jax.jit
  def both(q, k, v):
    def loss(backend, *args):
      out = attend_lib.attend(*args, q_seg, kv_seg, backend)
      return jnp.sum(out * wave), out
    grad = lambda name: jax.grad(lambda *a: loss(name, *a), (0, 1, 2),
                                 has_aux=True)(q, k, v)
    return grad("flash"), grad("dense")

  (grads, out), (wanted_grads, wanted) = both(q, k, v)
  assert relative(out, wanted) <= 1e-5
  for name, found, grad in zip("qkv", grads, wanted_grads):
    assert relative(found, grad) <= 1e-4, name


@pytest.mark.parametrize("backend", ["dense", "flash"])
def test_a_token_sees_its_segment_only(small_blocks, backend):
  q, k, v = values(60, 60)
  seg = segments(60, 3)
  attend = jax.jit(lambda *a: attend_lib.attend(*a, seg, seg, backend))
  out = attend(q, k, v)
  mine = seg == 2
  rng = np.random.default_rng(1)
  change = lambda x: np.where(mine[..., None, None], x,
                              rng.standard_normal(x.shape).astype(np.float32))
  np.testing.assert_array_equal(np.asarray(out)[mine],
                                np.asarray(attend(q, change(k), change(v)))[mine])
  row = np.flatnonzero(mine[0])
  alone = attend_lib.attend(q[:1, row], k[:1, row], v[:1, row],
                           backend="dense")
  assert relative(out[:1, row], alone) <= 1e-5


@pytest.mark.parametrize("backend", [
    "dense", pytest.param("flash", marks=pytest.mark.slow)])
def test_without_keys_there_is_zero_and_no_nan(backend):
  q, k, v = values(20, 12)
  q_seg, kv_seg = segments(20, 2), np.full((2, 12), 7, np.int32)
  run = lambda *a: attend_lib.attend(*a, q_seg, kv_seg, backend)
  assert not np.any(run(q, k, v))
  grads = jax.grad(lambda *a: jnp.sum(run(*a)), (0, 1, 2))(q, k, v)
  assert not any(np.any(g) for g in grads)


@pytest.mark.slow
def test_keys_outside_the_window_are_skipped(small_blocks):
  """Two segments of a window each: a NaN in one reaches nothing of the other."""
  q, k, v = values(64, 128)
  v[:, 64:] = np.nan
  q_seg = np.repeat([[1, 2]], 32, 1).repeat(2, 0).astype(np.int32)
  kv_seg = np.repeat([[1, 2]], 64, 1).repeat(2, 0).astype(np.int32)
  out = np.asarray(attend_lib.attend(q, k, v, q_seg, kv_seg, "flash"))
  assert np.all(np.isfinite(out[:, :32])) and np.all(np.isnan(out[:, 32:]))


def test_the_block_mask_of_splash(monkeypatch):
  """It has every pair of a segment, few others, and what comes next."""
  monkeypatch.setattr(splash, "SMALL", splash.Blocks(128, 128, 128))
  lengths = (300, 90, 500, 60)
  q_seg = np.repeat(np.arange(1, 5), lengths)
  q_seg = np.pad(q_seg, (0, 40))[None].astype(np.int32)  # 990 tokens, 8 blocks
  text = np.repeat([1, 2, 4, 0], (90, 60, 70, 9))[None].astype(np.int32)
  for kv_seg, own in ((q_seg, True), (text, False)):
    mask = jax.jit(splash.make_block_mask, static_argnums=2)(q_seg, kv_seg, own)
    meet = np.asarray(mask.visited[0]) > 0
    pair = q_seg[0][:, None] == kv_seg[0]
    pair = np.pad(pair, [(0, -n % 128) for n in pair.shape]).reshape(
        meet.shape[0], 128, meet.shape[1], 128).any((1, 3))
    assert np.all(meet[pair]) and meet.sum() <= pair.sum() + 3 < meet.size
    assert np.all(meet.any(1))
    for found, order in ((mask.next_k[0], meet), (mask.next_q[0].T, meet.T)):
      places = np.flatnonzero(order)
      after = np.searchsorted(places, np.arange(order.size)) % len(places)
      np.testing.assert_array_equal(np.ravel(found),
                                    places[after] % order.shape[1])
    if own:
      assert mask.has_key is None
      assert meet.sum() == statistics.visited(lengths, 1024, 128)
    else:
      np.testing.assert_array_equal(mask.has_key, q_seg != 3)


def test_a_long_row_has_no_block_mask(monkeypatch):
  monkeypatch.setattr(splash, "SMALL", splash.Blocks(128, 128, 128))
  monkeypatch.setattr(splash, "MASK_BLOCKS", 9)
  seg = np.ones((1, 512), np.int32)
  assert splash.make_block_mask(seg, seg, True) == splash.BlockMask()


@pytest.mark.slow
def test_gradients_by_groups_of_keys_that_are_not_whole(monkeypatch):
  """Five blocks of keys in groups of two; the last group is filled up."""
  monkeypatch.setattr(splash, "SMALL", splash.Blocks(128, 128, 128))
  monkeypatch.setattr(splash, "LONG", 0)
  monkeypatch.setattr(splash, "GROUP", 2)
  q, k, v = values(600, 600, rows=1, heads=1)
  seg = segments(600, 3, rows=1)
  wave = jnp.cos(jnp.arange(q.size)).reshape(q.shape)
  grads = lambda backend: jax.jit(jax.grad(lambda *a: jnp.sum(
      attend_lib.attend(*a, seg, seg, backend) * wave), (0, 1, 2)))(q, k, v)
  for found, wanted in zip(grads("splash"), grads("dense")):
    assert relative(found, wanted) < 1e-5


@pytest.mark.parametrize("length", (16_385, 32_760, 75_600, 300_001))
def test_long_rows_of_any_length_have_gradients(length):
  """32,760 and 75,600 are 81 frames of 832x480 and 1280x720 of Wan."""
  x = jax.ShapeDtypeStruct((1, length, 1, 128), jnp.bfloat16)
  loss = lambda *a: jnp.sum(splash.attend(*a).astype(jnp.float32))
  found = jax.eval_shape(jax.grad(loss, (0, 1, 2)), x, x, x)
  assert [g.shape for g in found] == [x.shape] * 3


@pytest.mark.slow
def test_memory_grows_with_length():
  def temporary(length):
    x = jax.ShapeDtypeStruct((1, length, 2, 16), np.float32)
    loss = lambda *a: jnp.sum(attend_lib.attend(*a, backend="flash"))
    compiled = jax.jit(jax.grad(loss, (0, 1, 2))).lower(x, x, x).compile()
    return compiled.memory_analysis().temp_size_in_bytes

  assert temporary(8192) < 3 * temporary(4096)


def test_a_jax_without_splash_names_those_that_have_it(monkeypatch):
  monkeypatch.setattr(splash_library, "missing", AttributeError("no kernel"))
  q, k, v = values(4, 4)
  with pytest.raises(ImportError, match="0.10.2 and 0.12.*no kernel.*flash"):
    attend_lib.attend(q, k, v, backend="splash")


def test_bad_arguments():
  q, k, v = values(4, 4)
  with pytest.raises(ValueError, match="both q_seg and kv_seg"):
    attend_lib.attend(q, k, v, segments(4, 1))
  with pytest.raises(ValueError, match="'fast'"):
    attend_lib.attend(q, k, v, backend="fast")
  with pytest.raises(ValueError, match="bfloat16 or float16.*float32"):
    attend_lib.attend(q, k, v, backend="cudnn")
  assert not cudnn.takes(q.astype(jnp.bfloat16), segments(4, 1))

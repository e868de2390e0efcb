"""The text decoder: packed or alone, all at once or one by one, all the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sora_jax import types
from sora_jax.models.text import decoder as decoder_lib

DECODER = decoder_lib.TextDecoder(vocab=23, width=16, layers=2, heads=2, ffn=32,
                                  length=9)
pytestmark = pytest.mark.quick_compile


@pytest.fixture(scope="module")
def params():
  """Random parameters; the table of ids is large, so that texts differ."""
  params = decoder_lib.init(DECODER, jax.random.key(0))
  return jax.tree.map(lambda x: 4 * x, params)


def memory(rows, length=5, seed=1):
  states = jax.random.normal(jax.random.key(seed), (rows, length, 16))
  return types.TextStates(states, jnp.ones((rows, length), jnp.int32))


def read(params, ids, seg, kind, parallel, mem):
  full = lambda x, dtype: jnp.broadcast_to(jnp.asarray(x, dtype), ids.shape)
  return decoder_lib.read(
      DECODER, params, types.Text(ids, seg), full(kind, jnp.int32),
      full(parallel, bool), mem)


def test_what_is_written_is_likeliest_when_it_is_read(params):
  """Step by step with a cache, and all at once: the same logits decide."""
  mem = memory(3)
  ids = decoder_lib.write(DECODER, params, mem, jnp.array([0, 1, 0]))
  logits = read(params, ids, jnp.ones_like(ids), jnp.array([[0], [1], [0]]),
                False, mem)
  written = np.asarray(ids)
  assert len({tuple(row) for row in written}) == 3
  for row, best in zip(written, np.asarray(logits.argmax(-1))):
    end = list(row).index(decoder_lib.EOS)
    assert (row[end + 1:] == 0).all()
    upto = min(end + 1, DECODER.length - 1)  # the last id ends what has no end
    np.testing.assert_array_equal(row[:upto], best[:upto])


@pytest.mark.slow
def test_a_text_in_a_packed_row_is_read_as_alone(params):
  ids = jnp.array([[5, 6, 7, 1, 8, 9, 1, 0]])
  seg = jnp.array([[1, 1, 1, 1, 2, 2, 2, 0]])
  both = memory(1, 10)
  both = both.replace(seg=jnp.array([[1] * 6 + [2] * 3 + [0]]))
  for parallel in (False, True):
    packed = read(params, ids, seg, 1, parallel, both)
    for segment, at, of in ((1, slice(0, 4), slice(0, 6)),
                            (2, slice(4, 7), slice(6, 9))):
      alone = read(params, ids[:, at], jnp.ones_like(ids[:, at]), 1, parallel,
                   types.TextStates(both.states[:, of],
                                    jnp.ones_like(both.seg[:, of])))
      np.testing.assert_allclose(packed[:, at], alone, atol=2e-4, err_msg=(
          f"segment {segment}, parallel {parallel}"))


def test_a_token_sees_what_is_before_it_or_in_parallel_nothing(params):
  mem, seg = memory(1), jnp.ones((1, 5), jnp.int32)
  ids = jnp.array([[5, 6, 7, 8, 1]])
  changed = ids.at[0, 2].set(9)
  moved = lambda parallel: np.abs(
      read(params, ids, seg, 0, parallel, mem)
      - read(params, changed, seg, 0, parallel, mem)).max(-1)[0] > 1e-6
  assert moved(False).tolist() == [False, False, False, True, True]
  assert not moved(True).any()


def test_in_parallel_places_and_kinds_differ(params):
  mem, seg = memory(1), jnp.ones((1, 5), jnp.int32)
  ids = jnp.array([[5, 6, 7, 8, 1]])
  logits = read(params, ids, seg, 0, True, mem)[0]
  assert np.abs(np.diff(logits, axis=0)).max(-1).min() > 1e-3
  assert np.abs(logits - read(params, ids, seg, 1, True, mem)[0]).max() > 1e-3


@pytest.mark.slow
def test_what_is_drawn_depends_on_the_key(params):
  mem, kind = memory(2), jnp.zeros((2,), jnp.int32)
  draw = lambda seed: np.asarray(decoder_lib.write(
      DECODER, params, mem, kind, jax.random.key(seed), 2.0))
  assert (draw(1) == draw(1)).all() and (draw(1) != draw(2)).any()


@pytest.mark.parametrize("key, value", [("heads", 3), ("length", 1), ("kinds", 0)])
def test_sizes_that_cannot_be(key, value):
  sizes = dict(vocab=8, width=16, layers=1, heads=2, ffn=8) | {key: value}
  with pytest.raises(ValueError, match=f"text_decoder.*{key}"):
    decoder_lib.TextDecoder(**sizes)

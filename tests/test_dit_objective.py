"""The transformer's loss, against one made by hand."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sora_jax import mesh as mesh_lib
from sora_jax import types
from sora_jax.diffusion import flow
from sora_jax.models import dit
from sora_jax.models.text import encoder
from sora_jax.training import optimizer
from sora_jax.training import state as state_lib
from sora_jax.training.objectives import dit as dit_lib
from sora_jax.training.objectives import shared

pytestmark = pytest.mark.quick_compile

DIT = dit.DiT(layers=1, heads=2, head_size=8, ffn=32, patch_channels=4,
              out_channels=4, text_width=16, remat="none")
TEXT = encoder.TextEncoder(vocab=11, width=16, layers=1, heads=2, ffn=32)
INIT = dit_lib.init_params(functools.partial(dit.init, DIT),
                           functools.partial(encoder.init, TEXT))
RULES = {"transformer": mesh_lib.DIT_RULES, "text_encoder": mesh_lib.TEXT_RULES}
COLUMNS = 4


def batch_of(rows=2, seed=0):
  """Rows of three segments, known tokens in the first, padding at the end."""
  rng = np.random.default_rng(seed)
  seg = np.asarray([1] * 6 + [2] * 5 + [3] * 3 + [0] * 2, np.int32)
  known = (np.arange(16) < 2) | (np.arange(16) == 12)
  rep = lambda x: np.repeat(x[None], rows, 0)
  pos = np.stack([np.arange(16), np.arange(16) % 2, np.arange(16) % 3], -1)
  return types.Batch(
      tokens=types.Tokens(
          x=rng.standard_normal((rows, 16, 4)).astype(np.float32),
          pos=rep(pos.astype(np.float32)), seg=rep(seg)),
      text=types.Text(
          ids=rng.integers(1, 11, (rows, 8)).astype(np.int32),
          seg=rep(np.asarray([1, 1, 1, 2, 2, 3, 0, 0], np.int32))),
      known=rep(known))


PROCESS = flow.Process(base_tokens=4)


def objective(cfg=PROCESS, denoise=None):
  return dit_lib.dit_objective(denoise or functools.partial(dit.denoise, DIT),
                               functools.partial(encoder.encode, TEXT), cfg,
                               COLUMNS)


@pytest.mark.slow
def test_the_loss_equals_one_made_by_hand_token_by_token():
  cfg, key, batch = flow.Process(base_tokens=4), jax.random.key(3), batch_of()

  def denoise(params, tokens, time, text):
    return params["scale"] * tokens.x + 0.1 * jnp.take_along_axis(
        time.t, time.time_index, 1)[..., None]

  params = {"transformer": {"scale": jnp.float32(.7)},
            "text_encoder": encoder.init(TEXT, key)}
  grads, metrics = jax.jit(objective(cfg, denoise))(params, batch, key, 0)
  keys = shared.split(key, "times", "noise")
  t = np.asarray(flow.sample_times(cfg, keys["times"], batch.tokens.seg,
                                      COLUMNS))
  eps = np.asarray(jax.random.normal(keys["noise"], batch.tokens.x.shape))
  losses, slopes, quarters = [], [], {q: [] for q in range(4)}
  for b in range(2):
    for i in range(16):
      seg, known = batch.tokens.seg[b, i], batch.known[b, i]
      time = t[b, 0 if known else seg]
      x0 = batch.tokens.x[b, i]
      x_t = (1 - time) * x0 + time * eps[b, i]
      if seg == 0 or known:
        continue
      error = (.7 * x_t + .1 * time - x0) / max(time, .05)
      losses.append(np.mean(error**2))
      slopes.append(np.mean(2 * error * x_t / max(time, .05)))
      quarters[min(int(time * 4), 3)].append(losses[-1])
  np.testing.assert_allclose(metrics["loss"], np.mean(losses), rtol=1e-5)
  np.testing.assert_allclose(grads["transformer"]["scale"], np.mean(slopes),
                             rtol=1e-4)
  for q, values in quarters.items():
    want = np.mean(values) if values else np.nan
    np.testing.assert_allclose(metrics[f"loss_t{q + 1}"], want, rtol=1e-5)
  assert float(metrics["clips"]) == 6 and float(metrics["tokens"]) == 28
  np.testing.assert_allclose(metrics["known_share"], 6 / 28, rtol=1e-6)


@pytest.fixture(scope="module")
def gradients():
  """Of the transformer, compiled once."""
  return jax.jit(objective())


@pytest.mark.slow
def test_padding_and_the_target_of_known_tokens_do_not_count(gradients):
  key = jax.random.key(5)
  params, batch = INIT(key), batch_of()
  # not at initialisation, where the model predicts zero whatever it reads
  params = jax.tree.map(lambda x: x + .05, params)
  grads, metrics = gradients(params, batch, key, 0)
  x, ids = batch.tokens.x.copy(), batch.text.ids.copy()
  x[:, 14:], ids[:, 6:] = 1e3, 7
  other = batch.replace(tokens=batch.tokens.replace(x=x),
                        text=batch.text.replace(ids=ids))
  again = gradients(params, other, key, 0)
  np.testing.assert_allclose(again[1]["loss"], metrics["loss"], rtol=1e-6)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6),
               again[0], grads)
  nothing = batch.replace(known=np.ones_like(batch.known))
  grads, metrics = gradients(params, nothing, key, 0)
  assert float(metrics["loss"]) == 0
  assert all(np.all(np.asarray(g) == 0) for g in jax.tree.leaves(grads))


@pytest.mark.slow
def test_the_transformer_overfits_one_batch():
  cfg = flow.Process(mean=2.0, uniform=0.0, base_tokens=4)
  prog = state_lib.program(
      objective(cfg), INIT,
      optimizer.Optimizer(learning_rate=1e-2, warmup=10, steps=300),
      mesh_lib.make_mesh(devices=jax.devices()[:1]), RULES, jax.random.key(0))
  state, losses = prog.create(), []
  for _ in range(300):
    state, metrics = prog.step(state, batch_of(), jax.random.key(1), prog.phases)
    losses.append(metrics["loss"])
  first, last = np.mean(losses[:20]), np.mean(losses[-20:])
  print(f"loss {first:.3f} -> {last:.3f}")
  assert last < .5 * first

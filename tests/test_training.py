"""Optimiser, guard, objectives and the step; test_mesh.py has eight devices."""

import functools
import json
import math
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sora_jax import mesh as mesh_lib
from sora_jax import types
from sora_jax.diffusion import process
from sora_jax.models import discriminator
from sora_jax.models import dit
from sora_jax.models import text_encoder
from sora_jax.models import vae
from sora_jax.training import cost
from sora_jax.training import dit_objective
from sora_jax.training import loop
from sora_jax.training import objectives
from sora_jax.training import optimizer
from sora_jax.training import state as state_lib
from sora_jax.training import vae_objective
import toy_run

# ---------------------------------------------------------------- optimiser


@pytest.mark.parametrize("shape", ["linear", "cosine"])
def test_the_schedule_rises_holds_and_falls(shape):
  cfg = optimizer.Optimizer(learning_rate=2., warmup=10, steps=100, decay=.3,
                            final=.1, decay_shape=shape)
  rate = np.asarray([optimizer.schedule(cfg)(n) for n in range(101)])
  np.testing.assert_allclose(rate[:11], 2 * np.minimum(np.arange(1, 12), 10) / 10)
  np.testing.assert_allclose(rate[10:71], 2.0)
  np.testing.assert_allclose(rate[85], 1.1, rtol=1e-5)  # half way
  np.testing.assert_allclose(rate[100], 0.2, rtol=1e-5)
  assert np.all(np.diff(rate[70:]) < 0)


def test_only_kernels_of_the_model_decay():
  tree = lambda: {"kernel": jnp.ones(3), "bias": jnp.ones(3)}
  params = {"vae": tree(), "critic": tree()}
  tx = optimizer.make(optimizer.Optimizer(learning_rate=1., warmup=0,
                                          weight_decay=.25))
  zero = jax.tree.map(jnp.zeros_like, params)
  updates = tx.update(zero, tx.init(params), params)[0]
  np.testing.assert_allclose(updates["vae"]["kernel"], -.25)
  for x in (updates["vae"]["bias"], *updates["critic"].values()):
    np.testing.assert_array_equal(x, 0)


def test_a_large_gradient_of_the_critic_does_not_shrink_the_models():
  grads = {"vae": {"kernel": jnp.asarray([.3, .4])},
           "critic": {"kernel": jnp.asarray([3e6, 4e6])}}
  clip = optimizer.make(optimizer.Optimizer(clip=1.0))
  adam = clip.update(grads, clip.init(grads), grads)[1][2][0]
  np.testing.assert_allclose(adam.mu["vae"]["kernel"], [.03, .04], rtol=1e-5)
  np.testing.assert_allclose(adam.mu["critic"]["kernel"], [.06, .08], rtol=1e-5)
  np.testing.assert_allclose(optimizer.norm(grads), .5, rtol=1e-6)


def test_the_average_follows_its_formula():
  prog = toy_run.program(ema=.3, spike=6.0, spike_warm=4)
  state = prog.create()
  want = toy_run.values(state.params)
  for n in range(6):
    state, _ = prog.step(state, toy_run.batch_at(n), toy_run.KEY)
    d = min(.3, (1 + n) / (10 + n))
    want = {k: d * want[k] + (1 - d) * v
            for k, v in toy_run.values(state.params).items()}
  for name, value in toy_run.values(state.ema).items():
    np.testing.assert_allclose(value, want[name], rtol=1e-5, atol=1e-6)


# -------------------------------------------------------------------- guard

KEPT = ("params", "opt_state", "ema")


@pytest.mark.parametrize("spoiled", [
    {"x": math.nan}, {"scale": math.inf}, {"scale": math.nan}, {"scale": 1e4}],
    ids=["NaN batch", "inf gradient", "NaN gradient", "spike"])
def test_a_bad_step_changes_nothing(spoiled):
  prog = toy_run.program(ema=.3, spike=6.0, spike_warm=4)
  state = prog.create()
  for n in range(6):
    state, _ = prog.step(state, toy_run.batch_at(n), toy_run.KEY)
  before = {k: toy_run.values(getattr(state, k)) for k in KEPT}
  state, metrics = prog.step(state, toy_run.batch_at(6, {6: spoiled}),
                             toy_run.KEY)
  for k in KEPT:
    toy_run.same(getattr(state, k), before[k])
  assert int(state.step) == 7 and int(state.clips) == 56
  assert int(metrics["skipped"]) == int(metrics["in_a_row"]) == 1
  state, metrics = prog.step(state, toy_run.batch_at(7), toy_run.KEY)
  assert int(metrics["skipped"]) == 1 and int(metrics["in_a_row"]) == 0
  assert not np.array_equal(state.params["model"]["kernel"],
                            before["params"]["model/kernel"])


def test_the_spike_guard_waits_until_warm_and_lets_a_new_scale_in():
  prog = toy_run.program(spike=6.0, spike_warm=20, steps=1000)

  def skipped(scale_at):
    state, out = prog.create(), []
    for n in range(90):
      spoiled = {n: {"scale": scale_at(n)}}
      state, metrics = prog.step(state, toy_run.batch_at(n, spoiled),
                                 toy_run.KEY)
      out.append(int(metrics["in_a_row"]) > 0)
    return out

  assert not any(skipped(lambda n: 50. if n == 3 else 1.))
  late = skipped(lambda n: 50. if n >= 40 else 1.)
  assert not any(late[:40]) and all(late[40:45]) and not any(late[-10:])


def test_many_bad_steps_in_a_row_stop_the_run_and_are_named(tmp_path):
  spoiled = {n: {"x": math.nan} for n in (1, 4, 5, 6)}
  with pytest.raises(FloatingPointError, match=r"steps 5, 6, 7\)") as e:
    toy_run.train(tmp_path, 10, spoiled=spoiled, skip_limit=3)
  assert len(str(e.value).splitlines()) == 1
  lines = [json.loads(line) for line in
           (tmp_path / "metrics.jsonl").read_text().splitlines()]
  assert [line["skipped"] for line in lines] == [0, 1, 1, 1, 2, 3, 4, 4]
  assert lines[1]["loss"] is None  # a value that is not finite is no JSON
  state = toy_run.train(tmp_path, 10, skip_limit=3).state  # goes on behind them
  assert int(state.step) == 10 and int(state.skipped) == 4


# --------------------------------------------------------------------- loop


def test_hooks_progress_and_the_order_of_the_data(tmp_path, capsys):
  seen = []
  hooks = [loop.Hook(3, lambda n, s: seen.append((n, int(s.step)))),
           loop.Hook(0, lambda n, s: seen.append("never"))]
  out = toy_run.train(tmp_path, 10, hooks=hooks, log_every=4)
  assert out.reason == "done"
  assert seen == [(3, 3), (6, 6), (9, 9), (10, 10)]
  err = capsys.readouterr().err
  assert "a new run" in err and "step 8/10 loss" in err and "eta" in err
  lines = [json.loads(line) for line in
           (tmp_path / "metrics.jsonl").read_text().splitlines()]
  assert [line["step"] for line in lines] == [4, 8]
  assert set(lines[0]["timing"]) == {
      "seconds", "steps_per_s", "clips_per_s", "data_share", "eta"}
  short = lambda start: ((n, toy_run.batch_at(n)) for n in range(start, 12))
  kw = {"steps": 20, "workdir": tmp_path, "config": toy_run.CONFIG,
        "key": toy_run.KEY}
  with pytest.raises(ValueError, match="data ended at step 12"):
    loop.train(toy_run.program(), short, **kw)
  with pytest.raises(ValueError, match="data is at step 0 and the run at"):
    loop.train(toy_run.program(), lambda start: short(0), **kw)


def test_tensorboard_is_named_if_it_is_missing(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, "tensorboardX", None)
  with pytest.raises(ValueError, match=r"sora_jax\[log\]"):
    toy_run.train(tmp_path, 1, tensorboard=True)


# ---------------------------------------------------- the transformer's loss

DIT = dit.DiT(layers=1, heads=2, head_size=8, ffn=32, patch_channels=4,
              out_channels=4, text_width=16, remat="none")
TEXT = text_encoder.TextEncoder(vocab=11, width=16, layers=1, heads=2, ffn=32)
INIT = dit_objective.make_init(functools.partial(dit.init, DIT),
                               functools.partial(text_encoder.init, TEXT))
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


PROCESS = process.Process(base_tokens=4)


def objective(cfg=PROCESS, denoise=None):
  return dit_objective.make(denoise or functools.partial(dit.denoise, DIT),
                            functools.partial(text_encoder.encode, TEXT), cfg,
                            COLUMNS)


def test_the_loss_equals_one_made_by_hand_token_by_token():
  cfg, key, batch = process.Process(base_tokens=4), jax.random.key(3), batch_of()

  def denoise(params, tokens, time, text):
    return params["scale"] * tokens.x + 0.1 * jnp.take_along_axis(
        time.t, time.tid, 1)[..., None]

  params = {"transformer": {"scale": jnp.float32(.7)},
            "text_encoder": text_encoder.init(TEXT, key)}
  grads, metrics = jax.jit(objective(cfg, denoise))(params, batch, key, 0)
  keys = objectives.split(key, "times", "noise")
  t = np.asarray(process.sample_times(cfg, keys["times"], batch.tokens.seg,
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


def test_the_transformer_overfits_one_batch():
  cfg = process.Process(mean=2.0, uniform=0.0, base_tokens=4)
  prog = state_lib.program(
      objective(cfg), INIT,
      optimizer.Optimizer(learning_rate=1e-2, warmup=10, steps=300),
      mesh_lib.make_mesh(devices=jax.devices()[:1]), RULES, jax.random.key(0))
  state, losses = prog.create(), []
  for _ in range(300):
    state, metrics = prog.step(state, batch_of(), jax.random.key(1))
    losses.append(metrics["loss"])
  first, last = np.mean(losses[:20]), np.mean(losses[-20:])
  print(f"loss {first:.3f} -> {last:.3f}")
  assert last < .5 * first


def test_gradients_in_parts_are_those_of_the_batch():
  """With rows that count unlike, and a mean that is not always a number."""
  rng = np.random.default_rng(0)
  x = rng.standard_normal((8, 5)).astype(np.float32)
  mask = rng.random((8, 5)) < np.linspace(.2, 1, 8)[:, None]
  mask[[0, 4]] = False  # all of the first of four parts
  params = {"w": jnp.asarray(rng.standard_normal(5), jnp.float32)}

  def objective(params, batch, key, step):
    def loss(params):
      return objectives.masked_mean((batch["x"] * params["w"] - 1)**2,
                                    batch["mask"])
    value, grads = jax.value_and_grad(loss)(params)
    count = jnp.sum(batch["mask"])
    return grads, {"loss": value, "weight": count, "clips": 2 * len(batch["x"]),
                   "seen": jnp.where(count > 0, value, jnp.nan)}

  run = lambda parts, x: jax.jit(objectives.accumulated(objective, parts))(
      params, {"x": x, "mask": mask[:len(x)]}, jax.random.key(0), 0)
  grads, metrics = run(1, x)
  for parts in (2, 4):
    found, means = run(parts, x)
    np.testing.assert_allclose(found["w"], grads["w"], rtol=1e-5)
    assert int(means["clips"]) == 16 == int(metrics["clips"])
    for name in ("loss", "weight", "seen"):
      np.testing.assert_allclose(means[name], metrics[name], rtol=1e-5)
  with pytest.raises(ValueError, match="6 rows does not divide into 4"):
    run(4, x[:6])
  with pytest.raises(ValueError, match="accumulate 0"):
    optimizer.Optimizer(accumulate=0)


def test_the_optimizer_on_the_host_gives_the_same_run():
  """And its moments stay there between steps."""
  batch, states = toy_run.batch_at(0), []
  for offload in (False, True):
    program = toy_run.program(offload=offload)
    state = program.create()
    for _ in range(2):
      state, _ = program.step(state, batch, toy_run.KEY)
    states.append(state)
  kinds = {x.sharding.memory_kind for x in jax.tree.leaves(states[1].opt_state)}
  assert kinds == {"pinned_host"}
  toy_run.same(states[1], states[0])


# ------------------------------------------------------------- the VAE's loss


def encode(params, video):
  b, t, h, w, _ = video.shape
  x = video[:, ::4].reshape(b, -1, h // 8, 8, w // 8, 8, 3)
  x = x.transpose(0, 1, 2, 4, 3, 5, 6).reshape(b, -1, h // 8, w // 8, 192)
  return jnp.split(x @ params["enc"]["kernel"], 2, -1)


def decode(params, z):
  b, t, h, w, _ = z.shape
  x = (z @ params["dec"]["kernel"]).reshape(b, t, h, w, 8, 8, 3)
  x = x.transpose(0, 1, 2, 4, 3, 5, 6).reshape(b, t, h * 8, w * 8, 3)
  return jnp.repeat(x, 4, 1)[:, 3:]


def init_vae(key):
  return {"enc": {"kernel": .1 * jax.random.normal(key, (192, 16))},
          "dec": {"kernel": .1 * jax.random.normal(key, (8, 192))}}


def pixels(seed=0):
  rng = np.random.default_rng(seed)
  return types.Pixels(rng.integers(0, 256, (2, 5, 16, 24, 3), np.uint8))


@functools.cache
def vae_program(**kw):
  """(compiled objective, parameters) of a VaeLoss(**kw)."""
  cfg = vae_objective.VaeLoss(**kw)
  params = jax.jit(vae_objective.make_init(init_vae, cfg))(jax.random.key(0))
  return jax.jit(vae_objective.make(encode, decode, cfg)), params


def vae_gradients(step=0, params=None, **kw):
  run, start = vae_program(**kw)
  return run(params or start, pixels(), jax.random.key(1), step), start


def test_the_terms_of_the_vae_are_what_they_say():
  kw = {"l1": 2., "l2": 3., "kl": .1, "edges": .5, "edges_start": 10}
  x = vae_objective.to_unit(pixels().video)
  assert float(x.min()) == -1 and float(x.max()) == 1

  @jax.jit
  @functools.partial(jax.value_and_grad, has_aux=True)
  def by_hand(params, weight):
    mean, logvar = encode(params, x)
    noise = jax.random.normal(jax.random.key(1), mean.shape)
    x_hat = decode(params, mean + jnp.exp(logvar / 2) * noise)
    kl = .5 * jnp.mean(mean**2 + jnp.exp(logvar) - 1 - logvar)
    edges = vae_objective.gradient_pyramid(x_hat, x)
    l1, l2 = jnp.mean(abs(x_hat - x)), jnp.mean((x_hat - x)**2)
    return 2 * l1 + 3 * l2 + .1 * kl + weight * edges, l2

  for step, weight in ((9, 0.), (10, .5)):
    (grads, metrics), params = vae_gradients(step, **kw)
    (loss, l2), want = by_hand(params["vae"], weight)
    np.testing.assert_allclose(metrics["loss"], loss, rtol=1e-5)
    np.testing.assert_allclose(metrics["psnr"], 10 * np.log10(4 / l2),
                               rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5),
                 grads["vae"], want)
    assert float(metrics["clips"]) == 2


def test_the_edge_term_sees_edges_and_not_brightness():
  x = jnp.zeros((1, 1, 16, 16, 3))
  assert float(vae_objective.gradient_pyramid(x + .3, x)) == 0
  edge = x.at[:, :, :, 8:].set(1.)
  assert float(vae_objective.gradient_pyramid(edge, x)) > .1


ADVERSARIAL = {"adversarial": .5, "adversarial_start": 10, "critic_width": 8}


def test_the_critic_starts_late_and_has_the_weight_it_was_given():
  plain = vae_gradients()[0][0]["vae"]
  (early, metrics), params = vae_gradients(step=9, **ADVERSARIAL)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-7),
               early["vae"], plain)
  assert objectives.norm(early["critic"]) == 0 and metrics["critic"] == 0
  (late, metrics), _ = vae_gradients(step=10, **ADVERSARIAL)
  assert objectives.norm(late["critic"]) > 0
  assert .5 < float(metrics["critic"]) < 1.5
  assert float(metrics["critic_dropped"]) == 0
  # the push at x_hat is half as long as the gradient of the other terms
  x = vae_objective.to_unit(pixels().video)
  pull = jnp.cos(x * 9)
  cfg = vae_objective.VaeLoss(**ADVERSARIAL)
  push = jax.jit(functools.partial(vae_objective.against, cfg))(
      params["critic"], x, .9 * x, pull)[0]
  np.testing.assert_allclose(objectives.norm(push), .5 * objectives.norm(pull),
                             rtol=1e-4)


@pytest.mark.parametrize("fault", [math.nan, 1e6])
def test_a_broken_critic_is_dropped_and_counted(fault):
  params = vae_program(**ADVERSARIAL)[1]
  params = {**params, "critic": jax.tree.map(lambda x: x + fault,
                                             params["critic"])}
  (grads, metrics), _ = vae_gradients(10, params, **ADVERSARIAL)
  assert float(metrics["critic_dropped"]) == 1
  plain = vae_gradients()[0][0]["vae"]
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-7),
               grads["vae"], plain)
  assert objectives.norm(grads["critic"]) == 0


def test_the_critic_judges_patches_and_sees_motion():
  critic = discriminator.Discriminator(8)
  params = discriminator.init(critic, jax.random.key(0))
  x = jax.random.normal(jax.random.key(1), (2, 3, 32, 48, 3))
  logits = discriminator.judge(critic, params, x)
  assert logits.shape == (6, 4, 6, 1)
  moved = discriminator.judge(critic, params, x.at[:, 0].add(1.))
  assert not np.allclose(moved[1], logits[1])  # frame 1 beside another frame 0
  np.testing.assert_array_equal(moved[2], logits[2])


# --------------------------------------------------------------------- cost


def test_the_cost_formulas_agree_with_what_is_traced():
  big = dit.DiT(layers=6, heads=6, head_size=64, ffn=1536, patch_channels=64,
                out_channels=64, text_width=256)
  for module in (DIT, big):
    assert cost.dit_params(module) == cost.params_of(
        functools.partial(dit.init, module))
  tokens, text, times = 48, 12, 3  # small enough for dense attention
  shape = jax.ShapeDtypeStruct
  args = (
      types.Tokens(x=shape((1, tokens, 64), jnp.float32),
                   pos=shape((1, tokens, 3), jnp.float32),
                   seg=shape((1, tokens), jnp.int32)),
      types.Times(t=shape((1, times), jnp.float32),
                  tid=shape((1, tokens), jnp.int32)),
      types.TextStates(states=shape((1, text, 256), jnp.float32),
                       seg=shape((1, text), jnp.int32)))
  params = jax.eval_shape(functools.partial(dit.init, big), jax.random.key(0))
  assert cost.dit_flops(big, [(tokens, text)], times) == cost.traced(
      functools.partial(dit.denoise, big), params, *args)
  params = jax.eval_shape(functools.partial(text_encoder.init, TEXT),
                          jax.random.key(0))
  ids = shape((1, text), jnp.int32)
  assert cost.text_flops(TEXT, [text]) == cost.traced(
      functools.partial(text_encoder.encode, TEXT), params,
      types.Text(ids=ids, seg=ids))


def test_the_cost_of_packed_clips_is_the_sum_of_theirs():
  one, two = cost.dit_flops(DIT, [(30, 5)]), cost.dit_flops(DIT, [(50, 7)])
  assert cost.dit_flops(DIT, [(30, 5), (50, 7)]) == one + two
  assert cost.dit_flops(DIT, [(80, 12)]) > one + two  # attention is quadratic


def test_tracing_counts_convolutions_scans_and_branches():
  x, w = jnp.zeros((2, 8, 8, 3)), jnp.zeros((3, 3, 3, 5))
  conv = lambda x: jax.lax.conv_general_dilated(
      x, w, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
  assert cost.traced(conv, x) == 2 * (2 * 4 * 4 * 5) * 27
  m = jnp.zeros((7, 7))
  many = lambda m: jax.lax.scan(lambda c, _: (c @ m, None), m, None, 4)[0]
  assert cost.traced(jax.checkpoint(many), m) == 4 * 2 * 7**3
  branch = lambda m: jax.lax.cond(m[0, 0] > 0, many, lambda m: m @ m, m)
  assert cost.traced(branch, m) == 4 * 2 * 7**3
  with pytest.raises(ValueError, match="unknown length"):
    cost.traced(lambda m: jax.lax.while_loop(
        lambda c: c[0, 0] < 1, lambda c: c @ m, m), m)


def test_the_vae_costs_as_much_as_its_pixels():
  net = vae.VAE(base=8, mults=(1, 1), z=4, blocks=1, temporal=(True,), patch=1,
                residual=False)
  count = lambda fn, t: fn(net, (t, 16, 16))
  for fn in (cost.encode_flops, cost.decode_flops):
    first, second, third = (count(fn, t) for t in (5, 9, 13))
    assert first > 0 and third - second == second - first  # linear in time


def test_muon_makes_the_update_of_every_kernel_orthogonal():
  """Stacks layer by layer, convolutions as matrices; the rest is Adam's."""
  rng = np.random.default_rng(0)
  draw = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)
  params = {"vae": {"blocks": {"kernel": draw(2, 6, 24)},
                    "conv": {"kernel": draw(3, 3, 2, 6), "bias": draw(6)}}}
  tx = optimizer.make(optimizer.Optimizer(
      name="muon", learning_rate=1., warmup=0, clip=1e9, weight_decay=0.))
  updates, _ = tx.update(params, tx.init(params), params)
  stack, conv = updates["vae"]["blocks"], updates["vae"]["conv"]
  for matrix, size in [*((m, 24) for m in stack["kernel"]),
                       (conv["kernel"].reshape(18, 6), 18)]:
    values = np.linalg.svd(np.asarray(matrix), compute_uv=False)
    # Newton and Schulz leave singular values near 1, scaled to an RMS of .2.
    np.testing.assert_allclose(values / (.2 * size**.5), 1, atol=.45)
  assert np.ptp(np.abs(conv["bias"])) < 1e-4  # Adam's first step is a sign

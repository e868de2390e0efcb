"""Optimiser, guard and the loop; test_mesh.py has eight devices."""

import json
import math
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sora_jax.training import clock
from sora_jax.training import hooks as hooks_lib
from sora_jax.training import loop
from sora_jax.training import optimizer
from sora_jax.training.objectives import shared
import toy_run


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


def test_runs_of_another_length_and_rate_share_a_program():
  """And each has its own schedule in it."""
  texts, rates = [], []
  for cfg in (dict(steps=100), dict(steps=400, learning_rate=.5, warmup=7)):
    prog = toy_run.program(**cfg)
    args = toy_run.batch_at(0), toy_run.KEY, prog.phases
    texts.append(prog.step.lower(prog.abstract, *args).as_text())
    rates.append(float(prog.step(prog.create(), *args)[1]["learning_rate"]))
  assert texts[0] == texts[1]
  np.testing.assert_allclose(rates[1], .5 / 7, rtol=1e-6)
  assert rates[0] != rates[1]


def test_only_kernels_of_the_model_decay():
  tree = lambda: {"kernel": jnp.ones(3), "bias": jnp.ones(3)}
  params = {"vae": tree(), "discriminator": tree()}
  tx = optimizer.transformation(optimizer.Optimizer(
      learning_rate=1., warmup=0, weight_decay=.25))
  zero = jax.tree.map(jnp.zeros_like, params)
  updates = tx.update(zero, tx.init(params), params)[0]
  np.testing.assert_allclose(updates["vae"]["kernel"], -.25)
  for x in (updates["vae"]["bias"], *updates["discriminator"].values()):
    np.testing.assert_array_equal(x, 0)


def test_a_large_gradient_of_the_discriminator_does_not_shrink_the_models():
  grads = {"vae": {"kernel": jnp.asarray([.3, .4])},
           "discriminator": {"kernel": jnp.asarray([3e6, 4e6])}}
  clip = optimizer.transformation(optimizer.Optimizer(clip=1.0))
  adam = clip.update(grads, clip.init(grads), grads)[1][2][0]
  np.testing.assert_allclose(adam.mu["vae"]["kernel"], [.03, .04], rtol=1e-5)
  np.testing.assert_allclose(adam.mu["discriminator"]["kernel"], [.06, .08], rtol=1e-5)
  np.testing.assert_allclose(optimizer.norm(grads), .5, rtol=1e-6)


def test_the_average_follows_its_formula():
  prog = toy_run.program(ema=.3, spike=6.0, spike_warm=4)
  state = prog.create()
  want = toy_run.values(state.params)
  for n in range(6):
    state, _ = prog.step(state, toy_run.batch_at(n), toy_run.KEY, prog.phases)
    d = min(.3, (1 + n) / (10 + n))
    want = {k: d * want[k] + (1 - d) * v
            for k, v in toy_run.values(state.params).items()}
  for name, value in toy_run.values(state.ema).items():
    np.testing.assert_allclose(value, want[name], rtol=1e-5, atol=1e-6)


KEPT = ("params", "opt_state", "ema")


@pytest.mark.parametrize("spoiled", [
    {"x": math.nan}, {"scale": math.inf}, {"scale": math.nan}, {"scale": 1e4}],
    ids=["NaN batch", "inf gradient", "NaN gradient", "spike"])
def test_a_bad_step_changes_nothing(spoiled):
  prog = toy_run.program(ema=.3, spike=6.0, spike_warm=4)
  state = prog.create()
  for n in range(6):
    state, _ = prog.step(state, toy_run.batch_at(n), toy_run.KEY, prog.phases)
  before = {k: toy_run.values(getattr(state, k)) for k in KEPT}
  state, metrics = prog.step(state, toy_run.batch_at(6, {6: spoiled}),
                             toy_run.KEY, prog.phases)
  for k in KEPT:
    toy_run.same(getattr(state, k), before[k])
  assert int(state.step) == 7 and int(state.clips) == 56
  assert int(metrics["skipped"]) == int(metrics["consecutive_skips"]) == 1
  state, metrics = prog.step(state, toy_run.batch_at(7), toy_run.KEY, prog.phases)
  assert int(metrics["skipped"]) == 1 and int(metrics["consecutive_skips"]) == 0
  assert not np.array_equal(state.params["model"]["kernel"],
                            before["params"]["model/kernel"])


def test_the_spike_guard_waits_until_warm_and_lets_a_new_scale_in():
  prog = toy_run.program(spike=6.0, spike_warm=20, steps=1000)

  def skipped(scale_at):
    state, out = prog.create(), []
    for n in range(90):
      spoiled = {n: {"scale": scale_at(n)}}
      state, metrics = prog.step(state, toy_run.batch_at(n, spoiled),
                                 toy_run.KEY, prog.phases)
      out.append(int(metrics["consecutive_skips"]) > 0)
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


def test_what_a_stopped_run_did_not_show_is_shown_first(tmp_path):
  seen, made = [], set()
  hook = hooks_lib.Hook(3, lambda n, s: seen.append((n, int(s.step))),
                   lambda n: n not in made)
  with pytest.raises(KeyboardInterrupt):  # behind the save of step 6
    def stop(n, state):
      del state
      if n == 6:
        raise KeyboardInterrupt
    toy_run.train(tmp_path, 10, hooks=[hooks_lib.Hook(6, stop), hook], save_every=6)
  assert seen == [(3, 3)]
  toy_run.train(tmp_path, 10, hooks=[hook], save_every=6)
  assert seen == [(3, 3), (6, 6), (9, 9), (10, 10)]
  made.add(10)  # a run that has ended shows nothing again
  toy_run.train(tmp_path, 10, hooks=[hook])
  assert len(seen) == 4


def test_hooks_progress_and_the_order_of_the_data(tmp_path, capsys):
  seen = []
  hooks = [hooks_lib.Hook(3, lambda n, s: seen.append((n, int(s.step)))),
           hooks_lib.Hook(0, lambda n, s: seen.append("never"))]
  out = toy_run.train(tmp_path, 10, hooks=hooks, log_every=4)
  assert out.reason == "done"
  assert seen == [(3, 3), (6, 6), (9, 9), (10, 10)]
  err = capsys.readouterr().err
  assert "a new run" in err and "step 8/10 loss" in err and "eta" in err
  lines = [json.loads(line) for line in
           (tmp_path / "metrics.jsonl").read_text().splitlines()]
  assert [line["step"] for line in lines] == [4, 8]
  assert set(lines[0]["timing"]) == {
      "seconds", "steps_per_s", "clips_per_s", "clips_per_s_per_chip",
      "data_share", "eta", "tflops_per_s_per_chip", "mfu", "goodput",
      "step_seconds", *(f"{phase}_seconds" for phase in clock.PHASES)}
  short = lambda start: ((n, toy_run.batch_at(n)) for n in range(start, 12))
  kw = {"steps": 20, "workdir": tmp_path, "config": toy_run.CONFIG,
        "key": toy_run.KEY}
  with pytest.raises(ValueError, match="data ended at step 12"):
    loop.train(toy_run.program(), short, **kw)
  with pytest.raises(ValueError, match="data is at step 0 and the run at"):
    loop.train(toy_run.program(), lambda start: short(0), **kw)


def test_tensorboard_is_named_if_it_is_missing(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, "tensorboardX", None)
  with pytest.raises(ValueError, match="install tensorboardX"):
    toy_run.train(tmp_path, 1, tensorboard=True)


def test_gradients_in_parts_are_those_of_the_batch():
  """With rows that count unlike, and a mean that is not always a number."""
  rng = np.random.default_rng(0)
  x = rng.standard_normal((8, 5)).astype(np.float32)
  mask = rng.random((8, 5)) < np.linspace(.2, 1, 8)[:, None]
  mask[[0, 4]] = False  # all of the first of four parts
  params = {"w": jnp.asarray(rng.standard_normal(5), jnp.float32)}

  def objective(params, batch, key, step):
    def loss(params):
      return shared.masked_mean((batch["x"] * params["w"] - 1)**2,
                                    batch["mask"])
    value, grads = jax.value_and_grad(loss)(params)
    count = jnp.sum(batch["mask"])
    return grads, {"loss": value, "weight": count, "clips": 2 * len(batch["x"]),
                   "seen": jnp.where(count > 0, value, jnp.nan)}

  run = lambda parts, x: jax.jit(shared.accumulated(objective, parts))(
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
  with pytest.raises(ValueError, match="accumulate is 0"):
    optimizer.Optimizer(accumulate=0)


def test_the_optimizer_on_the_host_gives_the_same_run():
  """And its moments stay there between steps."""
  batch, states = toy_run.batch_at(0), []
  for offload in (False, True):
    program = toy_run.program(offload=offload)
    state = program.create()
    for _ in range(2):
      state, _ = program.step(state, batch, toy_run.KEY, program.phases)
    states.append(state)
  kinds = {x.sharding.memory_kind for x in jax.tree.leaves(states[1].opt_state)}
  assert kinds == {"pinned_host"}
  toy_run.same(states[1], states[0])


@pytest.mark.slow
def test_muon_makes_the_update_of_every_kernel_orthogonal():
  """Stacks layer by layer, convolutions as matrices; the rest is Adam's."""
  rng = np.random.default_rng(0)
  draw = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)
  params = {"vae": {"blocks": {"kernel": draw(2, 6, 24)},
                    "conv": {"kernel": draw(3, 3, 2, 6), "bias": draw(6)}}}
  tx = optimizer.transformation(optimizer.Optimizer(
      name="muon", learning_rate=1., warmup=0, clip=1e9, weight_decay=0.))
  updates, _ = tx.update(params, tx.init(params), params)
  stack, conv = updates["vae"]["blocks"], updates["vae"]["conv"]
  for matrix, size in [*((m, 24) for m in stack["kernel"]),
                       (conv["kernel"].reshape(18, 6), 18)]:
    values = np.linalg.svd(np.asarray(matrix), compute_uv=False)
    # Newton and Schulz leave singular values near 1, scaled to an RMS of .2.
    np.testing.assert_allclose(values / (.2 * size**.5), 1, atol=.45)
  assert np.ptp(np.abs(conv["bias"])) < 1e-4  # Adam's first step is a sign


@pytest.mark.slow
def test_moments_in_half_the_memory_nearly_give_the_same_run():
  states = []
  for moments in ("float32", "bfloat16"):
    program = toy_run.program(moments=moments)
    state = program.create()
    for n in range(20):
      state, metrics = program.step(state, toy_run.batch_at(n), toy_run.KEY,
                                    program.phases)
    states.append((state, float(metrics["loss"])))
  sizes = [sum(x.nbytes for x in jax.tree.leaves(s.opt_state) if x.ndim)
           for s, _ in states]
  assert sizes[1] == sizes[0] / 2
  start = toy_run.values(toy_run.program().create().params)
  a, b = (toy_run.values(s.params)["model/kernel"] - start["model/kernel"]
          for s, _ in states)
  assert 0 < np.linalg.norm(a - b) < .02 * np.linalg.norm(a)
  np.testing.assert_allclose(states[1][1], states[0][1], rtol=.01)


def test_a_slow_moment_is_not_kept_in_half_the_memory():
  with pytest.raises(ValueError, match="b2 of at most 0.99, it is 0.999"):
    optimizer.Optimizer(moments="bfloat16", b2=.999)
  with pytest.raises(ValueError, match="'float16', it must be one of"):
    optimizer.Optimizer(moments="float16")

"""The flow, the steppers and guidance, against cases with known answers."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sora_jax.diffusion import flow
from sora_jax.diffusion import guidance
from sora_jax.diffusion import sampling
from sora_jax.diffusion import steppers

pytestmark = pytest.mark.quick_compile

CFG = flow.Process()


def normal(seed, *shape):
  return jax.random.normal(jax.random.key(seed), shape)


# --------------------------------------------------------------------- flow


def test_a_corrupted_token_lies_on_the_line_from_data_to_noise():
  x0, t = normal(0, 2, 5, 3), jnp.linspace(0, 1, 10).reshape(2, 5, 1)
  x_t, targets = flow.corrupt(jax.random.key(1), x0, t)
  np.testing.assert_array_equal(x_t[0, 0], x0[0, 0])  # t = 0
  np.testing.assert_array_equal(x_t[1, 4], targets["eps"][1, 4])  # t = 1
  np.testing.assert_allclose(x_t, x0 + t * targets["velocity"], atol=1e-6)
  assert abs(float(jnp.std(flow.corrupt(
      jax.random.key(1), jnp.zeros((1, 9999, 1)), 1.0)[0])) - 1) < .02


@pytest.mark.parametrize("a, b",
                         list(itertools.permutations(flow.KINDS, 2)))
def test_predictions_convert_there_and_back(a, b):
  t = jnp.linspace(.05, .95, 19)[None, :, None]
  x_t, targets = flow.corrupt(jax.random.key(2), normal(1, 1, 19, 4), t)
  there = flow.convert(a, targets[a], x_t, t)
  for kind in flow.KINDS:
    np.testing.assert_allclose(there[kind], targets[kind], atol=3e-5)
  # and for a prediction that is wrong
  wrong = normal(3, 1, 19, 4)
  back = flow.convert(b, flow.convert(a, wrong, x_t, t)[b], x_t, t)[a]
  np.testing.assert_allclose(back, wrong, atol=2e-4)


@pytest.mark.parametrize("kind", flow.KINDS)
@pytest.mark.parametrize("t", [0.0, 1.0])
def test_the_ends_of_time_have_finite_gradients(kind, t):
  x0 = normal(0, 1, 4, 2)
  time = jnp.full((1, 4, 1), t)

  def loss(p):
    out = flow.convert(kind, p, x0, time)
    return sum(jnp.sum(flow.loss(CFG, v, x0, time)) for v in out.values())

  assert np.all(np.isfinite(jax.grad(loss)(normal(1, 1, 4, 2))))


def test_the_loss_is_that_of_the_velocity_above_the_clamp():
  t = jnp.asarray([.01, .05, .3, 1.]).reshape(1, 4, 1)
  x_t, targets = flow.corrupt(jax.random.key(0), normal(0, 1, 4, 3), t)
  x0_hat = normal(1, 1, 4, 3)
  velocity = flow.convert("x0", x0_hat, x_t, t)["velocity"]
  want = jnp.mean((velocity - targets["velocity"])**2, -1)
  got = flow.loss(CFG, x0_hat, targets["x0"], t)
  np.testing.assert_allclose(got[0, 1:], want[0, 1:], rtol=1e-4)
  np.testing.assert_allclose(
      got[0, 0], jnp.mean((x0_hat - targets["x0"])[0, 0]**2) / .05**2)


def test_the_shift_is_anchored_grows_and_is_clamped():
  cfg = flow.Process(base_tokens=100, max_shift=3.0)
  s = flow.shift_value(cfg, jnp.asarray([1, 100, 400, 900, 10**6]))
  np.testing.assert_allclose(s, [1, 1, 2, 3, 3])
  t = jnp.linspace(0, 1, 11)
  np.testing.assert_allclose(flow.shift(t, flow.shift_value(cfg, 50)), t,
                             atol=1e-7)
  shifted = flow.shift(t, flow.shift_value(cfg, 400))
  np.testing.assert_allclose([shifted[0], shifted[-1]], [0, 1])
  assert np.all(np.diff(shifted) > 0) and np.all(shifted[1:-1] > t[1:-1])
  np.testing.assert_allclose(sampling.grid(10, 2.0), shifted[::-1], atol=1e-6)


def test_every_segment_is_shifted_by_its_own_tokens():
  cfg = flow.Process(base_tokens=10, max_shift=9.0)
  seg = jnp.asarray([[1] * 10 + [2] * 40 + [3] * 5 + [0] * 9])
  draw = lambda cfg, key: flow.sample_times(cfg, key, seg, 5)[0]
  key = jax.random.key(0)
  plain = draw(dataclasses.replace(cfg, base_tokens=10**6), key)
  np.testing.assert_allclose(
      draw(cfg, key)[1:], flow.shift(plain, flow.shift_value(
          cfg, jnp.asarray([9, 10, 40, 5, 0])))[1:], rtol=1e-6)


@pytest.mark.slow
def test_times_follow_the_config():
  seg = jnp.ones((4000, 1), jnp.int32)
  draw = lambda **kw: flow.sample_times(
      flow.Process(**kw), jax.random.key(0), seg, 3)
  t = draw(mean=0.0, uniform=0.0)[:, 1:]
  logit = jnp.log(t) - jnp.log1p(-t)
  assert abs(float(logit.mean())) < .05 and abs(float(logit.std()) - 1) < .05
  assert float(draw(mean=1.0)[:, 1:].mean()) > float(t.mean()) + .1
  flat = draw(std=1e-6, uniform=0.25)[:, 1:]  # .5, or uniform
  assert abs(float(jnp.mean(jnp.abs(flat - .5) > 1e-3)) - .25) < .03
  known = draw(known_clean=0.4)[:, 0]
  assert abs(float(jnp.mean(known == 0)) - .4) < .03
  level = jnp.log(known[known > 0])
  assert abs(float(level.mean()) + 3) < .05
  assert abs(float(level.std()) - .5) < .05


@pytest.mark.parametrize("bad", [{"prediction": "score"}, {"t_min": 0},
                                 {"base_tokens": 0}])
def test_a_config_that_makes_no_sense_is_refused(bad):
  with pytest.raises(ValueError, match=str(*bad.values())):
    flow.Process(**bad)


# ----------------------------------------------------------------- steppers

MU, SIGMA = 0.7, 0.4


def gaussian(x, t):
  """E[x0 | x_t] of data N(MU, SIGMA^2)."""
  var = (1 - t)**2 * SIGMA**2 + t**2
  return MU + (1 - t) * SIGMA**2 / var * (x - (1 - t) * MU)


def solve(method, denoise, start, times, **how):
  return sampling.sample_scan(steppers.STEPPERS[method], denoise, start, times,
                              **how)


def error(method, steps, shift=1.0):
  """Largest error of the flow from noise to a Gaussian, whose map is known."""
  start = normal(0, 2, 7, 3)
  got = jax.jit(lambda x: solve(
      method, gaussian, x, sampling.grid(steps, shift)))(start)
  return float(jnp.max(jnp.abs(got - (MU + SIGMA * start))))


@pytest.mark.parametrize("method, low, high", [
    ("euler", .9, 1.1), ("ab2", 1.5, 2.1), ("heun", 1.5, 2.1)])
def test_order_of_convergence(method, low, high):
  steps = np.asarray([64, 128, 256, 512])
  errors = np.asarray([error(method, n) for n in steps])
  slope = -np.polyfit(np.log(steps), np.log(errors), 1)[0]
  print(f"{method}: errors {errors}, order {slope:.2f}")
  assert low < slope < high
  assert errors[0] < (.03 if method == "euler" else .003)


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_second_order_pays_at_the_same_number_of_evaluations(shift):
  errors = {name: error(name, stepper.steps(40), shift)
            for name, stepper in steppers.STEPPERS.items() if name != "ancestral"}
  print(f"40 evaluations, shift {shift}: {errors}")
  assert errors["ab2"] < errors["euler"] / 4
  assert errors["heun"] < errors["euler"]


@pytest.mark.parametrize("evaluations", [1, 2, 5, 8, 30])
@pytest.mark.parametrize("method", steppers.STEPPERS)
def test_steps_count_evaluations(method, evaluations):
  calls, stepper = [], steppers.STEPPERS[method]
  count = lambda x, t: jax.pure_callback(lambda x: calls.append(1) or x, x, x)
  times = sampling.grid(stepper.steps(evaluations))
  jax.block_until_ready(solve(method, count, normal(0, 1, 3, 1), times,
                              key=jax.random.key(0)))
  # Of an even number, heun leaves one out.
  odd = evaluations - (method == "heun" and evaluations % 2 == 0)
  assert len(calls) == odd


@pytest.mark.parametrize("method", steppers.STEPPERS)
def test_a_point_is_found_in_any_number_of_steps(method):
  point = normal(1, 1, 3, 2)
  for steps in (1, 2, 5):
    got = solve(method, lambda x, t: point, normal(0, 1, 3, 2),
                sampling.grid(steps), key=jax.random.key(2))
    np.testing.assert_allclose(got, point, atol=1e-6)


@pytest.mark.slow
def test_new_noise_gives_the_same_distribution_and_forgets_the_start():
  start = normal(0, 4, 25_000, 1)
  got = jax.jit(lambda x: solve(
      "ancestral", gaussian, x, sampling.grid(200),
      key=jax.random.key(1)))(start)
  assert abs(float(got.mean()) - MU) < .01
  assert abs(float(got.std()) - SIGMA) < .01
  assert abs(float(jnp.corrcoef(got.ravel(), start.ravel())[0, 1])) < .01


@pytest.mark.parametrize("method", steppers.STEPPERS)
def test_known_tokens_enter_and_leave_bit_equal(method):
  x_known, mask = normal(5, 2, 6, 3), jnp.arange(12).reshape(2, 6) % 3 == 0
  exact, stepper = [], steppers.STEPPERS[method]

  def denoise(x, t):
    same = jnp.all(jnp.where(mask[..., None], x == x_known, True))
    jax.debug.callback(lambda same: exact.append(bool(same)), same)
    return gaussian(x, t) + x.mean(1, keepdims=True) * t

  known = (x_known, mask)
  carry = sampling.init(stepper, normal(0, 2, 6, 3), known)
  step = lambda carry, c: sampling.sample_step(
      stepper, denoise, carry, c, known, normal(3, 2, 6, 3))
  got = sampling.sample_loop(
      step, carry, stepper.coefficients(sampling.grid(stepper.steps(5))))
  jax.effects_barrier()
  assert exact == [True] * 5
  np.testing.assert_array_equal(got[mask], x_known[mask])
  assert not np.any(np.asarray(got[~mask] == x_known[~mask]))


@pytest.mark.parametrize("method", steppers.STEPPERS)
def test_the_loop_equals_the_scan_and_is_one_program(method):
  start, times, seen = normal(0, 1, 4, 2), sampling.grid(6, 2.0), []
  stepper, key = steppers.STEPPERS[method], jax.random.key(3)
  run = jax.jit(lambda carry, c, noise: sampling.sample_step(
      stepper, gaussian, carry, c, None, noise))
  noise = (normal_of(key, i, start.shape) for i in range(6))
  got = sampling.sample_loop(
      lambda carry, c: run(carry, c, next(noise)),
      sampling.init(stepper, start), stepper.coefficients(times),
      lambda i, n: seen.append((i, n)))
  np.testing.assert_allclose(got, solve(method, gaussian, start, times, key=key),
                             atol=1e-6)
  assert seen == [(i, 6) for i in range(1, 7)]
  assert run._cache_size() == 1


def normal_of(key, i, shape):
  return jax.random.normal(jax.random.fold_in(key, i), shape)


@pytest.mark.parametrize("method", ["ab2", "heun"])
def test_part_of_the_way_is_on_the_flow(method):
  start = normal(0, 1, 8, 1)
  times = sampling.grid(60)[:31]  # to t = .5
  want = .5 * MU + np.sqrt(.25 * SIGMA**2 + .25) * start
  np.testing.assert_allclose(solve(method, gaussian, start, times), want,
                             atol=2e-3)


def test_solver_input_is_checked():
  with pytest.raises(ValueError, match="steps 0"):
    sampling.grid(0)
  for stepper in steppers.STEPPERS.values():
    with pytest.raises(ValueError, match="descend"):
      stepper.coefficients(np.asarray([0., .5, 1.]))
  with pytest.raises(ValueError, match="Ancestral.* draws noise"):
    solve("ancestral", gaussian, normal(0, 1, 2, 2), sampling.grid(2))


# ----------------------------------------------------------------- guidance


def test_guidance_goes_away_from_null():
  run = guidance.guided(lambda x, t: x + 1, lambda x, t: x - 1, 3.0)
  np.testing.assert_allclose(run(jnp.zeros(2), .5), 5.0)
  cond = lambda x, t: x
  assert guidance.guided(cond, cond, 1.0) is cond


def test_outside_the_interval_only_the_prompt_is_asked():
  calls = []
  null = lambda x, t: jax.pure_callback(
      lambda x: calls.append(1) or x, x, x)
  run = guidance.guided(lambda x, t: gaussian(x, t), null, 4.0, (.3, .7))
  times = sampling.grid(10)
  jax.block_until_ready(solve("ab2", run, normal(0, 1, 3, 1), times))
  assert len(calls) == sum((np.float32(t) >= .3) & (np.float32(t) <= .7)
                           for t in times[:-1])
  with pytest.raises(ValueError, match="interval"):
    guidance.guided(null, null, 2.0, (.7, .3))

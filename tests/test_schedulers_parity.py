"""The schedulers of model folders against the classes of diffusers."""

import re

import diffusers
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from sora_jax.diffusion import flow
from sora_jax.diffusion import sampling
from sora_jax.diffusion import schedulers
from sora_jax.diffusion import steppers

UNIPC = dict(use_flow_sigmas=True, prediction_type="flow_prediction")
CASES = [
    (diffusers.FlowMatchEulerDiscreteScheduler, dict(shift=s))
    for s in (1.0, 3.0, 5.0)
] + [
    (diffusers.UniPCMultistepScheduler, UNIPC | extra) for extra in (
        {}, dict(flow_shift=3.0), dict(flow_shift=5.0),
        dict(prediction_type="sample"), dict(solver_order=1, flow_shift=3.0),
        dict(disable_corrector=[0, 2], flow_shift=3.0))]
RNG = np.random.default_rng(0)
MIX = RNG.standard_normal((6, 6)).astype(np.float32) / 3
START = RNG.standard_normal((1, 6, 4, 1, 1)).astype(np.float32)


def network(x, time, tanh):
  """A nonlinear function of x and of the time that the network is told."""
  return tanh(MIX @ x[0, :, :, 0, 0] + 3 * time)[None, :, :, None, None]


def theirs(scheduler, steps):
  """The states of the reference, from the noise to the end."""
  scheduler.set_timesteps(steps)
  x, states = torch.tensor(START), [START]
  mix = torch.tensor(MIX)
  for t in scheduler.timesteps:
    out = torch.tanh(mix @ x[0, :, :, 0, 0] + 3 * t / 1000)
    x = scheduler.step(out[None, :, :, None, None], t, x, return_dict=False)[0]
    states.append(x.numpy())
  return states


def ours(config, steps):
  """The states of our steps, from the noise to the end."""
  kind = schedulers.prediction(config)

  def denoise(x, t, told=None):
    out = network(x, t if told is None else told, jnp.tanh)
    return flow.convert(kind, out, x, t)["x0"]

  carry = sampling.init(steps.stepper, START)
  states = [carry.x]
  for i in range(len(steps)):
    carry = sampling.sample_step(steps.stepper, denoise, carry,
                                 sampling.at(steps.coefficients, i))
    states.append(carry.x)
  return states


@pytest.mark.parametrize("steps", [1, 2, 4, 11])
@pytest.mark.parametrize("kind, settings", CASES)
def test_times_and_trajectories_agree(kind, settings, steps):
  scheduler = kind(**settings)
  config = dict(scheduler.config, _class_name=kind.__name__)
  found = schedulers.steps(config, steps)
  wanted = theirs(scheduler, steps)
  c = found.coefficients
  np.testing.assert_allclose(1000 * getattr(c, "told", c.t),
                             scheduler.timesteps, rtol=1e-6)
  np.testing.assert_array_equal(c.t, scheduler.sigmas[:-1])
  assert found.start == c.t[0]
  for a, b in zip(ours(config, found), wanted, strict=True):
    np.testing.assert_allclose(a, b, atol=2e-5)


def test_ancestral_steps_are_the_reference_s():
  times = sampling.grid(9, 2.0)[1:]  # the reference has no t = 1
  stepper = steppers.STEPPERS["ancestral"]
  coefficients = stepper.coefficients(times)
  scheduler = diffusers.EulerAncestralDiscreteScheduler(
      prediction_type="epsilon")
  scheduler.set_timesteps(8)
  scheduler.sigmas = torch.tensor(times / (1 - times), dtype=torch.float32)
  torch.manual_seed(0)
  noises = [torch.randn(START.shape).numpy() for _ in range(8)]
  torch.manual_seed(0)
  carry = sampling.init(stepper, START)
  for i, noise in enumerate(noises):
    c = sampling.at(coefficients, i)
    t, x = c.t, np.asarray(carry.x)
    x0 = np.asarray(network(x, t, np.tanh))
    y = torch.tensor(x / (1 - t))  # of variance sigma^2
    eps = (y - torch.tensor(x0)) / (t / (1 - t))
    # The reference adds noise of weight 0 in the last step too.
    wanted = scheduler.step(eps, scheduler.timesteps[i], y)[0]
    carry = sampling.sample_step(stepper, lambda x, t, x0=x0: x0, carry, c,
                                 noise=noise)
    np.testing.assert_allclose(carry.x, wanted * (1 - times[i + 1]), atol=2e-5)


@pytest.mark.parametrize("key, value", [
    ("use_flow_sigmas", False), ("use_karras_sigmas", True),
    ("solver_order", 3), ("solver_type", "bh1"), ("prediction_type", "v_prediction"),
    ("prediction_type", "epsilon"), ("flow_shift", 0), ("flow_shift", "3"),
    ("flow_shift", float("nan")), ("solver_order", None), ("disable_corrector", 3),
    ("disable_corrector", [-1]),
    ("_class_name", "DDIMScheduler"), ("final_sigmas_type", "sigma_min"),
    ("num_train_timesteps", 500)])
def test_a_setting_that_is_not_supported_is_named(key, value):
  config = UNIPC | {"_class_name": "UniPCMultistepScheduler"}
  schedulers.steps(config, 2)
  with pytest.raises(ValueError, match=re.escape(f"key {key} is {value!r}")):
    schedulers.prediction(config | {key: value})
  with pytest.raises(ValueError, match="steps 0"):
    schedulers.steps(config, 0)
  del config["use_flow_sigmas"]  # the reference's default is another path
  with pytest.raises(ValueError, match="use_flow_sigmas"):
    schedulers.steps(config, 2)

"""Two-step Adams-Bashforth: x0_hat is linear in time over a step.

The line goes through this evaluation and the last one, and the integral is
taken exactly (DEIS, Zhang & Chen 2022, arXiv 2204.13902). Second order, but for
a logarithm, at one evaluation a step. The first step, which has no last
evaluation, and one to 0 are Euler's.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sora_jax import types
from sora_jax.diffusion import flow
from sora_jax.diffusion.steppers import common


class Coefficients(NamedTuple):
  """Of every step, float32 [K]: its beginning t and the weights of x_s."""

  t: types.Array
  x: types.Array
  x0: types.Array
  x0_last: types.Array


class State(NamedTuple):
  """x and the x0_hat of the last step, both [B, L, P]."""

  x: jax.Array
  x0_last: jax.Array


@dataclasses.dataclass(frozen=True)
class AB2:
  """The stepper "ab2"."""

  draws_noise = False

  def steps(self, evaluations: int) -> int:
    """One evaluation a step."""
    return evaluations

  def coefficients(self, times: np.ndarray) -> Coefficients:
    """Those of the steps between `times` [K + 1]."""
    t, s = common.ends(times)
    c = np.zeros_like(t)  # the weight of x0_hat(t_last) - x0_hat(t)
    last = t[:-1] - t[1:]  # t_last - t of the steps from the second
    t1, s1 = t[1:], np.maximum(s[1:], 1e-12)
    c[1:] = np.where(s[1:] > 0, (s1 * np.log(t1 / s1) - t1 + s1) / last, 0)
    return common.float32(Coefficients(t=t, x=s / t, x0=1 - s / t - c,
                                     x0_last=c))

  def init(self, start: types.Array) -> State:
    """The carry at the first time."""
    return State(start, jnp.zeros_like(start))

  def step(self, denoise: flow.Denoise, carry: State, c: Coefficients,
           noise: None = None) -> State:
    """From t to s."""
    del noise
    x0 = denoise(carry.x, c.t)
    return State(c.x * carry.x + c.x0 * x0 + c.x0_last * carry.x0_last, x0)

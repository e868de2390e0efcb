"""Euler's method: x0_hat is held over a step, x_s = x0_hat + (s / t) (x - x0_hat).

First order, one evaluation a step.
"""

import dataclasses
from typing import NamedTuple

import numpy as np

from sora_jax import types
from sora_jax.diffusion import flow
from sora_jax.diffusion.steppers import common


class Coefficients(NamedTuple):
  """Of every step, float32 [K]: its beginning t and the weights of x_s."""

  t: types.Array
  x: types.Array
  x0: types.Array


@dataclasses.dataclass(frozen=True)
class Euler:
  """The stepper "euler"."""

  draws_noise = False

  def steps(self, evaluations: int) -> int:
    """One evaluation a step."""
    return evaluations

  def coefficients(self, times: np.ndarray) -> Coefficients:
    """Those of the steps between `times` [K + 1]."""
    t, s = common.ends(times)
    return common.float32(Coefficients(t=t, x=s / t, x0=1 - s / t))

  def init(self, start: types.Array) -> common.State:
    """The carry at the first time."""
    return common.State(start)

  def step(self, denoise: flow.Denoise, carry: common.State, c: Coefficients,
           noise: None = None) -> common.State:
    """From t to s."""
    del noise
    return common.State(c.x * carry.x + c.x0 * denoise(carry.x, c.t))

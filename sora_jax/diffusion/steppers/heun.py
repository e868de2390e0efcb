"""Heun's method: the mean of the slopes at both ends of a step.

  x' = x + (s - t) d(x, t),   x_s = x + (s - t) (d(x, t) + d(x', s)) / 2

with the slope d(x, t) = (x - x0_hat(x, t)) / t (Karras et al. 2022, arXiv
2206.00364, algorithm 1). Second order at two evaluations a step. A step to
0, where the slope is not defined, is Euler's, of one evaluation.

K steps make 2 K - 1 evaluations, so that `steps` of an even number of
evaluations leaves one of them out.
"""

import dataclasses
from typing import NamedTuple

import jax
import numpy as np

from sora_jax import types
from sora_jax.diffusion import flow
from sora_jax.diffusion.steppers import common


class Coefficients(NamedTuple):
  """Of every step, float32 [K]: its beginning t and its end s."""

  t: types.Array
  s: types.Array


@dataclasses.dataclass(frozen=True)
class Heun:
  """The stepper "heun"."""

  draws_noise = False

  def steps(self, evaluations: int) -> int:
    """Two evaluations a step, but one in the last."""
    return (evaluations + 1) // 2

  def coefficients(self, times: np.ndarray) -> Coefficients:
    """Those of the steps between `times` [K + 1]."""
    t, s = common.ends(times)
    return common.float32(Coefficients(t=t, s=s))

  def init(self, start: types.Array) -> common.State:
    """The carry at the first time."""
    return common.State(start)

  def step(self, denoise: flow.Denoise, carry: common.State, c: Coefficients,
           noise: None = None) -> common.State:
    """From t to s."""
    del noise
    x = carry.x
    x0 = denoise(x, c.t)
    slope = (x - x0) / c.t
    ahead = x0 + c.s / c.t * (x - x0)

    def corrected(ahead):
      return x + (c.s - c.t) / 2 * (slope + (ahead - denoise(ahead, c.s)) / c.s)

    return common.State(jax.lax.cond(c.s > 0, corrected, lambda ahead: ahead,
                                   ahead))

"""Ancestral sampling: of the noise that is left, a part is drawn anew.

It solves the stochastic equation that has the marginals of the flow, as in DDPM
(Ho et al. 2020, arXiv 2006.11239; the same as DDIM at eta 1). With sigma_t =
t / (1 - t) and r = sigma_s / sigma_t,

  x_s = (1 - s) x0_hat + s (r eps_hat + sqrt(1 - r^2) z),   z ~ N(0, 1).

New noise washes out the errors of earlier steps, which the flow carries to the
end (Karras et al. 2022, arXiv 2206.00364, section 4).
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
  noise: types.Array


@dataclasses.dataclass(frozen=True)
class Ancestral:
  """The stepper "ancestral"."""

  draws_noise = True

  def steps(self, evaluations: int) -> int:
    """One evaluation a step."""
    return evaluations

  def coefficients(self, times: np.ndarray) -> Coefficients:
    """Those of the steps between `times` [K + 1]."""
    t, s = common.ends(times)
    r = s * (1 - t) / (t * (1 - s))
    return common.float32(Coefficients(
        t=t, x=s * r / t, x0=1 - s - s * r * (1 - t) / t,
        noise=s * np.sqrt(1 - r**2)))

  def init(self, start: types.Array) -> common.State:
    """The carry at the first time."""
    return common.State(start)

  def step(self, denoise: flow.Denoise, carry: common.State, c: Coefficients,
           noise: types.Array) -> common.State:
    """From t to s, with new noise [B, L, P]."""
    x0 = denoise(carry.x, c.t)
    return common.State(c.x * carry.x + c.x0 * x0 + c.noise * noise)

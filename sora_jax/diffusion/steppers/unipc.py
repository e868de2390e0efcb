"""UniPC of order 1 or 2 (Zhao et al. 2023, arXiv 2302.04867).

A predictor, and a corrector that uses the evaluation at the end of a step to
improve that step. With alpha = 1 - sigma, lambda = log(alpha / sigma) and h the
difference of lambda over a step, both are

  x_s = sigma_s / sigma_t x_t
        + alpha_s B (m_0 + rho_1 (m_1 - m_0) / r + rho_2 (m_s - m_0))

of the predictions m_s, m_0, m_1 at the end of the step, at its beginning and
one step before, where B = 1 - e^-h and r is the ratio of the two steps. Model
folders in the `diffusers` layout name it (schedulers.py).
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sora_jax import types
from sora_jax.diffusion import flow
from sora_jax.diffusion.steppers import common

ORDERS = (1, 2)


class Coefficients(NamedTuple):
  """Of every step, float32 [K].

  Attributes:
    told: the time that the network is told.
    t: the noise level of x, which `told` may round.
    x_keep: the weight of x in the corrected x: 1 where nothing is corrected.
    x_begin, m_end, m_begin, m_before: the weights of x at the beginning of the
      last step and of the predictions at its end, at its beginning and one step
      before, in the corrected x.
    x, m, m_last: the weights of the corrected x, of this prediction and of the
      last one in the next x.
  """

  told: types.Array
  t: types.Array
  x_keep: types.Array
  x_begin: types.Array
  m_end: types.Array
  m_begin: types.Array
  m_before: types.Array
  x: types.Array
  m: types.Array
  m_last: types.Array


class State(NamedTuple):
  """All [B, L, P]: x, and of the last two steps what a step needs.

  Attributes:
    x: not corrected yet.
    x_last: the corrected x of the last step.
    m_last, m_before: x0_hat one and two steps before.
  """

  x: jax.Array
  x_last: jax.Array
  m_last: jax.Array
  m_before: jax.Array


@dataclasses.dataclass(frozen=True)
class UniPC:
  """The stepper of UniPCMultistepScheduler.

  Attributes:
    order: of the method, one of ORDERS.
    disable_corrector: the steps after which nothing is corrected.
  """

  order: int = 2
  disable_corrector: tuple[int, ...] = ()
  draws_noise = False

  def steps(self, evaluations: int) -> int:
    """One evaluation a step."""
    return evaluations

  def coefficients(self, times: np.ndarray,
                   told: np.ndarray | None = None) -> Coefficients:
    """Those of the steps between `times` [K + 1], which begin below 1.

    Args:
      times: the noise levels.
      told: [K], the times that the network is told; by default the noise
        levels.
    """
    sigmas = np.asarray(times, np.float64)
    steps = len(sigmas) - 1
    with np.errstate(divide="ignore"):
      lambdas = np.log(1 - sigmas) - np.log(sigmas)
    order = lambda k: min(self.order, steps - k, k + 1)
    weights = lambda k, corrects: _weights(sigmas, lambdas, k, order(k),
                                           corrects)
    corrector = np.tile([1.0, 0, 0, 0, 0], (steps, 1))  # nothing is corrected
    for k in range(1, steps):
      if k - 1 not in self.disable_corrector:
        corrector[k] = 0, *weights(k - 1, True)
    predictor = np.array([weights(k, False) for k in range(steps)])
    return common.float32(Coefficients(
        sigmas[:-1] if told is None else told, sigmas[:-1], *corrector.T,
        *predictor[:, [0, 2, 3]].T))

  def init(self, start: types.Array) -> State:
    """The carry at the first noise level."""
    return State(start, *(jnp.zeros_like(start) for _ in range(3)))

  def step(self, denoise: flow.Denoise, carry: State, c: Coefficients,
           noise: None = None) -> State:
    """Corrects x by the prediction at it, and goes on from there."""
    del noise
    m = denoise(carry.x, c.t, c.told)
    x = (c.x_keep * carry.x + c.x_begin * carry.x_last + c.m_end * m
         + c.m_begin * carry.m_last + c.m_before * carry.m_before)
    return State(c.x * x + c.m * m + c.m_last * carry.m_last, x, m,
                 carry.m_last)


def _weights(sigmas: np.ndarray, lambdas: np.ndarray, k: int, order: int,
             corrects: bool) -> tuple[float, float, float, float]:
  """The weights of x_t, m_s, m_0 and m_1 in step k."""
  h = lambdas[k + 1] - lambdas[k]
  b, ratio = -np.expm1(-h), sigmas[k + 1] / sigmas[k]
  r = (lambdas[k - 1] - lambdas[k]) / h if order == 2 else 1
  if not corrects:
    old, new = (1 / 2 if order == 2 else 0.), 0.
  elif order == 1:
    old, new = 0., 1 / 2
  else:
    # The integrals of 1 and lambda against e^lambda over the step, over B.
    first = 1 / b - 1 / h
    old, new = np.linalg.solve([[1, 1], [r, 1]],
                               [first, 2 * (first / -h + 1 / (2 * b))])
  scale, old = (1 - sigmas[k + 1]) * b, old / r
  return ratio, scale * new, scale * (1 - old - new), scale * old

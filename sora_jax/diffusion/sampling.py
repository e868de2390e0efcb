"""From noise to data with any stepper: the times, the step and the loop.

A stepper (contracts.Stepper) knows the numbers of its steps, `coefficients`,
and how to take one, `step`. Here is what all of them share: the grid of times,
the known tokens, which every step keeps bit by bit, and the two loops, a scan
on the device (`sample_scan`) and a loop on the host that reports progress
(`sample_loop`). The numbers of a step are traced, so one compiled program
serves all steps of a stepper.
"""

from collections.abc import Callable
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sora_jax import contracts
from sora_jax import types
from sora_jax.diffusion import flow

Known = tuple[types.Array, types.Array]  # x_known [B, L, P], mask [B, L] bool


@dataclasses.dataclass(frozen=True, eq=False)
class Steps:
  """The steps of a sample.

  Attributes:
    stepper: how a step is taken.
    coefficients: the numbers of the steps, a NamedTuple of arrays [K].
    start: the noise level at which the first one begins.
  """

  stepper: contracts.Stepper
  coefficients: Any
  start: float

  def __len__(self) -> int:
    """K, the number of steps."""
    return count(self.coefficients)


def grid(steps: int, shift: float = 1.0) -> np.ndarray:
  """Times [steps + 1] float64 from 1 down to 0, shifted as in training.

  Args:
    steps: steps, not evaluations (Stepper.steps).
    shift: flow.shift_value of the number of tokens that are sampled.

  Raises:
    ValueError: no step.
  """
  if steps < 1:
    raise ValueError(f"steps {steps}: sampling needs at least 1")
  return flow.shift(np.linspace(1.0, 0.0, steps + 1), float(shift))


def keep(x: jax.Array, known: Known | None) -> jax.Array:
  """x with the known tokens in place."""
  if known is None:
    return x
  return jnp.where(known[1][..., None], known[0], x)


def init(stepper: contracts.Stepper, start: types.Array,
         known: Known | None = None) -> Any:
  """The carry of a stepper at [B, L, P] noise, or data partly noised."""
  return stepper.init(keep(jnp.asarray(start), known))


def sample_step(stepper: contracts.Stepper, denoise: flow.Denoise, carry: Any,
                coefficients: Any, known: Known | None = None,
                noise: types.Array | None = None) -> Any:
  """One step. Known tokens enter `denoise` exact and leave the step exact.

  Args:
    stepper: one of steppers.STEPPERS.
    denoise: (x_t [B, L, P], t) -> x0_hat [B, L, P].
    carry: of `init` or of the step before.
    coefficients: of this step (`at`).
    known: the tokens that are given, or None.
    noise: [B, L, P] standard normal, new for each step, of a stepper that
      draws noise.
  """
  def holding(x_t, t, *told):
    return keep(denoise(keep(x_t, known), t, *told), known)

  carry = stepper.step(holding, carry, coefficients, noise)
  return carry._replace(x=keep(carry.x, known))


def steps_between(stepper: contracts.Stepper, times: np.ndarray,
                  **told: np.ndarray) -> Steps:
  """The steps of a grid; float32, as what is computed with them."""
  return Steps(stepper, stepper.coefficients(times, **told),
               float(np.float32(times[0])))


def count(coefficients: Any) -> int:
  """The number of steps."""
  return len(jax.tree.leaves(coefficients)[0])


def at(coefficients: Any, step: int) -> Any:
  """The coefficients of one step."""
  return jax.tree.map(lambda values: values[step], coefficients)


def sample_scan(stepper: contracts.Stepper, denoise: flow.Denoise,
                start: types.Array, times: np.ndarray,
                known: Known | None = None,
                key: jax.Array | None = None) -> jax.Array:
  """Goes from `start` at times[0] to times[-1], in one scan.

  Args:
    stepper: one of steppers.STEPPERS.
    denoise: (x_t [B, L, P], t) -> x0_hat [B, L, P].
    start: [B, L, P] noise at times[0] = 1, or data partly noised.
    times: a descending grid, not traced.
    known: as in `sample_step`.
    key: of the noise that a stepper draws.

  Returns:
    [B, L, P] at times[-1]; known tokens are bit-equal to x_known.

  Raises:
    ValueError: no key where noise is drawn.
  """
  if stepper.draws_noise and key is None:
    raise ValueError(f"{stepper} draws noise: give a key")
  rows = stepper.coefficients(times)

  def body(carry, row):
    i, coefficients = row
    noise = jax.random.normal(jax.random.fold_in(key, i), start.shape
                              ) if stepper.draws_noise else None
    return sample_step(stepper, denoise, carry, coefficients, known,
                       noise), None

  rows = jnp.arange(count(rows)), rows
  return jax.lax.scan(body, init(stepper, start, known), rows)[0].x


def sample_loop(step: Callable[[Any, Any], Any], carry: Any, coefficients: Any,
                report: Callable[[int, int], None] | None = None) -> jax.Array:
  """The same as a loop on the host: carry = step(carry, coefficients).

  Args:
    step: a (jitted) `sample_step`.
    carry: of `init`.
    coefficients: of all steps.
    report: called with (i, count) once step i of count, from 1, is under way.

  Returns:
    [B, L, P] after the last step.
  """
  steps = count(coefficients)
  for i in range(steps):
    carry = step(carry, at(coefficients, i))
    if report is not None:
      report(i + 1, steps)
  return carry.x

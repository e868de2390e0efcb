"""Solvers of the probability flow: from noise to data, in x0 form.

With x0_hat(t) = E[x0 | x_t] the flow of `process` is dx/dt = (x - x0_hat) / t,
so that, exactly,

  x_s / s = x_t / t + int_s^t x0_hat(u) / u^2 du.

  euler  x0_hat held:  x_s = x0_hat + (s / t) (x_t - x0_hat)
  ab2    x0_hat linear in u through this and the last evaluation, the integral
         taken exactly (DEIS, Zhang & Chen 2022, arXiv 2204.13902): second
         order, but for a logarithm, at one evaluation a step.

The last step, to s = 0, is euler's in all: it gives x0_hat itself, and as
x0_hat(t) - x_0 = O(t^2) along the flow it costs no order.

"ancestral" solves the stochastic equation that has the same marginals: of the
noise that is left after a step a part is drawn anew, as in DDPM (Ho et al.
2020, arXiv 2006.11239; the same as DDIM at eta 1). With sigma_t = t / (1 - t)
and r = sigma_s / sigma_t,

  x_s = (1 - s) x0_hat + s (r eps_hat + sqrt(1 - r^2) z),   z ~ N(0, 1).

New noise washes out the errors of earlier steps, which the flow carries to the
end (Karras et al. 2022, arXiv 2206.00364, section 4).

The solvers that other people's model folders name are in schedulers.py.

A solver is a table with one row a step, and one pure `step` serves them all, so
that a caller can scan it (`solve`) or jit the step and report progress
(`sample_loop`). The columns of a row are

  0      time: what the network is told
  1      t: the noise level of x, which `time` may round
  2..6   weights of (x, x_last, x0_hat, x0_hat_1, x0_hat_2) that correct x,
  7..11  weights of the same, x corrected, that give the next x
  12     the weight of new noise in the next x

x_last is the corrected x of the step before, x0_hat_1 and x0_hat_2 are the
predictions one and two steps before.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from sora_jax import types

METHODS = ("euler", "ab2", "ancestral")
COLUMNS = 13
NOISE = 12  # the column of new noise
Denoise = Callable[[jax.Array, jax.Array], jax.Array]  # (x_t, t) -> x0_hat


def grid(steps: int, shift: float = 1.0) -> np.ndarray:
  """Times [steps + 1] float64 from 1 down to 0, shifted as in training.

  Args:
    steps: evaluations of the network.
    shift: `process.shift_value` of the number of tokens that are sampled.
  """
  if steps < 1:
    raise ValueError(f"steps {steps}: sampling needs at least 1")
  t = np.linspace(1.0, 0.0, steps + 1)
  shift = float(shift)
  return shift * t / (1 + (shift - 1) * t)


def table(times: np.ndarray, method: str = "ab2") -> np.ndarray:
  """The rows [K, COLUMNS] float32 of the steps between `times`.

  c is the weight of x0_hat(t_last) - x0_hat(t); it is 0 on the first step,
  which has no last one, and on a step to 0.
  """
  if method not in METHODS:
    raise ValueError(f"method {method!r} is none of {METHODS}")
  times = np.asarray(times, np.float64)
  t, s = times[:-1], times[1:]
  if not np.all(t > s) or s[-1] < 0 or t[0] > 1:
    raise ValueError("the times of a grid descend within [0, 1]; "
                     f"these go from {times[0]} to {times[-1]}")
  c = np.zeros_like(t)
  if method == "ab2":
    last = times[:-2] - times[1:-1]  # t_last - t of the steps from the second
    t1, s1 = t[1:], np.maximum(s[1:], 1e-12)
    c[1:] = np.where(s[1:] > 0, (s1 * np.log(t1 / s1) - t1 + s1) / last, 0)
  rows = np.zeros((len(t), COLUMNS))
  rows[:, 0] = rows[:, 1] = t
  rows[:, 2] = 1  # nothing is corrected
  rows[:, 7], rows[:, 9], rows[:, 10] = s / t, 1 - s / t - c, c
  if method == "ancestral":
    r = s * (1 - t) / (t * (1 - s))
    rows[:, 7] = s * r / t
    rows[:, 9] = 1 - s - s * r * (1 - t) / t
    rows[:, NOISE] = s * np.sqrt(1 - r**2)
  return rows.astype(np.float32)


def init(start: types.Array, known=None):
  """The carry (x, x_last, x0_hat_1, x0_hat_2) at the first row of a table."""
  x = keep(jnp.asarray(start), known)
  return (x, *(jnp.zeros_like(x) for _ in range(3)))


def keep(x: jax.Array, known=None) -> jax.Array:
  """Puts the known tokens in place; known = (x_known [B,L,P], mask [B,L])."""
  if known is None:
    return x
  return jnp.where(known[1][..., None], known[0], x)


def step(denoise: Denoise, carry, row: types.Array, known=None, noise=None):
  """One step: carry -> carry. Pure, of one shape for every row.

  Args:
    denoise: (x_t [B, L, P], t scalar) -> x0_hat [B, L, P].
    carry: from `init` or the step before.
    row: [COLUMNS], a row of `table`.
    known: (x_known [B, L, P], mask [B, L] bool) or None; known tokens enter
      `denoise` exact, whatever t is, and leave exact.
    noise: [B, L, P] standard normal, drawn anew for each step, or None where
      the row gives it no weight.
  """
  x, last, *older = carry
  x0 = keep(denoise(x, row[1]), known)
  mix = lambda weights, x: sum(
      w * v for w, v in zip(weights, (x, last, x0, *older)))
  x = mix(row[2:7], x)
  new = mix(row[7:12], x)
  if noise is not None:
    new = new + row[NOISE] * noise
  return keep(new, known), x, x0, older[0]


def solve(denoise: Denoise, start: types.Array, times: np.ndarray, known=None,
          method: str = "ab2", key: jax.Array | None = None) -> jax.Array:
  """Integrates from `start` at times[0] to times[-1], in one scan.

  Args:
    denoise: (x_t [B, L, P], t scalar) -> x0_hat [B, L, P].
    start: [B, L, P] noise at times[0] = 1, or data partly noised.
    times: a descending grid, not traced.
    known: (x_known, mask) as in `step`.
    method: one of METHODS.
    key: of the noise that "ancestral" adds.

  Returns:
    [B, L, P] at times[-1]; known tokens are bit-equal to x_known.

  Raises:
    ValueError: no key where noise is drawn.
  """
  if method == "ancestral" and key is None:
    raise ValueError("method 'ancestral' draws noise: give a key")
  rows = jnp.asarray(table(times, method))
  draw = lambda i: (jax.random.normal(jax.random.fold_in(key, i), start.shape)
                    if method == "ancestral" else None)
  body = lambda carry, row: (step(denoise, carry, row[1], known, draw(row[0])),
                             None)
  rows = jnp.arange(len(rows)), rows
  return jax.lax.scan(body, init(start, known), rows)[0][0]


def sample_loop(advance, carry, rows: np.ndarray, report=None):
  """The same as a loop on the host: carry = advance(carry, row) per row.

  `advance` is a (jitted) `step`; `report(i, count)` is called once step i is
  under way.
  """
  for i, row in enumerate(rows):
    carry = advance(carry, row)
    if report is not None:
      report(i + 1, len(rows))
  return carry[0]

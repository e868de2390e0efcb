"""What steppers share: the ends of steps, and the plainest carry."""

from typing import Any, NamedTuple

import jax
import numpy as np


class State(NamedTuple):
  """The carry of a stepper that remembers nothing: x [B, L, P]."""

  x: jax.Array


def ends(times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """The times t [K] at which the steps of a grid begin, and s [K], their ends.

  Raises:
    ValueError: the grid [K + 1] does not descend within [0, 1].
  """
  times = np.asarray(times, np.float64)
  t, s = times[:-1], times[1:]
  if not np.all(t > s) or s[-1] < 0 or t[0] > 1:
    raise ValueError("the times of a grid descend within [0, 1]; "
                     f"these go from {times[0]} to {times[-1]}")
  return t, s


def float32(coefficients: Any) -> Any:
  """The same tuple with all numbers as float32."""
  return type(coefficients)(*(np.asarray(x, np.float32) for x in coefficients))

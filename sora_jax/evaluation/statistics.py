"""Shares and means with their 95 % intervals.

A share of right answers carries the Wilson interval (Wilson 1927, "Probable
inference, the law of succession, and statistical inference"), which holds for
few answers and for shares near 0 and 1; a mean of decibels or SSIM carries the
percentile bootstrap interval over clips (Efron 1979).
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from scipy import stats

DRAWS = 2000  # resamples of the bootstrap


def wilson(right: int, n: int) -> tuple[float, float]:
  """The 95 % interval of a share of `right` out of `n`; (0, 1) when n is 0."""
  if n == 0:
    return 0.0, 1.0
  found = stats.binomtest(right, n).proportion_ci(method="wilson")
  return float(found.low), float(found.high)


def bootstrap(values: Sequence[float], seed: int = 0,
              of: Callable[..., Any] = np.mean) -> tuple[float, float]:
  """The 95 % percentile interval of a statistic, values drawn with return.

  Args:
    values: one or more.
    seed: of the resamples.
    of: np.mean or another statistic with an argument `axis`.
  """
  if len(values) == 1:
    return float(values[0]), float(values[0])
  found = stats.bootstrap(
      (np.asarray(values, np.float64),), of, n_resamples=DRAWS,
      vectorized=True, method="percentile",
      random_state=np.random.default_rng(seed)).confidence_interval
  return float(found.low), float(found.high)


def share(answers: Iterable[bool]) -> dict[str, Any]:
  """{value, low, high, n} of right and wrong answers; value None of none."""
  answers = list(answers)
  n, right = len(answers), sum(map(bool, answers))
  low, high = wilson(right, n)
  return {"value": right / n if n else None, "low": low, "high": high, "n": n}


def mean(values: Iterable[float], seed: int = 0,
         of: Callable[..., Any] = np.mean) -> dict[str, Any]:
  """{value, low, high, n} of a mean over clips; value None without any.

  `of` is np.mean or another statistic with an argument `axis`.
  """
  values = [float(v) for v in values]
  if not values:
    return {"value": None, "low": None, "high": None, "n": 0}
  low, high = bootstrap(values, seed, of)
  return {"value": float(of(values, axis=0)), "low": low, "high": high,
          "n": len(values)}


def average(values: Sequence[float],
            of: Callable[..., Any] = np.mean) -> float | None:
  """The mean of numbers, or the share of answers, without an interval."""
  return float(of(np.array(values, float))) if values else None


def summary(values: Iterable[Any], of: Callable[..., Any] = np.mean
            ) -> dict[str, Any]:
  """The share of answers, if the values are such, or the mean of numbers."""
  values = list(values)
  if all(isinstance(v, bool | np.bool_) for v in values):
    return share(values)
  return mean(values, of=of)

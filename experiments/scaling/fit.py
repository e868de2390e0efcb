"""The law of a surface of runs: L = E + A N^-a + B D^-b, fitted directly.

N are parameters, D tokens. A grid over the exponents, and for each pair E, A and B
by non-negative least squares of the relative error (Hoffmann et al. 2022, arXiv
2203.15556, approach 3; no parabolas). The bootstrap draws runs with return.
"""

from collections.abc import Callable, Sequence
import dataclasses
from typing import Any

import numpy as np
from scipy import optimize

EXPONENTS = np.round(np.arange(0.05, 1.51, 0.05), 2)
BUDGETS = 3  # a law needs at least so many
SCALE = 1e6  # N and D are taken in millions, so that A and B are of order 1


@dataclasses.dataclass(frozen=True)
class Law:
  """A fitted law, N and D in millions."""

  e: float
  a_scale: float
  a: float
  b_scale: float
  b: float

  def loss(self, params: Any, tokens: Any) -> Any:
    """The loss of N parameters after D tokens."""
    n, d = np.asarray(params) / SCALE, np.asarray(tokens) / SCALE
    return self.e + self.a_scale * n ** -self.a + self.b_scale * d ** -self.b

  @property
  def growth(self) -> float:
    """x of N_opt ~ C^x."""
    return self.b / (self.a + self.b)


def points(runs: Sequence[dict]) -> np.ndarray:
  """[runs, 3] N, D and loss.

  Raises:
    ValueError: fewer than 3 budgets.
  """
  budgets = {round(np.log(run["budget"]), 3) for run in runs}
  if len(budgets) < BUDGETS:
    raise ValueError(f"the runs have {len(budgets)} budgets and a fit needs "
                     f"{BUDGETS} or more: run more of the surface")
  return np.array([[run["params"], run["tokens"], run["loss"]["all"]]
                   for run in runs])


def law(found: np.ndarray) -> Law:
  """The law with the least relative error of points [runs, 3]."""
  n, d, loss = found[:, 0] / SCALE, found[:, 1] / SCALE, found[:, 2]
  best, result = np.inf, None
  ones = np.ones(len(loss))
  for a in EXPONENTS:
    for b in EXPONENTS:
      x = np.stack([ones, n ** -a, d ** -b], 1) / loss[:, None]
      (e, a_scale, b_scale), error = optimize.nnls(x, ones)
      if error < best:
        best, result = error, Law(float(e), float(a_scale), float(a),
                                  float(b_scale), float(b))
  assert result is not None
  return result


def bootstrap(found: np.ndarray, draws: int, seed: int = 0) -> list[Law]:
  """Laws of points drawn with return; a draw has 4 different runs or more."""
  rng = np.random.default_rng(seed)
  laws: list[Law] = []
  while len(laws) < draws:
    which = rng.integers(len(found), size=len(found))
    if len(set(which)) >= min(4, len(found)):
      laws.append(law(found[which]))
  return laws


def best_width(law_: Law, budget: float, works: dict[int, Any]) -> int:
  """The width with the least loss at a budget in FLOPs.

  Args:
    law_: the law.
    budget: in FLOPs.
    works: family.Work of each width that may be chosen.
  """
  return min(works, key=lambda width: loss_at(law_, budget, works[width]))


def loss_at(law_: Law, budget: float, work: Any) -> float:
  """The loss of a family.Work after a budget in FLOPs."""
  return float(law_.loss(work.params, budget / work.flops * work.tokens))


def interval(values: Sequence[float], share: float = 0.9) -> tuple[float, float]:
  """The percentile interval of a bootstrap."""
  low, high = np.percentile(values, (50 * (1 - share), 50 * (1 + share)))
  return float(low), float(high)


@dataclasses.dataclass(frozen=True)
class Link:
  """A fact score from a loss: low + (high - low) / (1 + exp(k (loss - middle)))."""

  low: float
  high: float
  k: float
  middle: float

  def score(self, loss: Any) -> Any:
    """The fact score at a loss."""
    return self.low + (self.high - self.low) / (
        1 + np.exp(np.clip(self.k * (np.asarray(loss) - self.middle), -50, 50)))


def link(losses: Sequence[float], scores: Sequence[float], low: float,
         high: float) -> Link:
  """The link with the least squared error over a grid.

  Args:
    losses, scores: of runs, three or more.
    low, high: floor and ceiling of the score.

  Raises:
    ValueError: fewer than 3 runs.
  """
  x, y = np.asarray(losses), np.asarray(scores)
  if len(x) < 3:
    raise ValueError(f"a link of score and loss needs 3 runs with facts, not "
                     f"{len(x)}")
  spread = max(np.ptp(x), 1e-3)
  grid: list[Link] = [
      Link(low, high, float(k / spread), float(middle))
      for k in np.geomspace(0.3, 30, 25)
      for middle in np.linspace(x.min() - 4 * spread, x.max() + spread, 60)]
  error: Callable[[Link], float] = lambda one: float(
      np.sum((one.score(x) - y) ** 2))
  return min(grid, key=error)

"""What the time of a run is spent on, and its rates.

Every second of a run belongs to one phase; what no other phase claims is spent
on steps. Goodput is the share of steps in all (Google Cloud, "ML Productivity
Goodput"). Rates are those of the steps alone, of all chips or of one:

  MFU = model FLOPs of the steps / (seconds x chips x peak of a chip)

of Chowdhery et al. 2022 (arXiv 2204.02311): what is computed again counts not.
"""

from collections.abc import Callable, Iterator
import contextlib
import dataclasses
import time
from typing import Any

# restart: reading the checkpoint, and the steps that are done again after a
# stop without a save. evaluation: previews and all else of the hooks.
PHASES = ("init", "restart", "compile", "data", "save", "evaluation")


@dataclasses.dataclass(frozen=True)
class Rates:
  """What the speed of a run is measured by.

  Attributes:
    unit: what is counted, such as "tokens".
    count: batch of this host -> the units in it.
    flops: batch of this host -> the model FLOPs of a step with it, forward and
      backward; 0 if they are not known.
    chips: that the run uses.
    peak: operations a second of a chip; 0 if it is not known.
  """

  unit: str = "tokens"
  count: Callable[[Any], float] = lambda batch: 0
  flops: Callable[[Any], float] = lambda batch: 0
  chips: int = 1
  peak: float = 0.0


@dataclasses.dataclass
class Clock:
  """The clock of one run.

  Attributes:
    unit: what is counted, "tokens" or "pixels".
    steps: the last step of the run, for the time that is left.
    chips: that the run uses.
    peak: operations a second of a chip; 0 if it is not known.
    start: when the run began, of time.monotonic().
    spent: seconds of each phase up to now.
  """

  unit: str
  steps: int
  chips: int = 1
  peak: float = 0.0
  start: float = dataclasses.field(default_factory=lambda: time.monotonic())
  spent: dict[str, float] = dataclasses.field(
      default_factory=lambda: dict.fromkeys(PHASES, 0.0))
  mark: float = dataclasses.field(init=False)  # where this span began
  count: int = 0
  units: float = 0.0
  flops: float = 0.0
  waited: float = 0.0
  left_out: float = 0.0
  rate: float = 0.0
  lost: float = 0.0

  def __post_init__(self):
    self.mark = self.start

  def add(self, phase: str, seconds: float) -> None:
    """Adds seconds that have just passed to a phase."""
    self.spent[phase] += seconds
    if phase == "data":
      self.waited += seconds
    else:
      self.left_out += seconds

  @contextlib.contextmanager
  def phase(self, name: str) -> Iterator[None]:
    """Adds what the block takes to a phase."""
    begun = time.monotonic()
    try:
      yield
    finally:
      self.add(name, time.monotonic() - begun)

  def lose(self, seconds: float) -> None:
    """Adds the seconds of an earlier run whose steps are done again."""
    self.lost += seconds
    self.spent["restart"] += seconds

  def tick(self, units: float, flops: float = 0.0) -> None:
    """One more step, of `units` and of model FLOPs over all chips."""
    self.count += 1
    self.units += units
    self.flops += flops

  def seconds_a_step(self) -> float:
    """Of the last span, or of this one where it is the first; 0 before."""
    if self.count:
      return self._span() / self.count
    return 1 / self.rate if self.rate else 0.0

  def timing(self, step: int) -> dict[str, float]:
    """The timing fields of a line of metrics; begins the next span."""
    span = self._span()
    if self.count:
      rate = self.count / span
      self.rate = 0.5 * (self.rate + rate) if self.rate else rate
    out = {"steps_per_s": self.count / span,
           f"{self.unit}_per_s": self.units / span,
           f"{self.unit}_per_s_per_chip": self.units / span / self.chips,
           "data_share": min(self.waited / span, 1.0),
           "eta": (self.steps - step) / self.rate if self.rate else 0.0}
    if self.flops:
      flops = self.flops / span / self.chips
      out["tflops_per_s_per_chip"] = flops / 1e12
      if self.peak:
        out["mfu"] = flops / self.peak
    self.mark, self.count, self.units, self.flops = time.monotonic(), 0, 0, 0
    self.waited, self.left_out = 0.0, 0.0
    return {k: round(v, 6) for k, v in (self.totals() | out).items()}

  def totals(self) -> dict[str, float]:
    """Seconds in all, of every phase and of the steps, and the goodput."""
    seconds = time.monotonic() - self.start
    steps = max(seconds + self.lost - sum(self.spent.values()), 0.0)
    return {"seconds": seconds,
            **{f"{k}_seconds": v for k, v in self.spent.items()},
            "step_seconds": steps,
            "goodput": steps / max(seconds + self.lost, 1e-9)}

  def _span(self) -> float:
    """Seconds of this span that steps and their data took."""
    return max(time.monotonic() - self.mark - self.left_out, 1e-9)

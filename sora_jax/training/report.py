"""What a run tells of its steps: a line in metrics.jsonl and one on the screen."""

import dataclasses
import time
from typing import Any

import jax

from sora_jax.training import clock as clock_lib
from sora_jax.training import metrics as metrics_lib
from sora_jax.training import progress


@dataclasses.dataclass(frozen=True)
class Step:
  """A step that was dispatched, whose metrics are read while the next one runs.

  Attributes:
    number: of the step, counted from 1.
    metrics: of the step, on the devices.
    lost: clips that it could not read.
    unreadable: clips that could not be read up to now, of all calls.
    measured: whether it was validated, so that it has a line.
  """

  number: int
  metrics: dict[str, Any]
  lost: int
  unreadable: int
  measured: bool = False


class Report:
  """Writes the steps of a call.

  Attributes:
    skips: the steps that were skipped.
    clips: that were seen, earlier calls included.
  """

  def __init__(self, writer: metrics_lib.MetricsWriter, clock: clock_lib.Clock,
               log_every: int, clips: int):
    self.skips = list[int]()
    self.clips = float(clips)
    self._writer = writer
    self._clock = clock
    self._log_every = log_every
    self._shown = time.monotonic()

  def write(self, step: Step) -> int:
    """Writes a step; returns how many were skipped in a row up to it."""
    n, steps, clock = step.number, self._clock.steps, self._clock
    values = {k: float(v) for k, v in jax.device_get(step.metrics).items()}
    consecutive = int(values.pop("consecutive_skips"))
    self.clips = values["clips"]
    values["unreadable"] = step.unreadable
    if consecutive:
      self.skips.append(n)
      progress.log(f"step {n} skipped: " + (
          "its batch has no token to learn from" if values.get("weight") == 0
          else f"loss {values['loss']:.4g}, gradient norm "
               f"{values['grad_norm']:.4g}"))
    if n % self._log_every == 0 or consecutive or step.lost or step.measured:
      timing = clock.timing(n)
      self._writer.write(n, values, timing)
      self._show(progress.metrics_line(n, steps, values, timing, clock.unit))
      return consecutive
    line = progress.step_line(n, steps, values, clock.seconds_a_step())
    progress.live(line)
    if (time.monotonic() - self._shown > progress.QUIET
        and not progress.terminal()):
      self._show(line)
    return consecutive

  def _show(self, line: str) -> None:
    progress.log(line)
    self._shown = time.monotonic()

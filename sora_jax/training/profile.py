"""Traces some steps of a run for xprof and Perfetto.

The trace is in profile/ of the run's folder; of several processes each writes
its own.
"""

import dataclasses
import os
import pathlib
from typing import Any

import jax

from sora_jax.training import progress

FOLDER = "profile"


@dataclasses.dataclass
class Tracer:
  """Traces the steps `first` to `last`, both included.

  Attributes:
    workdir: of the run.
    steps: (first, last), or None for no trace.
    running: whether a trace is under way.
  """

  workdir: str | os.PathLike
  steps: tuple[int, int] | None
  running: bool = False

  def before(self, step: int) -> None:
    """Begins at the first of the steps, or where the run goes on among them."""
    if self.steps and not self.running and (
        self.steps[0] <= step <= self.steps[1]):
      jax.profiler.start_trace(str(self._folder()))
      self.running = True

  def after(self, step: int, metrics: Any) -> None:
    """Ends after the last of the steps."""
    if self.running and self.steps and step >= self.steps[1]:
      jax.block_until_ready(metrics)
      self.close()

  def close(self) -> None:
    """Ends a trace that is under way."""
    if self.running:
      self.running, self.steps = False, None
      jax.profiler.stop_trace()
      progress.log(f"the trace is in {self._folder()}")

  def _folder(self) -> pathlib.Path:
    return pathlib.Path(self.workdir) / FOLDER


def parse(text: str) -> tuple[int, int] | None:
  """'10:12' to (10, 12); "" to None.

  Raises:
    ValueError: anything else.
  """
  if not text:
    return None
  first, _, last = text.partition(":")
  if not (first.isdigit() and last.isdigit() and 1 <= int(first) <= int(last)):
    raise ValueError(f"--profile={text}: give FROM:TO, the first and the last "
                     "step to trace, such as 10:12")
  return int(first), int(last)

"""The metrics of a run: metrics.jsonl, TensorBoard, and a line of progress.

One line of metrics.jsonl is {"step": n, metric: value, .., "timing": {..}}.
Everything outside "timing" is a function of the config and the step, so an
interrupted run's file equals an uninterrupted one's. A value that is not finite
is null. On resume the file is cut back to the restored step. Of several
processes the first alone writes and prints.
"""

import dataclasses
import json
import math
import os
import pathlib
import sys
import time
from typing import Any, TextIO

from sora_jax import files
from sora_jax.mesh import multihost

METRICS = "metrics.jsonl"


def cut_back(path: pathlib.Path, step: int) -> None:
  """Drops the lines after `step`, and a half-written one, in one rename."""
  if not path.exists():
    return
  kept = []
  for line in path.read_text(encoding="utf-8").splitlines():
    try:
      if json.loads(line)["step"] <= step:
        kept.append(line + "\n")
    except (ValueError, KeyError, TypeError):
      continue  # cut short by a kill
  files.write_text(path, "".join(kept))


@dataclasses.dataclass
class MetricsWriter:
  """Writes the metrics of a run; made by `open_writer`."""

  lines: TextIO
  board: Any = None

  def write(self, step: int, metrics: dict[str, float],
            timing: dict[str, float]) -> None:
    """Appends one line, and the same scalars to TensorBoard."""
    clean = {k: v if math.isfinite(v) else None for k, v in metrics.items()}
    record = {"step": step, **clean, "timing": timing}
    self.lines.write(json.dumps(record) + "\n")
    self.lines.flush()
    if self.board is not None:
      for k, v in {**clean, **timing}.items():
        if v is not None:
          self.board.add_scalar(k, v, step)

  def close(self) -> None:
    """Closes the files."""
    self.lines.close()
    if self.board is not None:
      self.board.close()


def open_writer(workdir: str | os.PathLike, step: int,
                tensorboard: bool = False) -> MetricsWriter:
  """Opens the metrics of a run at `step`, later lines cut off.

  Raises:
    ValueError: TensorBoard is asked for and not installed.
  """
  if not multihost.first():
    return MetricsWriter(open(os.devnull, "w", encoding="utf-8"), None)
  workdir = pathlib.Path(workdir)
  workdir.mkdir(parents=True, exist_ok=True)
  board = None
  if tensorboard:
    try:
      import tensorboardX  # pylint: disable=g-import-not-at-top
    except ImportError as e:
      raise ValueError("TensorBoard logs need the extra: "
                       "pip install 'sora_jax[log]'") from e
    board = tensorboardX.SummaryWriter(str(workdir / "tensorboard"),
                                       purge_step=step + 1)
  cut_back(workdir / METRICS, step)
  return MetricsWriter(open(workdir / METRICS, "a", encoding="utf-8"), board)


@dataclasses.dataclass
class Clock:
  """Rates since the last report; compiling and hooks are left out of them.

  Attributes:
    unit: what is counted, "tokens" or "pixels".
    steps: the last step of the run, for the time that is left.
  """

  unit: str
  steps: int
  start: float = dataclasses.field(default_factory=time.monotonic)
  mark: float = dataclasses.field(default_factory=time.monotonic)
  count: int = 0
  units: int = 0
  waited: float = 0.0
  left_out: float = 0.0
  rate: float = 0.0

  def tick(self, units: int, waited: float) -> None:
    """One more step of `units`, before which data took `waited` seconds."""
    self.count += 1
    self.units += units
    self.waited += waited

  def leave_out(self, seconds: float) -> None:
    """Time since the last report that was not spent on steps."""
    self.left_out += seconds

  def timing(self, step: int) -> dict[str, float]:
    """The timing fields of a line; begins the next span."""
    now = time.monotonic()
    span = max(now - self.mark - self.left_out, 1e-9)
    if self.count:
      rate = self.count / span
      self.rate = 0.5 * (self.rate + rate) if self.rate else rate
    out = {"seconds": now - self.start, "steps_per_s": self.count / span,
           f"{self.unit}_per_s": self.units / span,
           "data_share": min(self.waited / span, 1.0),
           "eta": (self.steps - step) / self.rate if self.rate else 0.0}
    self.mark, self.count, self.units = now, 0, 0
    self.waited, self.left_out = 0.0, 0.0
    return {k: round(v, 3) for k, v in out.items()}


def log_progress(step: int, steps: int, metrics: dict[str, float],
                 timing: dict[str, float], unit: str) -> None:
  """One line on stderr, over the last one where that is a terminal."""
  if not multihost.first():
    return
  eta = time.strftime("%H:%M:%S", time.gmtime(timing["eta"] % 86400))
  days = int(timing["eta"] // 86400)
  text = (f"step {step}/{steps} loss {metrics['loss']:.4f} "
          f"grad {metrics['grad_norm']:.3g} {timing['steps_per_s']:.2f} steps/s "
          f"{timing[f'{unit}_per_s']:,.0f} {unit}/s "
          f"data {timing['data_share']:.0%} eta {f'{days}d ' * bool(days)}{eta}")
  if metrics["skipped"]:
    text += f" skipped {metrics['skipped']:.0f}"
  tty = sys.stderr.isatty()
  print("\r\x1b[K" + text if tty else text, end="" if tty else "\n",
        file=sys.stderr, flush=True)


def log(text: str) -> None:
  """Prints one line on stderr, below the line of progress."""
  if multihost.first():
    print(("\n" if sys.stderr.isatty() else "") + text, file=sys.stderr,
          flush=True)

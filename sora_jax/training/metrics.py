"""The metrics of a run: metrics.jsonl and TensorBoard.

One line of metrics.jsonl is {"step": n, metric: value, .., "timing": {..}}.
Everything outside "timing" is a function of the config and the step, so an
interrupted run's file equals an uninterrupted one's. A value that is not finite
is null. On resume the file is cut back to the restored step. Of several
processes the first alone writes.
"""

import dataclasses
import json
import math
import os
import pathlib
from typing import Any, TextIO

from sora_jax import files
from sora_jax.mesh import multihost

METRICS = "metrics.jsonl"


def cut_back(path: pathlib.Path, step: int) -> float:
  """Drops the lines after `step`, and a half-written one, in one rename.

  Returns:
    Seconds that the run spent on the steps of these lines.
  """
  if not path.exists():
    return 0.0
  kept, ends = [], [0.0, 0.0]  # seconds of the last line kept and dropped
  for line in path.read_text(encoding="utf-8").splitlines():
    try:
      found = json.loads(line)
      drop = found["step"] > step
      if not drop:
        kept.append(line + "\n")
      ends[drop] = found.get("timing", {}).get("seconds", 0.0)
    except (ValueError, KeyError, TypeError, AttributeError):
      continue  # cut short by a kill
  files.write_text(path, "".join(kept))
  # A run that went on in between has begun to count anew.
  return ends[1] - ends[0] if ends[1] >= ends[0] else ends[1]


@dataclasses.dataclass
class MetricsWriter:
  """Writes the metrics of a run; made by `open_writer`.

  Attributes:
    lines: metrics.jsonl.
    board: of TensorBoard, or None.
    lost: seconds of the lines that were cut off.
  """

  lines: TextIO
  board: Any = None
  lost: float = 0.0

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
  lost = cut_back(workdir / METRICS, step)
  return MetricsWriter(open(workdir / METRICS, "a", encoding="utf-8"), board,
                       lost)

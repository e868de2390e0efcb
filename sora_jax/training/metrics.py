"""The metrics of a run: metrics.jsonl and TensorBoard.

One line of metrics.jsonl is {"step": n, metric: value, .., "timing": {..}}.
Everything outside "timing" is a function of the config and the step, so an
interrupted run's file equals an uninterrupted one's, but for "val_loss" where it
was stopped at a step that has one. A value that is not finite
is null. On resume the file is cut back to the restored step. Of several
processes the first alone writes.
"""

import contextlib
import dataclasses
import json
import math
import os
import pathlib
from typing import Any, TextIO

from sora_jax import extras
from sora_jax import files
from sora_jax.mesh import multihost
from sora_jax.training import progress

METRICS = "metrics.jsonl"


def cut_back(path: pathlib.Path, step: int) -> tuple[float, int]:
  """Drops the lines after `step`, and damaged ones, in one rename.

  Returns:
    Seconds that the run spent on the steps of the lines after `step`, and the
    unreadable clips up to it.
  """
  if not path.exists():
    return 0.0, 0
  kept, unreadable, damaged = [], 0, 0
  ends = [0.0, 0.0]  # seconds of the last line kept and dropped
  lines = path.read_bytes().splitlines()
  for i, line in enumerate(lines):
    try:
      found = files.parse_json(line)
      drop = found["step"] > step
      ends[drop] = float(found.get("timing", {}).get("seconds", 0.0))
      if not drop:
        kept.append(line + b"\n")
        unreadable = int(found.get("unreadable") or 0)
    except (ValueError, KeyError, TypeError, AttributeError):
      damaged += i < len(lines) - 1  # the last may be cut short by a kill
  if damaged:
    progress.log(f"{path}: {damaged} damaged lines are left out")
  files.write_bytes(path, b"".join(kept))
  # A run that went on in between has begun to count anew.
  lost = ends[1] - ends[0] if ends[1] >= ends[0] else ends[1]
  return lost, unreadable


@dataclasses.dataclass
class MetricsWriter:
  """Writes the metrics of a run; made by `open_writer`.

  Attributes:
    lines: metrics.jsonl.
    board: of TensorBoard, or None.
    lost: seconds of the lines that were cut off.
    unreadable: clips that could not be read up to the first step to come.
  """

  lines: TextIO
  board: Any = None
  lost: float = 0.0
  unreadable: int = 0

  def write(self, step: int, metrics: dict[str, float],
            timing: dict[str, float]) -> None:
    """Appends one line, and the same scalars to TensorBoard.

    Raises:
      OSError: the disk is full; half a line is cut off by the next run.
    """
    clean = {k: v if math.isfinite(v) else None for k, v in metrics.items()}
    record = {"step": step, **clean, "timing": timing}
    with files.full_disk_named(self.lines.name):
      self.lines.write(json.dumps(record) + "\n")
      self.lines.flush()
    if self.board is not None:
      for k, v in {**clean, **timing}.items():
        if v is not None:
          self.board.add_scalar(k, v, step)

  def close(self) -> None:
    """Closes the files."""
    with contextlib.suppress(OSError):  # `write` has told of a full disk
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
      raise ValueError("TensorBoard logs need a package: "
                       f"{extras.install('log')}") from e
    board = tensorboardX.SummaryWriter(str(workdir / "tensorboard"),
                                       purge_step=step + 1)
  lost, unreadable = cut_back(workdir / METRICS, step)
  return MetricsWriter(open(workdir / METRICS, "a", encoding="utf-8"), board,
                       lost, unreadable)

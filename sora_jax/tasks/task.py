"""What a kind of config asks the training loop to do."""

from collections.abc import Callable
import dataclasses
import os
from typing import Any

import numpy as np

from sora_jax.media import video_io
from sora_jax.mesh import multihost


@dataclasses.dataclass(frozen=True)
class Task:
  """The parts of a run that depend on what is trained.

  Attributes:
    plan: of the data.
    objective: gradients and metrics of a batch.
    init: key -> params.
    rules: the sharding rules of each model.
    preview: (step, state) -> None, writes previews into the workdir; every
      process runs it.
    count: units in a batch, for the rate.
    unit: their name.
    given: () -> the models of params that a new run starts from.
    prepare: batch on the mesh -> the batch of the objective.
  """

  plan: Any
  objective: Callable
  init: Callable
  rules: dict
  preview: Callable
  count: Callable
  unit: str
  given: Callable = dict
  prepare: Callable = lambda batch: batch


def show(workdir: str, step: int, name: str, video: np.ndarray, fps: float):
  """Writes a preview, from the first of the processes."""
  if multihost.first():
    folder = os.path.join(workdir, "previews")
    os.makedirs(folder, exist_ok=True)
    video_io.write(os.path.join(folder, f"{step:08d}-{name}"), video, fps)

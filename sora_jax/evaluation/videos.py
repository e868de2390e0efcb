"""The videos that a model draws of the prompts of cases, kept in a folder."""

from collections.abc import Callable, Sequence
import itertools
import pathlib
from typing import Any, Protocol
import zipfile

import numpy as np
import tqdm

from sora_jax import files
from sora_jax.evaluation import cases


class Pipeline(Protocol):
  """What is asked of a model (generation/pipeline.py has it)."""

  model: Any  # its `digest` is written beside the scores

  def generate_batch(self, prompts: Sequence[str], size: tuple[int, int],
                     frames: int, fps: float, seeds: Sequence[int],
                     **how: Any) -> np.ndarray:
    """Draws uint8 [N, T, H, W, 3], one video of each prompt and seed."""
    ...

  def reconstruct(self, video: np.ndarray) -> np.ndarray:
    """Takes uint8 [T, H, W, 3] through the VAE and back."""
    ...


def generate(pipeline: Pipeline, todo: Sequence[cases.Case],
             folder: pathlib.Path, batch: int, **how: Any) -> list[np.ndarray]:
  """Draws the video of every case, batched by size, kept in `folder`.

  A video that lies in the folder already, drawn by the same model from the
  same prompt and settings, is read and not drawn again, so that a run that was
  stopped goes on. A batch that is not full is filled with repeats: one program
  serves every batch of a size.
  """
  folder.mkdir(parents=True, exist_ok=True)
  keys = [repr((pipeline.model.digest, c.prompt, c.cell.size, c.facts.frames,
                c.facts.fps, c.seed, how)) for c in todo]
  kept = [_read(folder / f"{i:05d}.npz", key) for i, key in enumerate(keys)]
  missing = [i for i, video in enumerate(kept) if video is None]
  missing.sort(key=lambda i: (todo[i].cell.size, i))
  with tqdm.tqdm(total=len(todo), initial=len(todo) - len(missing),
                 desc="generate", unit="video") as bar:
    for size, same in itertools.groupby(missing, lambda i: todo[i].cell.size):
      group = list(same)
      for start in range(0, len(group), batch):
        chunk = group[start:start + batch]
        rows = [todo[i] for i in chunk + chunk[-1:] * (batch - len(chunk))]
        drawn = pipeline.generate_batch(
            [c.prompt for c in rows], size=size, frames=rows[0].facts.frames,
            fps=rows[0].facts.fps, seeds=[c.seed for c in rows], **how)
        for i, video in zip(chunk, drawn):
          kept[i] = np.asarray(video)
          _write(folder / f"{i:05d}.npz", keys[i], video)
        bar.update(len(chunk))
  return [video for video in kept if video is not None]


def kept(path: pathlib.Path, key: str,
         draw: Callable[[], np.ndarray]) -> np.ndarray:
  """The video of a file with this key; drawn and written if there is none."""
  video = _read(path, key)
  if video is None:
    video = np.asarray(draw())
    _write(path, key, video)
  return video


def _read(path: pathlib.Path, key: str) -> np.ndarray | None:
  """The video of a file, None if there is none with this key."""
  if not path.exists():
    return None
  try:
    with np.load(path, allow_pickle=False) as stored:
      return stored["video"] if str(stored["key"]) == key else None
  except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
    return None  # cut short by a full disk or a kill: draw it again


def _write(path: pathlib.Path, key: str, video: np.ndarray) -> None:
  with files.atomic(path) as file:
    np.savez_compressed(file, video=video, key=key)

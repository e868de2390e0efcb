"""Real clips to score: of a folder of videos, or a split of a data set."""

from collections.abc import Callable
import dataclasses
import pathlib

import numpy as np

from sora_jax.data.store import manifest as manifest_lib
from sora_jax.data.store import records
from sora_jax.media import clips as clips_lib
from sora_jax.media import video_io

VIDEOS = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".gif")
MAX_FRAMES = 33  # of a clip
ALL = "all"


@dataclasses.dataclass(frozen=True)
class RealClips:
  """Clips to score.

  Attributes:
    names: of the clips.
    read: index -> uint8 [T, H, W, 3], T at most MAX_FRAMES.
    about: which clips they are, in one line.
  """

  names: list[str]
  read: Callable[[int], np.ndarray]
  about: str


def find(folder: str, split: str = "", count: int = 0,
         seed: int = 0) -> RealClips:
  """The clips of a folder: of a data set of `prepare` those that are held out.

  Args:
    folder: of videos, at any depth, or a data set.
    split: of a data set, or "all"; by default val, and test without a val.
    count: the most, of which `seed` draws which; 0 takes all.
    seed: of that draw.

  Raises:
    ValueError: no video, no such split, or a split of a folder of videos.
  """
  info = manifest_lib.read_info(folder)
  if info is None:
    return _of_files(folder, split, count, seed)
  if info.get("kind") != "pixels":
    raise ValueError(f"{folder} holds {info.get('kind')}, not clips: give a "
                     "folder of sora-jax prepare")
  if not split:
    split = next((s for s in ("val", "test") if s in info["shards"]), "")
    if not split:
      raise ValueError(f"{folder} has no clips that are held out: prepare it with "
                       "--held_out=.02, or give --split=train")
  names = list(info["shards"]) if split == ALL else [split]
  entries = [(manifest, i) for manifest in (
      manifest_lib.open_manifest(folder, name) for name in names)
             for i in _once(manifest)]
  chosen = [entries[i] for i in _some(len(entries), count, seed)]
  which = "all splits" if split == ALL else f"split {split}"
  return RealClips(
      [f"{m.split}-{i}" for m, i in chosen], lambda n: video_io.read(
          records.read(*chosen[n]).data, MAX_FRAMES)[0],
      f"{which} of {folder}, {len(chosen)} of {len(entries)} clips")


def _of_files(folder: str, split: str, count: int, seed: int) -> RealClips:
  """The videos of a folder."""
  paths = sorted(p for p in pathlib.Path(folder).rglob("*")
                 if p.suffix.lower() in VIDEOS)
  if not paths:
    raise ValueError(f"{folder} holds no video ({', '.join(VIDEOS)})")
  if split:
    raise ValueError(f"--split={split}: {folder} is a folder of videos and has no "
                     "splits; a folder of sora-jax prepare has")
  chosen = [paths[i] for i in _some(len(paths), count, seed)]
  return RealClips(
      [str(p.relative_to(folder)) for p in chosen],
      lambda n: clips_lib.read(chosen[n], MAX_FRAMES)[0],
      f"{len(chosen)} of {len(paths)} videos in {folder}, which has no splits: "
      "trained on or not")


def _once(manifest: manifest_lib.Manifest) -> list[int]:
  """The first entry of every record; a weighted mixture has several of one."""
  _, first = np.unique(manifest.entries[["shard", "record"]], return_index=True)
  return np.sort(first).tolist()


def _some(size: int, count: int, seed: int) -> list[int]:
  """`count` of `size` indices, ascending; all where there are no more."""
  order = np.random.default_rng(seed).permutation(size)
  return sorted(order[:count or size].tolist())

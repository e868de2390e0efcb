"""Writes new captions of a whole data set, beside those that it has.

A shard is the unit of work: its clips are captioned in batches of like size, in
an order that the shard alone decides, so that a run that was stopped goes on and
ends with the same files. Clips of `encode` are captioned from their latents,
clips of `prepare` from their frames.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
import dataclasses
import functools
import hashlib
import logging
import os
import re
from typing import Any

import numpy as np

from sora_jax import contracts
from sora_jax import files
from sora_jax.data.sources import items
from sora_jax.data.store import captions as captions_lib
from sora_jax.data.store import captions_writer
from sora_jax.data.store import latents
from sora_jax.data.store import manifest as manifest_lib
from sora_jax.data.store import records
from sora_jax.data.store import verify
from sora_jax.language import sameness
from sora_jax.media import video_io
from sora_jax.text import tokenizer as tokenizer_lib

BATCH = 32  # clips
BYTES = 2**28  # of the latents or frames of a batch
SAME = 0.2  # of the clips, that may have one caption beyond what they had

Shard = tuple[manifest_lib.Manifest, int]  # of a split, and its number


@dataclasses.dataclass(frozen=True, eq=False)
class Clip:
  """A clip that is captioned.

  Attributes:
    place: its record in the shard.
    own: its captions so far.
    record: of latents; None of a clip of frames.
    video: uint8 [T, H, W, 3]; None of latents.
    fps: of the video.
  """

  place: int
  own: tuple[str, ...]
  record: latents.Record | None = None
  video: np.ndarray | None = None
  fps: float = 0.0


def recaption(captioner: contracts.Captioner, data: str | os.PathLike, *,
              origin: str = "", batch: int = BATCH,
              part: tuple[int, int] | None = None, same: float = SAME,
              report: Callable[[int, int], None] = lambda done, total: None
              ) -> dict[str, Any] | None:
  """Writes the captions of every clip of all splits of a data set.

  Goes on where it was stopped. A record that cannot be read has no caption and
  is counted.

  Args:
    captioner: who writes them.
    data: a folder of `encode` or `prepare`.
    origin: the name of the captions; NAME-DIGEST of the captioner by default.
    batch: clips captioned at once, at most.
    part: (i, n): only every n-th shard from the i-th on, 0 <= i < n, for n
      processes side by side; a call without it finishes.
    same: the share of clips that may be given one caption, beyond the share
      whose own captions are one.
    report: called with (clips done, clips in all), at once and after every
      batch.

  Returns:
    captions.json (captions_writer.finish); None for a part.

  Raises:
    ValueError: no data set, latents of another VAE, captions of that name by
      another captioner, one caption for too many clips, or shards that are
      missing or damaged.
  """
  if not 0 <= same <= 1:
    raise ValueError(f"same is {same}, it must be a share from 0 to 1")
  manifests = captions_lib.open_splits(data)
  first = next(iter(manifests.values()))
  made_by, reads = first.info.get("vae"), getattr(captioner, "vae_digest", None)
  if made_by and reads and made_by != reads:
    raise ValueError(f"{data} holds latents of the VAE {made_by[:12]} and the "
                     f"captioner reads those of {reads[:12]}: encode the data set "
                     "with the VAE of the captioner")
  origin = origin or origin_of(captioner)
  # Of unknown weights the name alone tells one captioner from another.
  digest = captioner.digest or hashlib.sha256(captioner.name.encode()).hexdigest()
  done = captions_writer.start(manifests, origin, digest)
  if done is not None:
    return done
  for manifest in manifests.values():
    verify.verify(manifest, lambda data, entry: None)
  todo = [(m, shard) for m in manifests.values()
          for shard in range(m.info["shards"][m.split])]
  todo = todo[part[0]::part[1]] if part else todo
  missing = [(m, shard) for m, shard in todo
             if not captions_writer.is_written(m, origin, shard)]
  total, left = (sum(len(clips_of(*shard)) for shard in some)
                 for some in (todo, missing))
  tokenizer, seen = tokenizer_lib.of(first), sameness.Sameness(same)
  bad = True  # none was told yet
  report(total - left, total)
  try:
    with futures.ThreadPoolExecutor() as pool:
      for manifest, shard in missing:
        texts: list[captions_lib.Texts | None] = [None] * captions_lib.records_of(
            manifest)[shard]
        for clips in _read(pool, manifest, _batches(manifest, shard, batch)):
          good = [clip for clip in clips if isinstance(clip, Clip)]
          if bad and len(good) < len(clips):
            bad = False
            logging.warning("a clip cannot be read, others are only counted: %s",
                            next(c for c in clips if not isinstance(c, Clip)))
          written = _caption(captioner, manifest, shard, good)
          for clip, pair in zip(good, written):
            texts[clip.place] = pair
          seen.add([pair[-1] for pair in written], [
              clip.own[-1] if clip.own else "" for clip in good])
          left -= len(clips)
          report(total - left, total)
        seen.files.append(captions_writer.write_shard(
            manifest, origin, shard, texts, tokenizer))
    seen.check()
  except sameness.Same:  # what it wrote is no beginning to go on from
    for path in seen.files:
      os.unlink(path)
    raise
  if part:
    return None
  return captions_writer.finish(manifests, origin, digest)


def origin_of(captioner: contracts.Captioner) -> str:
  """The name of the captions of a captioner, such as captioner-1a2b3c4d5e6f."""
  parts = [captioner.name, *([captioner.digest[:12]] if captioner.digest else [])]
  return re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join(parts)).strip("-.")


def clips_of(manifest: manifest_lib.Manifest, shard: int) -> np.ndarray:
  """The first entry of each record of a shard, ascending in records."""
  start, stop = np.searchsorted(manifest.entries["shard"], [shard, shard + 1])
  _, first = np.unique(manifest.entries["record"][start:stop], return_index=True)
  return start + first


def _batches(manifest: manifest_lib.Manifest, shard: int,
             most: int) -> list[np.ndarray]:
  """The clips of a shard in batches of like size, at most BYTES each."""
  clips = clips_of(manifest, shard)
  entries = manifest.entries[clips]
  sizes, each = manifest_lib.sizes(entries), 3
  if manifest.info.get("kind") == "latents":
    sizes = np.stack([entries[k] for k in "thw"], 1)
    each = 2 * manifest.info["channels"]
  order = np.lexsort(sizes.T)
  weights = sizes.astype(np.int64).prod(1)[order] * each
  starts, held = [0], 0
  for i, weight in enumerate(weights.tolist()):
    if i > starts[-1] and (i - starts[-1] == most or held + weight > BYTES):
      starts.append(i)
      held = 0
    held += weight
  return [clips[order[a:b]] for a, b in zip(starts, [*starts[1:], None])
          if len(order[a:b])]


def _read(pool: futures.ThreadPoolExecutor, manifest: manifest_lib.Manifest,
          batches: Sequence[np.ndarray]) -> Iterator[list[Clip | str]]:
  """Reads batches, one ahead of who captions; why a clip cannot be read."""
  read = functools.partial(_clip, manifest)
  coming = None
  for batch in batches:
    now, coming = coming, pool.map(read, batch.tolist())
    if now is not None:
      yield list(now)
  if coming is not None:
    yield list(coming)


def _clip(manifest: manifest_lib.Manifest, index: int) -> Clip | str:
  """A clip of a data set, or why it cannot be read."""
  entry = manifest.entries[index]
  place = int(entry["record"])
  try:
    if manifest.info.get("kind") != "latents":
      item = records.read(manifest, index)
      video, fps = video_io.read(item.data)
      return Clip(place, item.captions, video=video, fps=fps)
    record = latents.decode(manifest.record(index))
  except ValueError as e:
    return f"{manifest.shard_path(int(entry['shard']))}: record {place} {e}"
  shape = (*(int(entry[k]) for k in "thw"), manifest.info["channels"])
  if record.z.shape != shape or not np.isfinite(record.z).all():
    return (f"{manifest.shard_path(int(entry['shard']))}: record {place} has "
            f"latents {record.z.shape}, some of them not finite or not {shape}")
  return Clip(place, record.captions, dataclasses.replace(
      record, suffixes={}, keyframes={}, masked=None))


def _caption(captioner: contracts.Captioner, manifest: manifest_lib.Manifest,
             shard: int, clips: Sequence[Clip]) -> list[tuple[str, ...]]:
  """The captions of some clips: short and descriptive, or one that is both."""
  if not clips:
    return []
  if manifest.info.get("kind") == "latents":
    texts: list[tuple[str, ...]] = list(captioner.caption(
        [clip.record for clip in clips]))
  else:
    texts = [(captioner.describe(clip.video, clip.fps),) for clip in clips
             if clip.video is not None]
  if len(texts) != len(clips):
    raise ValueError(f"{captioner.name} wrote {len(texts)} captions of "
                     f"{len(clips)} clips")
  line = lambda clip, text: _one_line(
      captioner, f"{manifest.shard_path(shard)}: record {clip.place}", text)
  return [tuple(line(clip, text) for text in pair)
          for clip, pair in zip(clips, texts)]


def _one_line(captioner: contracts.Captioner, where: str, text: str) -> str:
  """A caption on one line, refused where no data set could hold it."""
  text = " ".join(text.split())
  try:
    files.check_text(text)
  except ValueError as e:
    raise ValueError(f"{where}: the caption by {captioner.name} {e}") from e
  if len(text) > items.MAX_CAPTION:
    raise ValueError(f"{where}: the caption by {captioner.name} has {len(text)} "
                     f"characters, the limit is {items.MAX_CAPTION}")
  return text

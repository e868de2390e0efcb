"""The scan of a file: one decode gives all that filters ask for.

A file becomes one ScannedClip, or one per shot if cuts are looked for, and a
long one equal chunks if a length is given.
"""

import base64
import hashlib
import io
import math
import os

import numpy as np
import PIL.Image

from sora_jax import messages
from sora_jax import stations
from sora_jax.data.prepare import measure
from sora_jax.data.sources import items
from sora_jax.media import containers
from sora_jax.media import timing

STILL = 0.3  # levels of 255 below which a frame equals the one before
LONG = 1_000_000  # frames of a file that is cut
LEAST = 0.9  # of the frames that the header promises


def scan(raw: stations.Raw, index: int, cuts: bool, chunk_seconds: float,
         thumb: bool) -> list[stations.ScannedClip]:
  """The clips of one file.

  Args:
    raw: the file.
    index: its number in the source.
    cuts: whether shots are looked for.
    chunk_seconds: the longest chunk of a clip; 0 leaves clips whole.
    thumb: whether clips carry a thumbnail.

  Raises:
    ValueError: a file that cannot be used.
  """
  if not raw.captions:
    raise stations.Reject("no caption", raw.key)
  divide = cuts or chunk_seconds > 0
  digest = _digest(raw, divide)
  with containers.errors(raw.file):
    header, found = measure.measure(raw.file, cuts, LONG if divide else None)
  count = len(found.pts)
  if count < LEAST * header.frames:
    raise stations.Reject(
        f"is cut off: {count} of {messages.count(header.frames, 'frame')} decode",
        raw.key)
  bounds = _chunks([0, *found.cuts, count],
                   chunk_seconds * (raw.fps or header.fps))
  return [_clip(raw, index, digest, header, found, (start, stop),
                len(bounds) == 2, thumb)
          for start, stop in zip(bounds, bounds[1:])]


def read(file: str | bytes) -> bytes:
  """The bytes of a file.

  Raises:
    stations.Reject: more than a file that is kept as it is may have.
  """
  if isinstance(file, bytes):
    return file
  size = os.path.getsize(file)
  if size > items.MAX_FILE:
    raise stations.Reject(f"{size >> 20} MiB; the limit is "
                          f"{items.MAX_FILE >> 20}")
  with open(file, "rb") as f:
    return f.read()


def digest_of(file: str | bytes) -> str:
  """The hash of a file's bytes."""
  if isinstance(file, bytes):
    return hashlib.blake2b(file, digest_size=16).hexdigest()
  with open(file, "rb") as f:
    return hashlib.file_digest(f, lambda: hashlib.blake2b(
        digest_size=16)).hexdigest()


def _digest(raw: stations.Raw, divide: bool) -> str:
  """The hash of a file; a file that is too large is refused unread."""
  if isinstance(raw.file, str):
    with containers.errors(raw.file):
      size = os.path.getsize(raw.file)
      if size > items.MAX_FILE and not divide:
        raise ValueError(f"{size >> 20} MiB; the limit is "
                         f"{items.MAX_FILE >> 20}, cut it")
  return digest_of(raw.file)


def _chunks(bounds: list[int], most: float) -> list[int]:
  """Bounds with each part in equal chunks of at most so many frames, if any."""
  if not most:
    return bounds
  found = bounds[:1]
  for start, stop in zip(bounds, bounds[1:]):
    count = math.ceil((stop - start) / max(most, 1))
    found += [start + (stop - start) * i // count for i in range(1, count + 1)]
  return found


def _clip(raw: stations.Raw, index: int, digest: str,
          header: containers.Header, found: measure.Frames,
          span: tuple[int, int], whole: bool,
          thumb: bool) -> stations.ScannedClip:
  """The clip of the frames of a span."""
  start, stop = span
  count, change = stop - start, np.array(found.change[start + 1:stop])
  frames, fps, constant_fps = timing.constant(header, found.pts[start:stop])
  middle, caption = (start + stop) // 2, raw.captions[0][:items.MAX_CAPTION]
  picture = _thumb(found, start, stop) if thumb else None
  return stations.ScannedClip(
      item=index, key=raw.key if whole else f"{raw.key}#{start}-{stop}",
      file=digest, start=start, stop=stop, pts=found.pts[start], whole=whole,
      frames=frames, fps=raw.fps or fps if constant_fps else fps,
      height=found.size[0], width=found.size[1],
      pixel_aspect=found.pixel_aspect, constant_fps=constant_fps,
      altered=found.altered, caption_hash=hashlib.blake2b(
          caption.encode(), digest_size=8).hexdigest(),
      brightness=round(float(np.mean(found.brightness[start:stop])), 4),
      motion=round(float(change.mean()), 3) if count > 1 else 0.0,
      static=round(float((change < STILL).mean()), 3) if count > 1 else 0.0,
      combed=_share([comb for i, comb in found.combed.items()
                     if start <= i < stop]),
      words=len(caption.split()),
      captions_cut=sum(len(c) > items.MAX_CAPTION for c in raw.captions),
      phash=b"".join(found.phash[i] for i in (start, middle, stop - 1)).hex(),
      thumb=picture, caption=raw.captions[0][:200] if picture else None)


def _share(of: list[bool]) -> float:
  return round(sum(of) / len(of), 3) if of else 0.0


def _thumb(found: measure.Frames, start: int, stop: int) -> str | None:
  """The picture nearest to the middle of a clip, if one of it is remembered."""
  middle = (start + stop) // 2
  nearest = min(found.thumbs, key=lambda i: abs(i - middle))
  if not start <= nearest < stop:
    return None
  buffer = io.BytesIO()
  PIL.Image.fromarray(found.thumbs[nearest]).save(buffer, "JPEG", quality=75)
  return base64.b64encode(buffer.getvalue()).decode()

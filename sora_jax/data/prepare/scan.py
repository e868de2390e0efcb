"""A first look at every file: one decode gives all that filters ask for.

A file becomes one clip, or one per shot if cuts are looked for, and a long one
equal pieces if a length is given. Each clip is a dict, the row of a JSON table,
with

  item, key, file     number and name of the item, hash of the file's bytes
  start, stop, pts    its frames in the file, and the time of the first in ticks
  frames, fps         of the clip as it will be kept
  height, width, shape  of a frame, upright; width of a pixel / its height
  even                False where frames come at uneven times
  brightness, motion, static  see filters.Rules
  words, cut          of the first caption; captions that were shortened
  look                picture hash of its first, middle and last frame, in hex
  thumb, caption      a small JPEG in base64 and the first words, of some clips

or `reason` where the file cannot be used.
"""

import base64
import contextlib
import dataclasses
import hashlib
import io
import math
import os

import numpy as np
import PIL.Image

from sora_jax import stations
from sora_jax.data.sources import items
from sora_jax.media import containers

SIDE = 128  # of the reduced frames that are looked at
STILL = 0.3  # levels of 255 below which a frame equals the one before
THUMBS = 64  # reduced frames remembered of a file
LONG = 1_000_000  # frames of a file that is cut
LEAST = 0.9  # of the frames that the header promises


@dataclasses.dataclass(eq=False)
class _Look:
  """What is remembered of each frame while a file is decoded."""

  pts: list = dataclasses.field(default_factory=list)
  light: list = dataclasses.field(default_factory=list)
  change: list = dataclasses.field(default_factory=list)
  signs: list = dataclasses.field(default_factory=list)
  cuts: list = dataclasses.field(default_factory=list)
  thumbs: dict = dataclasses.field(default_factory=dict)
  step: int = 1
  shape: tuple = ()


def scan(raw: stations.Raw, index: int, cuts: bool, piece: float,
           thumb: bool) -> list[dict]:
  """The rows of one file.

  Args:
    raw: the file.
    index: its number in the source.
    cuts: whether shots are looked for.
    piece: seconds that a longer clip is divided into; 0 is never.
    thumb: whether rows carry a thumbnail.

  Raises:
    ValueError: a file that cannot be used.
  """
  if not raw.captions:
    raise stations.Reject("no caption", raw.key)
  divide = cuts or piece > 0
  digest = _digest(raw, divide)
  with containers.errors(raw.file):
    head, look = _decode(raw.file, cuts, LONG if divide else None)
  count = len(look.pts)
  if count < LEAST * head.frames:
    raise stations.Reject(f"is cut off: {count} of {head.frames} frames decode",
                       raw.key)
  caption = raw.captions[0][:items.MAX_CAPTION]
  base = {"item": index, "file": digest, "height": look.shape[0],
          "width": look.shape[1], "shape": head.shape, "image": head.image,
          "words": len(caption.split()),
          "cut": sum(len(c) > items.MAX_CAPTION for c in raw.captions)}
  bounds = _pieces([0, *look.cuts, count], piece * (raw.fps or head.fps))
  rows = []
  for start, stop in zip(bounds, bounds[1:]):
    name = raw.key if len(bounds) == 2 else f"{raw.key}#{start}-{stop}"
    rows.append({"key": name, **base, "whole": len(bounds) == 2,
                 **_clip(raw, head, look, start, stop, thumb)})
  return rows


def read(file: str | bytes) -> bytes:
  """The bytes of a file; a Reject above the limit of a file kept as it is."""
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


def _digest(raw, divide: bool) -> str:
  if isinstance(raw.file, str):
    with containers.errors(raw.file):
      size = os.path.getsize(raw.file)
      if size > items.MAX_FILE and not divide:
        raise ValueError(f"{size >> 20} MiB; the limit is "
                         f"{items.MAX_FILE >> 20}, cut it")
  return digest_of(raw.file)


def _decode(file, cuts: bool, most: int | None
            ) -> tuple[containers.Head, _Look]:
  """Decodes a file of at most so many frames once."""
  look, before, detect = _Look(), None, None
  with contextlib.closing(containers.frames_of(
      file, max_frames=most)) as stream:
    head = next(stream)
    if cuts and not head.image:
      from sora_jax.data.prepare import shots  # the extra `data`
      detect = shots.detector(head.fps)
    for i, frame in enumerate(stream):
      small = frame.small(SIDE)
      if not i:
        look.shape = frame.rgb().shape[:2]
        ratio = small.shape
      elif small.shape != ratio:
        raise ValueError(f"changes its size at frame {i}")
      grey = small @ np.array([0.299, 0.587, 0.114], np.float32)
      look.pts.append(frame.pts)
      look.light.append(float(grey.mean()) / 255)
      look.change.append(
          0.0 if before is None else float(np.abs(
              small.astype(np.int16) - before).mean()))
      look.signs.append(_signs(grey))
      if detect and (found := detect(i, small)):
        look.cuts.append(found)
      _remember(look, i, small)
      before = small
  if not look.pts:
    raise ValueError("has no frames")
  return head, look


def _pieces(bounds: list[int], most: float) -> list[int]:
  """Bounds with each part in equal pieces of at most so many frames, if any."""
  if not most:
    return bounds
  found = bounds[:1]
  for start, stop in zip(bounds, bounds[1:]):
    count = math.ceil((stop - start) / max(most, 1))
    found += [start + (stop - start) * i // count for i in range(1, count + 1)]
  return found


def _signs(grey: np.ndarray) -> bytes:
  """A difference hash: which of 8 x 8 cells is darker than its neighbour."""
  cells = np.asarray(PIL.Image.fromarray(grey).resize(
      (9, 8), PIL.Image.Resampling.BOX))
  return np.packbits(cells[:, 1:] > cells[:, :-1]).tobytes()


def _remember(look: _Look, i: int, small: np.ndarray) -> None:
  """Keeps at most THUMBS frames, evenly spaced."""
  if i % look.step == 0:
    look.thumbs[i] = small
  if len(look.thumbs) > THUMBS:
    look.step *= 2
    look.thumbs = {k: v for k, v in look.thumbs.items() if k % look.step == 0}


def _clip(raw, head, look, start: int, stop: int, thumb: bool) -> dict:
  """The row of frames start .. stop - 1, apart from what all clips share."""
  count, change = stop - start, np.array(look.change[start + 1:stop])
  frames, fps, even = _timing(head, look.pts[start:stop])
  middle = (start + stop) // 2
  found = {
      "start": start, "stop": stop, "pts": look.pts[start],
      "frames": frames, "fps": raw.fps or fps if even else fps, "even": even,
      "brightness": round(float(np.mean(look.light[start:stop])), 4),
      "motion": round(float(change.mean()), 3) if count > 1 else 0.0,
      "static": round(float((change < STILL).mean()), 3) if count > 1 else 0.0,
      "look": b"".join(look.signs[i] for i in (
          start, middle, stop - 1)).hex()}
  near = min(look.thumbs, key=lambda i: abs(i - middle))
  if thumb and start <= near < stop:
    buffer = io.BytesIO()
    PIL.Image.fromarray(look.thumbs[near]).save(buffer, "JPEG", quality=75)
    found["thumb"] = base64.b64encode(buffer.getvalue()).decode()
    found["caption"] = raw.captions[0][:200]
  return found


def _timing(head, pts) -> tuple[int, float, bool]:
  """(frames, fps, evenly spaced) of a clip, by its frames' times.

  A clip whose frames come at uneven times is resampled at its median rate.

  Raises:
    ValueError: times with gaps that resampling would have to fill.
  """
  count = len(pts)
  if count < 2 or head.image or None in pts or not head.tick:
    return count, head.fps, True
  times = (np.array(pts) - pts[0]) * head.tick
  if times[-1] <= 0 or (np.diff(times) <= 0).any():
    return count, head.fps, True
  fps = (count - 1) / times[-1]
  if abs(fps / head.fps - 1) < 0.005:
    fps = head.fps
  off = np.abs(times * fps - np.arange(count)).max()
  if off <= 0.5 and 0.1 <= fps <= 1000:
    return count, float(fps), True
  fps = float(np.clip(1 / np.median(np.diff(times)), 0.1, 1000))
  frames = round(times[-1] * fps) + 1
  if frames > 2 * count + 8:
    raise stations.Reject(f"lasts {times[-1]:.3g} s with {count} frames: its times "
                       "have gaps")
  return frames, fps, False

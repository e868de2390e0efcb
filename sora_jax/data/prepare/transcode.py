"""A scanned clip becomes an Item: its file as it is, or cut out and re-coded.

A file is kept byte for byte unless it must be changed: a shot or a chunk is cut
out of a longer file, frames come at uneven times, pixels are not square, frames
are interlaced, transparent, HDR or of a wide gamut, or the clip is larger than
filters.target allows.
"""

from collections.abc import Iterator
import itertools

import numpy as np
import PIL.Image

from sora_jax import stations
from sora_jax.data.prepare import filters
from sora_jax.data.prepare import scan
from sora_jax.data.sources import items
from sora_jax.media import containers
from sora_jax.media import timing
from sora_jax.media import video_io


def changes(clip: stations.ScannedClip, rules: filters.Rules
            ) -> tuple[str, ...]:
  """Why a clip cannot be kept as it is; () if it can."""
  own = clip.height, clip.width
  size = filters.target(clip.frames, *own, clip.pixel_aspect, rules)
  square = filters.target(1, *own, clip.pixel_aspect,
                          filters.Rules(max_tokens=0))
  found = {**dict.fromkeys(clip.altered, True),
           "cut out": not clip.whole, "uneven times": not clip.constant_fps,
           "pixels not square": square != own, "reduced": size != square}
  return tuple(why for why, needed in found.items() if needed)


def transcode(raw: stations.Raw, clip: stations.ScannedClip,
              rules: filters.Rules) -> stations.Item:
  """The Item of a scanned clip.

  Raises:
    stations.Reject: the file changed since it was scanned.
    ValueError: it cannot be read.
  """
  with containers.errors(raw.file):
    changed = scan.digest_of(raw.file) != clip.file
  if changed:
    raise stations.Reject("changed while the data set was prepared")
  size = clip.height, clip.width
  if changes(clip, rules):
    size = filters.target(clip.frames, *size, clip.pixel_aspect, rules)
    with containers.errors(raw.file):
      data = video_io.encode(_frames(raw.file, clip, size), clip.fps,
                             still=clip.frames == 1)
  else:
    data = scan.read(raw.file)
  if len(data) > items.MAX_FILE:
    raise stations.Reject(f"{len(data) >> 20} MiB after cutting; the limit is "
                          f"{items.MAX_FILE >> 20}")
  return stations.Item(
      key=clip.key, data=data, frames=clip.frames, height=size[0],
      width=size[1], fps=clip.fps, facts=raw.facts,
      captions=tuple(c[:items.MAX_CAPTION] for c in raw.captions))


def _frames(file: str | bytes, clip: stations.ScannedClip,
            size: tuple[int, int]) -> Iterator[np.ndarray]:
  """Yields the frames of a clip, uint8 [H, W, 3], at a constant rate."""
  timed, sent = _timed(file, clip, size), 0
  for frame in ((rgb for _, rgb in timed) if clip.constant_fps else
                timing.held(timed, clip.frames)):
    yield frame
    sent += 1
  if sent != clip.frames:
    raise ValueError(f"gave {sent} of {clip.frames} frames the second time")


def _timed(file: str | bytes, clip: stations.ScannedClip,
           size: tuple[int, int]) -> Iterator[tuple[float, np.ndarray]]:
  """Yields (time in frames of the clip, picture of `size`) as they are stored.

  Of a clip of constant_fps all times are 0.
  """
  height, width = size
  with containers.open_frames(
      file, clip.start, clip.pts if clip.start else None,
      scan.LONG) as (header, frames):
    for frame in itertools.islice(frames, clip.stop - clip.start):
      time = 0.0
      if frame.pts is not None and clip.pts is not None and (
          not clip.constant_fps):
        time = (frame.pts - clip.pts) * header.time_base * clip.fps
      rgb = frame.rgb()
      if rgb.shape[:2] != size:
        rgb = np.asarray(PIL.Image.fromarray(rgb).resize(
            (width, height), PIL.Image.Resampling.LANCZOS))
      yield time, rgb

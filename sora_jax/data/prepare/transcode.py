"""A surveyed clip becomes an Item: its file as it is, or cut out and re-coded.

A file is kept byte for byte unless it must be changed: a shot or a piece is cut
out of a longer file, frames come at uneven times, pixels are not square, or the clip is
larger than filters.target allows.
"""

import contextlib

import numpy as np
import PIL.Image

from sora_jax import stations
from sora_jax.data.prepare import filters
from sora_jax.data.prepare import scan
from sora_jax.data.sources import items
from sora_jax.media import containers
from sora_jax.media import video_io


def changes(clip: dict, rules: filters.Rules) -> list[str]:
  """Why a clip cannot be kept as it is; nothing if it can."""
  size = filters.target(clip["frames"], clip["height"], clip["width"],
                        clip["shape"], rules)
  square = filters.target(1, clip["height"], clip["width"], clip["shape"],
                          filters.Rules(max_tokens=0))
  found = [] if clip["whole"] else ["cut out"]
  if not clip["even"]:
    found.append("uneven times")
  if square != (clip["height"], clip["width"]):
    found.append("pixels not square")
  if size != square:
    found.append("reduced")
  return found


def make(raw: stations.Raw, clip: dict, rules: filters.Rules) -> stations.Item:
  """The Item of a surveyed clip.

  Raises:
    stations.Reject: the file changed since it was surveyed.
    ValueError: it cannot be read.
  """
  with containers.errors(raw.file):
    changed = scan.digest_of(raw.file) != clip["file"]
  if changed:
    raise stations.Reject("changed while the data set was prepared")
  size = clip["height"], clip["width"]
  frames, fps = clip["frames"], clip["fps"]
  if changes(clip, rules):
    size = filters.target(frames, *size, clip["shape"], rules)
    with containers.errors(raw.file):
      data = video_io.encode(_frames(raw.file, clip, size), fps,
                             still=frames == 1)
  else:
    data = scan.read(raw.file)
  if len(data) > items.MAX_FILE:
    raise stations.Reject(f"{len(data) >> 20} MiB after cutting; the limit is "
                       f"{items.MAX_FILE >> 20}")
  return stations.Item(
      key=clip["key"], data=data, frames=frames, height=size[0], width=size[1],
      fps=fps, facts=raw.facts,
      captions=tuple(c[:items.MAX_CAPTION] for c in raw.captions))


def _frames(file, clip: dict, size):
  """Yields the frames of a clip, at even times and of `size`."""
  height, width = size
  count, last, sent = clip["stop"] - clip["start"], None, 0
  with contextlib.closing(containers.frames_of(
      file, clip["start"], clip["pts"] if clip["start"] else None,
      scan.LONG)) as stream:
    head = next(stream)
    for i, frame in enumerate(stream):
      if i == count:
        break
      if not clip["even"]:  # the frame before stands until this one comes
        due = (frame.pts - clip["pts"]) * head.tick * clip["fps"] - 0.5
        while last is not None and sent < min(due, clip["frames"]):
          yield last
          sent += 1
      last = frame.rgb()
      if last.shape[:2] != (height, width):
        last = np.asarray(PIL.Image.fromarray(last).resize(
            (width, height), PIL.Image.Resampling.LANCZOS))
      if clip["even"]:
        yield last
        sent += 1
  while last is not None and sent < clip["frames"] and not clip["even"]:
    yield last
    sent += 1
  if sent != clip["frames"]:
    raise ValueError(f"gave {sent} of {clip['frames']} frames the second time")

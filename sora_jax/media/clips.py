"""Reads a user's video as `prepare` does: at even times, with square pixels."""

import numpy as np
import PIL.Image

from sora_jax.media import containers
from sora_jax.media import limits
from sora_jax.media import timing


def read(source: containers.Source, max_frames: int | None = None
         ) -> tuple[np.ndarray, float]:
  """A video or an image as it is played.

  Frames at uneven times are put on a constant clock, at their median rate, and
  pixels that are not square become square.

  Args:
    source: a path, or the bytes of a file.
    max_frames: the most frames to decode; all of them by default.

  Returns:
    (uint8 [T, H, W, 3], frames per second).

  Raises:
    ValueError: unreadable, empty, beyond the limits, or with gaps in its times.
  """
  with containers.errors(source):
    pictures: list[np.ndarray] = []
    pts: list[int | None] = []
    with containers.open_frames(source) as (header, frames):
      for i, frame in enumerate(frames):
        rgb = resized(frame.rgb(), frame.pixel_aspect)
        limits.check_bytes(max(i + 1, min(
            header.frames, max_frames or header.frames)) * rgb.nbytes)
        if pictures and rgb.shape != pictures[0].shape:
          raise ValueError(f"changes its size at frame {i}")
        pictures.append(rgb)
        pts.append(frame.pts)
        if len(pictures) == max_frames:
          break
    if not pictures:
      raise ValueError("has no frames")
    count, fps, constant = timing.constant(header, pts)
    if not constant:
      limits.check_bytes(count * pictures[0].nbytes)
      times = timing.seconds(header, pts) * fps
      pictures = list(timing.held(zip(times.tolist(), pictures), count))
    return stack(pictures), fps


def resized(rgb: np.ndarray, pixel_aspect: float) -> np.ndarray:
  """uint8 [H, W, 3] with square pixels."""
  size = rgb.shape[0], rgb.shape[1]
  height, width = timing.square(*size, pixel_aspect)
  if size == (height, width):
    return rgb
  return np.asarray(PIL.Image.fromarray(rgb).resize(
      (width, height), PIL.Image.Resampling.LANCZOS))


def stack(pictures: list[np.ndarray]) -> np.ndarray:
  """np.stack that empties the list, so that memory holds the frames once."""
  video = np.empty((len(pictures), *pictures[0].shape), pictures[0].dtype)
  pictures.reverse()
  for i in range(len(video)):
    video[i] = pictures.pop()
  return video

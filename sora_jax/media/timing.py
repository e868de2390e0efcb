"""The times and the shape of pixels of a video, made even and square.

A model knows neither: its frames come at one rate and its pixels are square.
`prepare` and the verbs read users' files by the same rules, those of this file.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from sora_jax import messages
from sora_jax.media import containers


def constant(header: containers.Header, pts: Sequence[int | None]
             ) -> tuple[int, float, bool]:
  """(frames, fps, whether it is constant) of frames, by their times.

  Frames that come at uneven times are to be resampled at their median rate.

  Args:
    header: of their file.
    pts: of each frame, as in containers.Frame.

  Raises:
    ValueError: times with gaps that resampling would have to fill.
  """
  count, times = len(pts), seconds(header, pts)
  if count < 2 or len(times) < count or not header.time_base:
    return count, header.fps, True
  if times[-1] <= 0 or (np.diff(times) <= 0).any():
    return count, header.fps, True
  fps = (count - 1) / times[-1]
  if abs(fps / header.fps - 1) < 0.005:
    fps = header.fps
  off = np.abs(times * fps - np.arange(count)).max()
  if off <= 0.5 and 0.1 <= fps <= 1000:
    return count, float(fps), True
  fps = float(np.clip(1 / np.median(np.diff(times)), 0.1, 1000))
  frames = round(times[-1] * fps) + 1
  if frames > 2 * count + 8:
    raise ValueError(f"lasts {times[-1]:.3g} s with "
                     f"{messages.count(count, 'frame')}: its times have gaps")
  return frames, fps, False


def seconds(header: containers.Header, pts: Sequence[int | None]
            ) -> np.ndarray:
  """float [T]: times since the first frame, of those that have one."""
  known = np.array([p for p in pts if p is not None])
  return (known - known[:1]) * header.time_base


def held(timed: Iterator[tuple[float, np.ndarray]], frames: int
         ) -> Iterator[np.ndarray]:
  """Puts pictures on a constant clock: each stands until the next one comes.

  Args:
    timed: (time in frames of the clock, picture) in turn.
    frames: the number of pictures to give.
  """
  last, sent = None, 0
  for time, rgb in timed:
    while last is not None and sent < min(time - 0.5, frames):
      yield last
      sent += 1
    last = rgb
  while last is not None and sent < frames:
    yield last
    sent += 1


def square(height: int, width: int, pixel_aspect: float) -> tuple[int, int]:
  """(height, width) with square pixels: the shorter side is stretched.

  Args:
    height, width: in pixels.
    pixel_aspect: the width of a pixel / its height; one within 1 % of square
      or beyond 10 is not believed.
  """
  if abs(pixel_aspect - 1) <= 0.01 or not 0.1 < pixel_aspect < 10:
    return height, width
  if pixel_aspect > 1:
    return height, max(2, round(width * pixel_aspect / 2) * 2)
  return max(2, round(height / pixel_aspect / 2) * 2), width

"""Contact sheets: videos as one image."""

from collections.abc import Sequence

import numpy as np


def contact_sheet(videos: np.ndarray | Sequence[np.ndarray], columns: int = 8,
                  side: int = 128) -> np.ndarray:
  """Frames side by side: one line per video, evenly spaced in time.

  Args:
    videos: one video uint8 [T, H, W, 3], or a list of them of any sizes.
    columns: the most frames of a line.
    side: frames with a smaller long side are enlarged by a whole number.

  Returns:
    uint8 [H, W, 3].

  Raises:
    ValueError: no video.
  """
  single = isinstance(videos, np.ndarray) and videos.ndim == 4
  videos = [np.asarray(videos)] if single else list(videos)
  if not videos:
    raise ValueError("a contact sheet needs at least one video; there are 0")
  gap, lines = 2, []
  for video in videos:
    scale = max(1, side // max(video.shape[1:3]))
    cells = [np.pad(frame.repeat(scale, 0).repeat(scale, 1),
                    ((0, gap), (0, gap), (0, 0)), constant_values=255)
             for frame in spread(video, columns)]
    lines.append(np.concatenate(cells, 1))
  return stack(lines)


def spread(video: np.ndarray, most: int) -> np.ndarray:
  """At most `most` frames, evenly spaced, the first and the last among them."""
  return video[np.unique(np.linspace(0, len(video) - 1, most).round().astype(
      int))]


def stack(lines: Sequence[np.ndarray]) -> np.ndarray:
  """Images uint8 [h, w, 3] one beneath the other, filled up with white."""
  width = max(line.shape[1] for line in lines)
  return np.concatenate([np.pad(
      line, ((0, 0), (0, width - line.shape[1]), (0, 0)), constant_values=255)
                         for line in lines])

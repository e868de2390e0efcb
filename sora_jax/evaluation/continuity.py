"""How well a video goes on: seams, crossfades, drift, and where objects are.

A jump is the mean absolute difference of two frames. The seam ratio is the jump
at a seam over the median jump of the frames around it: 1 where nothing can be
seen of it.
"""

from collections.abc import Sequence

import numpy as np
from scipy import stats

from sora_jax.worlds import blobs as blobs_lib

LEAST = 0.1  # a jump of a video that stands still, in 255ths
NEAR = 0.1  # how far from the truth an object may be, in short sides
MOST = 0.8  # the share of frames in which it must be near


def jumps(video: np.ndarray) -> np.ndarray:
  """[T - 1] mean absolute differences of neighbouring frames."""
  return np.array([np.abs(a.astype(np.float32) - b).mean() for a, b in zip(
      video[:-1], video[1:])])


def seam_ratio(video: np.ndarray, at: int) -> float:
  """The jump to frame `at` over the median of all other jumps."""
  all_ = jumps(video)
  return float(all_[at - 1] / max(np.median(np.delete(all_, at - 1)), LEAST))


def loop_ratio(video: np.ndarray) -> float:
  """The jump from the last frame to the first over the median jump."""
  return seam_ratio(np.concatenate([video, video[:1]]), len(video))


def monotone(video: np.ndarray, first: np.ndarray, last: np.ndarray) -> float:
  """Rank correlation of time with the way from one frame to another, -1 to 1.

  The way of a frame is its distance to `first` over its distances to both.
  """
  far = lambda frame, to: np.abs(frame.astype(np.float32) - to).mean() + 1e-6
  way = [far(f, first) / (far(f, first) + far(f, last)) for f in video]
  return float(np.nan_to_num(stats.spearmanr(np.arange(len(way)), way)[0]))


def centres(video: np.ndarray, colour: str) -> np.ndarray:
  """[T, 2] centre (x, y) of the largest blob of a colour, NaN where none is."""
  found = np.full((len(video), 2), np.nan)
  for blob in reversed(blobs_lib.find(video)):  # the largest comes first
    if blob.colour == colour:
      found[blob.frame] = blob.centre
  return found


def follows(video: np.ndarray, truth: np.ndarray, colours: Sequence[str],
            least: float = MOST) -> bool:
  """Whether objects are where they are in the truth, in most of its frames."""
  if len(video) != len(truth):
    return False
  for colour in colours:
    wanted, found = centres(truth, colour), centres(video, colour)
    seen = ~np.isnan(wanted).any(1)
    with np.errstate(invalid="ignore"):
      near = np.hypot(*(found - wanted)[seen].T) <= NEAR  # NaN is not near
    if not seen.any() or near.mean() < least:
      return False
  return True


def drift(video: np.ndarray) -> float:
  """How far the mean colour goes from the first 15 % to the last, in 255ths."""
  n = max(round(0.15 * len(video)), 1)
  first, last = (v.astype(np.float32).mean((0, 1, 2))
                 for v in (video[:n], video[-n:]))
  return float(np.abs(first - last).max())


def contrast(video: np.ndarray) -> float:
  """Contrast of the last 15 % of the frames over that of the first."""
  n = max(round(0.15 * len(video)), 1)
  first, last = (v.astype(np.float32).std((1, 2)).mean()
                 for v in (video[:n], video[-n:]))
  return float(last / max(first, LEAST))

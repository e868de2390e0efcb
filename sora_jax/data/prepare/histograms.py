"""Counts of sizes, lengths, rates and captions, as bars of a report."""

import collections
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

BARS = 14  # of a histogram
ASPECTS = {"9:21": 9 / 21, "9:16": 9 / 16, "2:3": 2 / 3, "3:4": 3 / 4, "1:1": 1,
           "4:3": 4 / 3, "3:2": 3 / 2, "16:9": 16 / 9, "21:9": 21 / 9}
Bars = list[tuple[str, int]]  # (label, count) ..


def histograms(columns: Mapping[str, np.ndarray]
               ) -> Iterator[tuple[str, Bars]]:
  """Yields the name and the bars of each histogram.

  Args:
    columns: [N] of frames, height, width, fps and words.
  """
  height, width = columns["height"], columns["width"]
  video = columns["frames"] > 1
  names, ratios = list(ASPECTS), np.log(list(ASPECTS.values()))
  nearest = np.abs(np.log(width / height)[:, None] - ratios).argmin(1)
  counts = np.bincount(nearest, minlength=len(names))
  yield "size", _common(f"{w:.0f}x{h:.0f}" for w, h in zip(width, height))
  yield "aspect (nearest)", [(n, int(c)) for n, c in zip(names, counts) if c]
  yield "length of videos (seconds)", _bins(
      (columns["frames"] / columns["fps"])[video])
  yield "frames a second of videos", _common(
      f"{f:.4g}" for f in columns["fps"][video])
  yield "words of the first caption", _bins(columns["words"], whole=True)


def _common(values: Iterable[str]) -> Bars:
  """The most common values, and how many are others."""
  counts = collections.Counter(values)
  bars = counts.most_common(BARS)
  rest = sum(counts.values()) - sum(n for _, n in bars)
  return bars + [(f"{len(counts) - len(bars)} others", rest)] * (rest > 0)


def _bins(values: np.ndarray, whole: bool = False) -> Bars:
  """Counts of values between edges 1, 2, 5 times a power of ten apart."""
  if not len(values):
    return []
  low, high = float(values.min()), float(values.max())
  step = 10.0 ** np.floor(np.log10(max((high - low) / BARS, 1e-3)))
  step *= next(m for m in (1, 2, 5, 10) if (high - low) / (m * step) <= BARS)
  step = max(step, 1) if whole else step
  first = np.floor(low / step)
  index = (np.floor(values / step) - first).astype(int)
  return [(f"{(first + i) * step:.4g}" + ("" if whole and step == 1 else
                                          f" - {(first + i + 1) * step:.4g}"),
           int(n)) for i, n in enumerate(np.bincount(index))]

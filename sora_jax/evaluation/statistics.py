"""Scores with their intervals, as tables, JSON and contact sheets.

A share of right answers carries the Wilson 95 % interval (Wilson 1927,
"Probable inference, the law of succession, and statistical inference"), which
holds for few answers and for shares near 0 and 1; a mean of decibels or SSIM
carries the percentile bootstrap interval over clips (Efron 1979).
"""

from collections.abc import Iterable, Sequence
import math
import os
import textwrap

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sora_jax import files

Z95 = 1.959964  # the 97.5 % quantile of the normal distribution


def wilson(right: int, n: int) -> tuple[float, float]:
  """The 95 % interval of a share of `right` out of `n`; (0, 1) when n is 0."""
  if n == 0:
    return 0.0, 1.0
  p, z2 = right / n, Z95 ** 2
  centre = (p + z2 / (2 * n)) / (1 + z2 / n)
  half = Z95 * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
  # At 0 and n the bound is p itself; rounding must not push it past.
  return min(max(centre - half, 0.0), p), max(min(centre + half, 1.0), p)


def bootstrap(values: Sequence[float], seed: int = 0, draws: int = 2000,
              of=np.mean) -> tuple[float, float]:
  """The 95 % percentile interval of the mean, values resampled with return."""
  values = np.asarray(values, np.float64)
  picks = np.random.default_rng(seed).integers(
      0, len(values), (draws, len(values)))
  low, high = np.percentile(of(values[picks], 1), (2.5, 97.5))
  return float(low), float(high)


def share(answers: Iterable[bool]) -> dict:
  """{value, low, high, n} of right and wrong answers; value None of none."""
  answers = list(answers)
  n, right = len(answers), sum(map(bool, answers))
  low, high = wilson(right, n)
  return {"value": right / n if n else None, "low": low, "high": high, "n": n}


def mean(values: Sequence[float], seed: int = 0, of=np.mean) -> dict:
  """{value, low, high, n} of a mean over clips; value None without any.

  `of` is np.mean or another statistic of (values, axis), such as np.median.
  """
  values = [float(v) for v in values]
  if not values:
    return {"value": None, "low": None, "high": None, "n": 0}
  low, high = bootstrap(values, seed, of=of)
  return {"value": float(of(values, 0)), "low": low, "high": high,
          "n": len(values)}


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
  """A Markdown table with its columns aligned, readable as plain text too."""
  rows = [[str(c) for c in row] for row in (header, *rows)]
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(
      row, widths, strict=True)) + " |" for row in rows]
  lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
  return "\n".join(lines) + "\n"


def percent(value: float | None) -> str:
  """'93.5' for 0.935; '-' for None."""
  return "-" if value is None else f"{100 * value:.1f}"


def strip(video: np.ndarray, caption: str, frames: int = 9,
          scale: int = 1) -> np.ndarray:
  """Frames of a video side by side, evenly spaced, with its caption beneath.

  Args:
    video: uint8 [T, H, W, 3].
    caption: wrapped to the width of the strip.
    frames: the most frames to show; the first and last are among them.
    scale: each pixel is shown as scale x scale.

  Returns:
    uint8 [h, w, 3].
  """
  index = np.unique(np.linspace(0, len(video) - 1, frames).round().astype(int))
  image = np.concatenate([np.pad(video[i], ((1, 1), (1, 1), (0, 0)))
                          for i in index], axis=1)
  image = image.repeat(scale, 0).repeat(scale, 1)
  font = ImageFont.load_default(12)
  letter = font.getlength("abcdefghij ") / 11
  lines = textwrap.wrap(caption, max(int((image.shape[1] - 6) / letter), 8))
  label = Image.new("RGB", (image.shape[1], 16 * len(lines) + 4), "white")
  draw = ImageDraw.Draw(label)
  for i, line in enumerate(lines):
    draw.text((3, 16 * i + 1), line, fill="black", font=font)
  return np.concatenate([image, np.asarray(label)])


def sheet(path: str | os.PathLike, videos: Sequence[np.ndarray],
          captions: Sequence[str], frames: int = 9, scale: int = 1) -> None:
  """Writes a PNG of the strips of several videos, one beneath the other."""
  strips = [strip(v, c, frames, scale)
            for v, c in zip(videos, captions, strict=True)]
  width = max(s.shape[1] for s in strips)
  image = np.concatenate([np.pad(
      s, ((0, 0), (0, width - s.shape[1]), (0, 0)), constant_values=255)
                          for s in strips])
  with files.atomic(path) as file:
    Image.fromarray(image).save(file, format="PNG")

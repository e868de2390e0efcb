"""Contact sheets of videos with their captions."""

from collections.abc import Sequence
import os
import textwrap

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sora_jax import files
from sora_jax.media import sheets


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
  image = np.concatenate([np.pad(frame, ((1, 1), (1, 1), (0, 0)))
                          for frame in sheets.spread(video, frames)], axis=1)
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
  image = sheets.stack([strip(v, c, frames, scale)
                          for v, c in zip(videos, captions, strict=True)])
  with files.atomic(path) as file:
    Image.fromarray(image).save(file, format="PNG")

"""Images and animations: PNG, JPEG, GIF, WebP and BMP, frame by frame."""

from collections.abc import Iterator

import numpy as np
import PIL.Image
import PIL.ImageOps

from sora_jax import files
from sora_jax.media import limits

DESCRIPTION = 0x010E  # the EXIF tag ImageDescription
ORIENTATION = 0x0112
MAX_COMMENT = 2 ** 20  # characters
TICK = 0.001  # seconds of a unit of the times of frames
FPS = 8.0  # of an animation that names no rate that can be


def info(image: PIL.Image.Image) -> limits.Info:
  """What an image or animation holds, upright; frames as they are stored.

  Raises:
    ValueError: it is beyond the limits.
  """
  frames = getattr(image, "n_frames", 1)
  limits.check_size(frames, image.height, image.width)
  sideways = image.getexif().get(ORIENTATION, 1) in (5, 6, 7, 8)
  height, width = image.size if sideways else image.size[::-1]
  return limits.Info(frames, height, width, _stored_fps(image))


def _stored_fps(image: PIL.Image.Image) -> float:
  """fps of an animation: as `write` stored it, or by the first duration."""
  fps = _told_fps(image) or 1000 / (image.info.get("duration") or 125)
  return fps if limits.FPS[0] <= fps <= limits.FPS[1] else FPS


def _told_fps(image: PIL.Image.Image) -> float | None:
  """fps as `write` stored it, None where it did not."""
  text = image.info.get("comment") or image.getexif().get(DESCRIPTION) or "{}"
  try:
    return float(files.parse_json(text, MAX_COMMENT)["fps"])
  except (ValueError, KeyError, TypeError):
    return None


def each(image: PIL.Image.Image, about: limits.Info) -> Iterator[int | None]:
  """Brings up the frames of an animation in turn, each as often as it counts.

  Writers store equal frames in a row as one that lasts longer.

  Yields:
    The time of the frame in units of TICK; None in a file that says its rate,
    for there the time is the number of the frame.
  """
  count, start, told = 0, 0, _told_fps(image) is not None
  for i in range(about.frames):
    image.seek(i)
    if about.frames > 1:
      image.load()  # a webp says how long a frame lasts only now
    duration = image.info.get("duration") or 0
    lasts = max(1, round(duration * about.fps / 1000))
    count += lasts
    limits.check_size(count, about.height, about.width)
    for k in range(lasts):
      yield None if told else start + round(k * duration / lasts)
    start += duration


def rgb(image: PIL.Image.Image) -> np.ndarray:
  """uint8 [H, W, 3]: upright, transparency over white, 16 bits to 8."""
  image = PIL.ImageOps.exif_transpose(image)
  if image.mode.startswith("I"):
    image = PIL.Image.fromarray((np.asarray(image, np.int64) >> 8).clip(
        0, 255).astype(np.uint8))
  if image.has_transparency_data:
    image = image.convert("RGBA")
    white = PIL.Image.new("RGBA", image.size, "white")
    image = PIL.Image.alpha_composite(white, image)
  return np.asarray(image.convert("RGB"))


def reduced(image: PIL.Image.Image, side: int) -> np.ndarray:
  """The same as `rgb`, its long side at most `side` pixels."""
  image = PIL.Image.fromarray(rgb(image))
  size = reduced_size(image.width, image.height, side)
  return np.asarray(image.resize(size, PIL.Image.Resampling.BOX))


def reduced_size(width: int, height: int, side: int) -> tuple[int, int]:
  """(width, height) with a long side of at most `side`."""
  scale = min(1, side / max(width, height))
  return max(1, round(width * scale)), max(1, round(height * scale))

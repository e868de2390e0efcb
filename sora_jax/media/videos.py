"""A video that knows its rate, says how it was made and shows itself.

`Video` is an array of numpy with two more attributes; in a notebook it plays.
Every function of the package that takes pixels takes what `opened` does.
"""

import base64
from collections.abc import Sequence
import html
import io
import os
from typing import Any

import numpy as np
import PIL.Image

from sora_jax import files
from sora_jax import messages
from sora_jax.media import clips
from sora_jax.media import images
from sora_jax.media import video_io

# A path, the bytes of a file, pixels or frames; an image of Pillow does as well.
Like = str | os.PathLike | bytes | np.ndarray | Sequence[Any]
SIDE = 320  # pixels of the long side of what is shown, at least
SHOWN = 2 ** 29  # bytes of the pixels that a page gets, at most
FPS = 8.0  # that a video of no known rate is shown at


class Video(np.ndarray):
  """A video uint8 [T, H, W, 3], an image [H, W, 3] or a batch [N, T, H, W, 3].

  A part of one (`video[8:]`, `video[0]`) is one too; what is computed from it
  (`video / 255`) is an ordinary array.

  Attributes:
    fps: frames per second, None where it is not known.
    made: what it says it was made by: prompt, seed, model; {} where nothing.
  """

  fps: float | None
  made: dict[str, Any]

  def __array_finalize__(self, array: Any) -> None:
    self.fps = getattr(array, "fps", None)
    self.made = getattr(array, "made", {})

  def __array_wrap__(self, array: Any, context: Any = None,
                     return_scalar: bool = False) -> Any:
    plain = np.asarray(array)
    return plain[()] if return_scalar else plain

  def __reduce__(self) -> Any:
    return of, (np.array(self, subok=False), self.fps, self.made)

  @property
  def prompt(self) -> str:
    """The prompt it was made from, "" where it says none."""
    found = self.made.get("prompt")
    return found if isinstance(found, str) else ""

  @property
  def seed(self) -> int | None:
    """The seed it was made from, None where it says none."""
    found = self.made.get("seed")
    if not isinstance(found, int) or isinstance(found, bool):
      return None
    return found if found >= 0 else None

  def __repr__(self) -> str:
    return _told(self) if _is_picture(self) else repr(np.asarray(self))

  def __str__(self) -> str:
    return _told(self) if _is_picture(self) else str(np.asarray(self))

  def _repr_html_(self) -> str | None:
    """The video as a notebook shows it; None where it is none or too large."""
    if not _is_picture(self) or self.nbytes > SHOWN:
      return None
    video = np.concatenate(list(self), -2) if self.ndim == 5 else self
    return _page(np.asarray(video), self.fps, str(self))


def of(array: np.ndarray, fps: float | None = None,
       made: dict[str, Any] | None = None) -> Video:
  """An array as a video, without a copy."""
  video = np.asarray(array).view(Video)
  video.fps, video.made = fps, dict(made or {})
  return video


def load_video(source: str | os.PathLike | bytes) -> Video:
  """Reads a video or an image as it is played: even times, square pixels.

  Args:
    source: a path, or the bytes of a file.

  Returns:
    uint8 [T, H, W, 3] with its frames per second and what it was made by.

  Raises:
    ValueError: no such file, an address, unreadable, or beyond the limits; one
      line.
  """
  _refuse_address(source)
  video, fps = clips.read(source)
  return of(video, fps, _origin(source))


def load_image(source: str | os.PathLike | bytes) -> Video:
  """Reads an image, or the first frame of a video: uint8 [H, W, 3].

  Args:
    source: a path, or the bytes of a file.

  Raises:
    ValueError: no such file, an address, unreadable, or beyond the limits; one
      line.
  """
  _refuse_address(source)
  video, fps = clips.read(source, 1)
  return of(video[0], fps, _origin(source))


def opened(source: Like, name: str = "video") -> Video:
  """What a user gives for a video or an image, as uint8 [T, H, W, 3].

  Args:
    source: a path, the bytes of a file, an image of Pillow, an array uint8
      [T, H, W, 3] or [H, W, 3], or a list of frames [H, W, 3].
    name: what a message calls it.

  Raises:
    ValueError: as `load_video`, or an array that is no video.
  """
  if isinstance(source, (str, os.PathLike, bytes)):
    return load_video(source)
  if isinstance(source, PIL.Image.Image):
    return of(images.rgb(source)[None])
  try:
    video = np.asarray(source)
  except ValueError:  # frames of several sizes
    video = np.zeros(0)
  video = video[None] if video.ndim == 3 else video
  if video.dtype != np.uint8 or video.ndim != 4 or video.shape[-1] != 3 or (
      0 in video.shape):
    raise ValueError(
        f"{name} is {np.shape(source) if video.size else 'empty'} of "
        f"{video.dtype}: give a path, or uint8 in 0 .. 255 of [frames, height, "
        "width, 3], or [height, width, 3] of an image")
  return of(video, getattr(source, "fps", None), getattr(source, "made", None))


def opened_image(source: Like, name: str = "image") -> Video:
  """What `opened` takes as an image uint8 [H, W, 3]: the first frame of it."""
  if isinstance(source, (str, os.PathLike, bytes)):
    return load_image(source)
  return opened(source, name)[0]


def _refuse_address(source: str | os.PathLike | bytes) -> None:
  if not isinstance(source, bytes):
    files.refuse_address(os.fspath(source))


def _origin(source: str | os.PathLike | bytes) -> dict[str, Any]:
  """What a file says it was made by, but for the command that wrote it."""
  said = video_io.metadata(source)
  return {name: said[name] for name in said if name not in ("command", "fps")}


def _is_picture(array: np.ndarray) -> bool:
  """Whether an array is an image, a video or a batch of videos."""
  return (array.dtype == np.uint8 and 3 <= array.ndim <= 5
          and array.shape[-1] == 3 and 0 not in array.shape)


def _told(video: Video) -> str:
  """Kind, size and origin on one line."""
  height, width = video.shape[-3:-1]
  if video.ndim == 3:
    text = f"image of {width}x{height}"
  else:
    count = video.shape[-4]
    text = (f"{messages.count(count, 'frame')} of {width}x{height}"
            + (f" at {video.fps:g} fps" if video.fps and count > 1 else ""))
  if video.ndim == 5:
    text = f"{messages.count(len(video), 'video')}, each {text}"
  if video.prompt:
    text += f", {video.prompt!r}"
  return text if video.seed is None else f"{text}, seed {video.seed}"


def _page(video: np.ndarray, fps: float | None, text: str) -> str:
  """HTML of an image or a video, small ones enlarged without blur."""
  scale = max(1, SIDE // max(video.shape[-3:-1]))
  large = lambda frame: frame.repeat(scale, 0).repeat(scale, 1)
  buffer, still = io.BytesIO(), video.ndim == 3 or len(video) == 1
  if still:
    image = large(video if video.ndim == 3 else video[0])
    PIL.Image.fromarray(image).save(buffer, "PNG")
  else:
    video_io.write(buffer, map(large, video), fps or FPS, ending=".mp4")
  data = base64.b64encode(buffer.getvalue()).decode()
  width, label = scale * video.shape[-2], html.escape(text)
  if still:
    return (f'<img width="{width}" alt="{label}" title="{label}" '
            f'src="data:image/png;base64,{data}">')
  return (f'<video width="{width}" title="{label}" controls loop autoplay muted '
          f'playsinline src="data:video/mp4;base64,{data}"></video>')

"""Opens video and image files safely, and decodes them frame by frame.

A file is hostile until it is decoded: the containers are pinned (a .mp4 that
holds an ffconcat script would otherwise open other local files), sizes and
frame counts are looked at before and while decoding, the codec has a pixel
limit of its own (limits.py), one thread decodes, and a container is always
closed. Every failure is a ValueError of one line that names the file.
"""

from collections.abc import Callable, Generator, Iterator
import contextlib
import dataclasses
import functools
import io
import itertools
import os
import struct
from typing import Any
import zlib

import av
import numpy as np
import PIL.Image

from sora_jax import files
from sora_jax.media import color
from sora_jax.media import decode
from sora_jax.media import images
from sora_jax.media import limits

KINDS = "mp4, mov, mkv, webm, avi, ts, mpg; png, jpg, gif, webp, bmp"
CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg"
SEEK = 64  # frames to skip from which on seeking pays
# What decoders and Pillow raise on broken input, with a message of their own and
# without; av's errors are ValueErrors, OSErrors or av.FFmpegError.
BROKEN = (OSError, ValueError, av.FFmpegError, PIL.Image.DecompressionBombError)
LOST = (EOFError, LookupError, SyntaxError, TypeError, ArithmeticError,
        struct.error, zlib.error)
Source = str | os.PathLike | bytes  # a path, or the bytes of a file
Container = av.container.InputContainer


@dataclasses.dataclass(frozen=True)
class Header:
  """What a file says before it is decoded.

  Attributes:
    image: an image or animation, not a video.
    fps: frames per second, on average.
    frames: that are to be shown, as the header counts them; 0 where it does
      not.
    time_base: seconds of one unit of `Frame.pts`; 0 where there is none.
  """

  image: bool
  fps: float
  frames: int
  time_base: float = 0.0


@dataclasses.dataclass(frozen=True)
class Frame:
  """A decoded frame, converted when it is asked for.

  Attributes:
    pts: its time in units of the time base, None where the file does not say.
    size: (height, width) in pixels, upright.
    rgb: () -> uint8 [H, W, 3], upright.
    small: (side) -> the same, reduced so that its long side is `side`.
    damaged: whether the decoder had to guess.
    pixel_aspect: the width of a pixel / its height, upright.
    altered: what was done to show it: "interlaced", "HDR", "wide gamut",
      "transparent"; () of an ordinary one.
    lines: (step) -> uint8 [H, W / step], every so many columns in grey, as they
      were coded; None of an image.
  """

  pts: int | None
  size: tuple[int, int]
  rgb: Callable[[], np.ndarray]
  small: Callable[[int], np.ndarray]
  damaged: bool = False
  pixel_aspect: float = 1.0
  altered: tuple[str, ...] = ()
  lines: Callable[[int], np.ndarray] | None = None


@contextlib.contextmanager
def errors(source: Source) -> Iterator[None]:
  """Turns whatever a decoder raises into one line that names the file."""
  name = "the video" if isinstance(source, bytes) else os.fspath(source)
  try:
    yield
  except FileNotFoundError as e:
    raise ValueError(f"{name}: no such file") from e
  except PIL.UnidentifiedImageError as e:
    raise ValueError(f"{name}: is no image that can be read") from e
  except (*BROKEN, *LOST) as e:
    text = " ".join(str(getattr(e, "strerror", None) or e).split())[:200]
    if isinstance(e, LOST):
      text = f"is damaged or cut off: {text or type(e).__name__}"
    raise ValueError(f"{name}: {text}") from e


@contextlib.contextmanager
def opened(source: Source) -> Iterator[tuple[str, Any]]:
  """('image', PIL image) or ('video', av container), by content; closed."""
  with (io.BytesIO(source) if isinstance(source, bytes) else
        files.open_regular(source)) as file:
    head = file.read(16)
    file.seek(0)
    if not head:
      raise ValueError("is empty")
    if _is_image(head):
      with PIL.Image.open(file, formats=(
          "PNG", "JPEG", "GIF", "WEBP", "BMP")) as image:
        yield "image", image
      return
    try:
      container = av.open(file, options={"format_whitelist": CONTAINERS,
                                         "protocol_whitelist": "file"})
    except (av.error.InvalidDataError, av.error.ArgumentError) as e:
      raise ValueError("is no video or image that is read here, of "
                       f"{KINDS}: {e.strerror}") from e
    with container:
      yield "video", container


def _is_image(head: bytes) -> bool:
  return (head.startswith((b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM"))
          or head[:4] == b"RIFF" and head[8:12] == b"WEBP")


def fps_of(stream: Any) -> float:
  """Frames per second of a stream, by its average."""
  rate = stream.average_rate or stream.guessed_rate
  fps = float(rate) if rate else 0.0
  if not limits.FPS[0] <= fps <= limits.FPS[1]:
    raise ValueError(f"has {fps:g} frames a second")
  return fps


@contextlib.contextmanager
def open_frames(source: Source, start: int = 0, pts: int | None = None,
                max_frames: int | None = None
                ) -> Iterator[tuple[Header, Iterator[Frame]]]:
  """The header of a file, and its frames from `start` on, decoded in turn.

  Args:
    source: a path, or the bytes of a file.
    start: the number of frames that are left out.
    pts: of frame `start`, where it is known: the file is read from the key
      frame before it.
    max_frames: the most frames that a file may have, limits.MAX_FRAMES by
      default.
  """
  with opened(source) as (kind, file):
    if kind == "image":
      about = images.info(file)
      yield Header(True, about.fps, about.frames, images.TICK), _image_frames(
          file, about, start)
      return
    stream = decode.stream_of(file, max_frames)
    header = Header(False, fps_of(stream), decode.frames_of(file, stream),
                    float(stream.time_base or 0))
    if pts is None and start >= SEEK:
      pts = decode.pts_of(file, stream, start)
    if pts is not None:
      file.seek(pts, stream=stream)
    with contextlib.closing(_video_frames(
        file, stream, start, pts, max_frames)) as frames:
      yield header, frames


def _image_frames(image: PIL.Image.Image, about: limits.Info,
                  start: int) -> Iterator[Frame]:
  clock = limits.Clock(about.fps)
  for _, pts in itertools.islice(clock.watch(
      enumerate(images.each(image, about))), start, None):
    yield Frame(pts, (about.height, about.width),
                clock.timed(functools.partial(images.rgb, image)),
                clock.timed(functools.partial(images.reduced, image)))


def _video_frames(container: Container, stream: Any, start: int,
                  pts: int | None, max_frames: int | None
                  ) -> Generator[Frame, None, None]:
  reformatter = av.video.reformatter.VideoReformatter()
  aspect = float(stream.sample_aspect_ratio or 1)
  clock = limits.Clock(fps_of(stream))
  for i, (frame, interlaced) in enumerate(clock.watch(decode.decode(
      container, stream, max_frames))):
    if i < start if pts is None else (frame.pts or 0) < pts:
      continue
    color.check(frame)
    to_rgb = clock.timed(functools.partial(_to_rgb, frame, reformatter))
    turns, size = _turns(frame), (frame.height, frame.width)
    yield Frame(
        frame.pts, size[::-1] if turns % 2 else size, to_rgb, to_rgb,
        bool(frame.is_corrupt), 1 / aspect if turns % 2 else aspect,
        ("interlaced",) * interlaced + color.changes(frame),
        clock.timed(functools.partial(_lines, frame)))


def _to_rgb(frame: av.VideoFrame,
            reformatter: av.video.reformatter.VideoReformatter,
            side: int | None = None) -> np.ndarray:
  """uint8 [H, W, 3], turned upright as the rotation tag says."""
  size = side and images.reduced_size(frame.width, frame.height, side)
  rgb, turns = color.to_rgb(frame, reformatter, size or None), _turns(frame)
  return np.rot90(rgb, turns) if turns else rgb


def _lines(frame: av.VideoFrame, step: int) -> np.ndarray:
  plane: Any = frame.reformat(format="gray").planes[0]
  lines = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
  return lines[:plane.height, :plane.width:step].copy()


def _turns(frame: av.VideoFrame) -> int:
  """Quarter turns, counterclockwise, until a frame is upright."""
  return round(getattr(frame, "rotation", 0) / 90) % 4

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
from typing import Any

import av
import numpy as np
import PIL.Image

from sora_jax.media import images
from sora_jax.media import limits

CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg"
SEEK = 64  # frames to skip from which on seeking pays
# What decoders and Pillow raise on broken input; av's errors are ValueErrors,
# OSErrors or av.FFmpegError.
BROKEN = (OSError, ValueError, EOFError, KeyError, IndexError, SyntaxError,
          TypeError, OverflowError, av.FFmpegError,
          PIL.Image.DecompressionBombError)
Source = str | os.PathLike | bytes  # a path, or the bytes of a file
Container = av.container.InputContainer


@dataclasses.dataclass(frozen=True)
class Header:
  """What a file says before it is decoded.

  Attributes:
    image: an image or animation, not a video.
    fps: frames per second, on average.
    frames: as the header counts them, 0 where it does not.
    pixel_aspect: the width of a pixel / its height.
    time_base: seconds of one unit of `Frame.pts`; 0 where there is none.
  """

  image: bool
  fps: float
  frames: int
  pixel_aspect: float = 1.0
  time_base: float = 0.0


@dataclasses.dataclass(frozen=True)
class Frame:
  """A decoded frame, converted when it is asked for.

  Attributes:
    pts: its time in units of the time base, None where the file does not say.
    rgb: () -> uint8 [H, W, 3], upright.
    small: (side) -> the same, reduced so that its long side is `side`.
    damaged: whether the decoder had to guess.
  """

  pts: int | None
  rgb: Callable[[], np.ndarray]
  small: Callable[[int], np.ndarray]
  damaged: bool = False


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
  except BROKEN as e:
    text = " ".join(str(getattr(e, "strerror", None) or e).split())[:200]
    raise ValueError(f"{name}: {text}") from e


@contextlib.contextmanager
def opened(source: Source) -> Iterator[tuple[str, Any]]:
  """('image', PIL image) or ('video', av container), by content; closed."""
  with (io.BytesIO(source) if isinstance(source, bytes) else open(
      source, "rb")) as file:
    head = file.read(16)
    file.seek(0)
    if not head:
      raise ValueError("is empty")
    if _is_image(head):
      with PIL.Image.open(file, formats=(
          "PNG", "JPEG", "GIF", "WEBP", "BMP")) as image:
        yield "image", image
      return
    with av.open(file, options={"format_whitelist": CONTAINERS,
                                "protocol_whitelist": "file"}) as container:
      yield "video", container


def _is_image(head: bytes) -> bool:
  return (head.startswith((b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM"))
          or head[:4] == b"RIFF" and head[8:12] == b"WEBP")


def stream_of(container: Container, max_frames: int | None = None) -> Any:
  """The video stream, its codec limited to one thread and MAX_PIXELS."""
  if not container.streams.video:
    raise ValueError("holds no video stream")
  stream = container.streams.video[0]
  context = stream.codec_context
  if context is None:
    raise ValueError("has a codec that cannot be decoded")
  context.options = {"max_pixels": str(limits.MAX_PIXELS)}
  context.thread_count, context.thread_type = 1, "NONE"
  limits.check_size(stream.frames, stream.height, stream.width, max_frames)
  return stream


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
      yield Header(True, about.fps, about.frames), _image_frames(
          file, about, start)
      return
    stream = stream_of(file, max_frames)
    header = Header(False, fps_of(stream), stream.frames,
                    float(stream.sample_aspect_ratio or 1),
                    float(stream.time_base or 0))
    if pts is None and start >= SEEK:
      pts = _pts_of(file, stream, start)
    if pts is not None:
      file.seek(pts, stream=stream)
    with contextlib.closing(_video_frames(
        file, stream, start, pts, max_frames)) as frames:
      yield header, frames


def _image_frames(image: PIL.Image.Image, about: limits.Info,
                  start: int) -> Iterator[Frame]:
  for _ in itertools.islice(images.each(image, about), start, None):
    yield Frame(None, functools.partial(images.rgb, image),
                functools.partial(images.reduced, image))


def _video_frames(container: Container, stream: Any, start: int,
                  pts: int | None, max_frames: int | None
                  ) -> Generator[Frame, None, None]:
  reformatter = av.video.reformatter.VideoReformatter()
  for i, frame in enumerate(container.decode(stream)):
    limits.check_size(i + 1, frame.height, frame.width, max_frames)
    if i < start if pts is None else (frame.pts or 0) < pts:
      continue
    to_rgb = functools.partial(_to_rgb, frame, reformatter)
    yield Frame(frame.pts, to_rgb, to_rgb, bool(frame.is_corrupt))


def _pts_of(container: Container, stream: Any, index: int) -> int | None:
  """The time of a frame by the packets alone; None where they do not say.

  The container is left at its start.
  """
  times = [p.pts for p in container.demux(stream)
           if p.size and not p.is_discard]
  container.seek(0)
  if None in times or index >= len(times):
    return None
  return sorted(times)[index]


def _to_rgb(frame: av.VideoFrame,
            reformatter: av.video.reformatter.VideoReformatter,
            side: int | None = None) -> np.ndarray:
  """uint8 [H, W, 3], turned upright as the rotation tag says."""
  if side is not None:
    width, height = images.reduced_size(frame.width, frame.height, side)
    rgb = reformatter.reformat(frame, width, height, "rgb24",
                               interpolation="AREA").to_ndarray()
  elif frame.format.name == "gbrp":  # no conversion, only the planes in order
    planes: Any = frame.planes
    g, b, r = (np.frombuffer(p, np.uint8).reshape(-1, p.line_size)[
        :frame.height, :frame.width] for p in planes)
    rgb = np.stack([r, g, b], -1)
  else:
    rgb = reformatter.reformat(frame, format="rgb24").to_ndarray()
  turns = round(getattr(frame, "rotation", 0) / 90) % 4
  return np.rot90(rgb, turns) if turns else rgb

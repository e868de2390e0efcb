"""Opens video and image files safely, and decodes them frame by frame.

A file is hostile until it is decoded: the containers are pinned (a .mp4 that
holds an ffconcat script would otherwise open other local files), sizes and
frame counts are looked at before and while decoding, the codec has a pixel
limit of its own, one thread decodes, and a container is always closed. Every
failure is a ValueError of one line that names the file.
"""

from collections.abc import Callable
import contextlib
import dataclasses
import functools
import io
import itertools
import json
import os

import av
import numpy as np
import PIL.Image
import PIL.ImageOps

CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg"
MAX_SIDE = 16384
MAX_PIXELS = 2 ** 25  # of one frame: 8K passes, 8192 x 8192 does not
MAX_FRAMES = 10_000
MAX_BYTES = 2 ** 30  # of one decoded video
FPS = (0.1, 1000.0)  # frames a second of a video
DESCRIPTION = 0x010E  # the EXIF tag ImageDescription
ORIENTATION = 0x0112
SEEK = 64  # frames to skip from which on seeking pays
# What decoders and Pillow raise on broken input; av's errors are ValueErrors,
# OSErrors or av.FFmpegError.
BROKEN = (OSError, ValueError, EOFError, KeyError, IndexError, SyntaxError,
          TypeError, OverflowError, av.FFmpegError,
          PIL.Image.DecompressionBombError)


@dataclasses.dataclass(frozen=True)
class Info:
  """What a video holds: frames, height, width, and frames per second."""

  frames: int
  height: int
  width: int
  fps: float


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
def errors(source):
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
def opened(source):
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


def stream_of(container, max_frames: int = MAX_FRAMES):
  """The video stream, its codec limited to one thread and MAX_PIXELS."""
  if not container.streams.video:
    raise ValueError("holds no video stream")
  stream = container.streams.video[0]
  context = stream.codec_context
  if context is None:
    raise ValueError("has a codec that cannot be decoded")
  context.options = {"max_pixels": str(MAX_PIXELS)}
  context.thread_count, context.thread_type = 1, "NONE"
  check(stream.frames, stream.height, stream.width, max_frames)
  return stream


def check(frames: int, height: int, width: int,
          max_frames: int = MAX_FRAMES) -> None:
  """Raises ValueError beyond the limits of this module."""
  if not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE
          and height * width <= MAX_PIXELS):
    raise ValueError(f"is {width}x{height}; the limit is {MAX_SIDE} a side and "
                     f"{MAX_PIXELS} pixels")
  if frames > max_frames:
    raise ValueError(f"has {frames} frames; the limit is {max_frames}")


def fps_of(stream) -> float:
  """Frames per second of a stream, by its average."""
  rate = stream.average_rate or stream.guessed_rate
  fps = float(rate) if rate else 0.0
  if not FPS[0] <= fps <= FPS[1]:
    raise ValueError(f"has {fps:g} frames a second")
  return fps


def image_info(image) -> Info:
  """`Info` of an image or animation, upright; frames as they are stored."""
  frames = getattr(image, "n_frames", 1)
  check(frames, image.height, image.width)
  turned = image.getexif().get(ORIENTATION, 1) in (5, 6, 7, 8)
  height, width = image.size if turned else image.size[::-1]
  return Info(frames, height, width, _stored_fps(image))


def _stored_fps(image) -> float:
  """fps of an animation: as `write` stored it, or by the first duration."""
  text = image.info.get("comment") or image.getexif().get(DESCRIPTION) or "{}"
  try:
    fps = float(json.loads(text)["fps"])
  except (ValueError, KeyError, TypeError):
    fps = 1000 / (image.info.get("duration") or 125)
  return fps if 0.1 <= fps <= 1000 else 8.0


def _each(image, info: Info):
  """Brings up the frames of an animation in turn, each as often as it counts.

  Writers store equal frames in a row as one that lasts longer.
  """
  count = 0
  for i in range(info.frames):
    image.seek(i)
    if info.frames > 1:
      image.load()  # a webp says how long a frame lasts only now
    lasts = max(1, round((image.info.get("duration") or 0) * info.fps / 1000))
    count += lasts
    check(count, info.height, info.width)
    yield from range(lasts)


def frames_of(source, start: int = 0, pts: int | None = None,
              max_frames: int | None = None):
  """Yields the `Header` of a file, then every `Frame` from `start` on.

  Args:
    source: a path, or the bytes of a file.
    start: frames that are left out.
    pts: of frame `start`, where it is known: the file is read from the key
      frame before it.
    max_frames: the most frames that a file may have, MAX_FRAMES by default.
  """
  max_frames = MAX_FRAMES if max_frames is None else max_frames
  with opened(source) as (kind, file):
    if kind == "image":
      info = image_info(file)
      yield Header(True, info.fps, info.frames)
      for _ in itertools.islice(_each(file, info), start, None):
        yield Frame(None, functools.partial(_image_rgb, file),
                    lambda side: _reduced(_image_rgb(file), side))
      return
    stream = stream_of(file, max_frames)
    yield Header(False, fps_of(stream), stream.frames,
                 float(stream.sample_aspect_ratio or 1),
                 float(stream.time_base or 0))
    if pts is None and start >= SEEK:
      pts = _pts_of(file, stream, start)
    if pts is not None:
      file.seek(pts, stream=stream)
    reformatter = av.video.reformatter.VideoReformatter()
    for i, frame in enumerate(file.decode(stream)):
      check(i + 1, frame.height, frame.width, max_frames)
      if i < start if pts is None else (frame.pts or 0) < pts:
        continue
      yield Frame(frame.pts, functools.partial(_to_rgb, frame, reformatter),
                  functools.partial(_to_rgb, frame, reformatter),
                  bool(frame.is_corrupt))


def _pts_of(container, stream, index: int) -> int | None:
  """The time of a frame by the packets alone; None where they do not say.

  The container is left at its start.
  """
  times = [p.pts for p in container.demux(stream)
           if p.size and not p.is_discard]
  container.seek(0)
  if None in times or index >= len(times):
    return None
  return sorted(times)[index]


def _image_rgb(image) -> np.ndarray:
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


def _reduced(rgb: np.ndarray, side: int) -> np.ndarray:
  image = PIL.Image.fromarray(rgb)
  size = _fit(*image.size, side)
  return np.asarray(image.resize(size, PIL.Image.Resampling.BOX))


def _fit(width: int, height: int, side: int) -> tuple[int, int]:
  """(width, height) with a long side of at most `side`."""
  scale = min(1, side / max(width, height))
  return max(1, round(width * scale)), max(1, round(height * scale))


def _to_rgb(frame, reformatter, side: int | None = None) -> np.ndarray:
  """uint8 [H, W, 3], turned upright as the rotation tag says."""
  if side is not None:
    width, height = _fit(frame.width, frame.height, side)
    rgb = reformatter.reformat(frame, width, height, "rgb24",
                               interpolation="AREA").to_ndarray()
  elif frame.format.name == "gbrp":  # no conversion, only the planes in order
    g, b, r = (np.frombuffer(p, np.uint8).reshape(-1, p.line_size)[
        :frame.height, :frame.width] for p in frame.planes)
    rgb = np.stack([r, g, b], -1)
  else:
    rgb = reformatter.reformat(frame, format="rgb24").to_ndarray()
  turns = round(getattr(frame, "rotation", 0) / 90) % 4
  return np.rot90(rgb, turns) if turns else rgb

"""Opens video and image files safely, and decodes them frame by frame.

A file is hostile until it is decoded: the containers are pinned (a .mp4 that
holds an ffconcat script would otherwise open other local files), sizes and
frame counts are looked at before and while decoding, the codec has a pixel
limit of its own, one thread decodes, and a container is always closed. Every
failure is a ValueError of one line that names the file.
"""

import contextlib
import dataclasses
import functools
import io
import json
import os

import av
import numpy as np
import PIL.Image

CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg"
MAX_SIDE = 16384
MAX_PIXELS = 2 ** 25  # of one frame: 8K passes, 8192 x 8192 does not
MAX_FRAMES = 10_000
MAX_BYTES = 2 ** 30  # of one decoded video
DESCRIPTION = 0x010E  # the EXIF tag ImageDescription
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


@contextlib.contextmanager
def errors(source):
  """Turns whatever a decoder raises into one line that names the file."""
  name = "the video" if isinstance(source, bytes) else os.fspath(source)
  try:
    yield
  except FileNotFoundError as e:
    raise ValueError(f"{name}: no such file") from e
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


def stream_of(container):
  """The video stream, its codec limited to one thread and MAX_PIXELS."""
  if not container.streams.video:
    raise ValueError("holds no video stream")
  stream = container.streams.video[0]
  context = stream.codec_context
  if context is None:
    raise ValueError("has a codec that cannot be decoded")
  context.options = {"max_pixels": str(MAX_PIXELS)}
  context.thread_count, context.thread_type = 1, "NONE"
  check(stream.frames, stream.height, stream.width)
  return stream


def check(frames: int, height: int, width: int) -> None:
  """Raises ValueError beyond the limits of this module."""
  if not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE
          and height * width <= MAX_PIXELS):
    raise ValueError(f"is {width}x{height}; the limit is {MAX_SIDE} a side and "
                     f"{MAX_PIXELS} pixels")
  if frames > MAX_FRAMES:
    raise ValueError(f"has {frames} frames; the limit is {MAX_FRAMES}")


def fps_of(stream) -> float:
  """Frames per second of a stream, by its average."""
  rate = stream.average_rate or stream.guessed_rate
  fps = float(rate) if rate else 0.0
  if not 0.1 <= fps <= 1000:
    raise ValueError(f"has {fps:g} frames a second")
  return fps


def image_info(image) -> Info:
  """`Info` of an image or animation."""
  frames = getattr(image, "n_frames", 1)
  check(frames, image.height, image.width)
  return Info(frames, image.height, image.width, _stored_fps(image))


def _stored_fps(image) -> float:
  """fps of an animation: as `write` stored it, or by the first duration."""
  text = image.info.get("comment") or image.getexif().get(DESCRIPTION) or "{}"
  try:
    fps = float(json.loads(text)["fps"])
  except (ValueError, KeyError, TypeError):
    fps = 1000 / (image.info.get("duration") or 125)
  return fps if 0.1 <= fps <= 1000 else 8.0


def frames_of(source):
  """Yields fps, then for every frame a function that gives uint8 [H, W, 3]."""
  with opened(source) as (kind, file):
    if kind == "image":
      info = image_info(file)
      yield info.fps
      for i in range(info.frames):
        file.seek(i)
        yield lambda: np.asarray(file.convert("RGB"))
      return
    stream = stream_of(file)
    yield fps_of(stream)
    reformatter = av.video.reformatter.VideoReformatter()
    for i, frame in enumerate(file.decode(stream)):
      check(i + 1, frame.height, frame.width)
      yield functools.partial(_to_rgb, frame, reformatter)


def _to_rgb(frame, reformatter) -> np.ndarray:
  """uint8 [H, W, 3], turned upright as the rotation tag says."""
  if frame.format.name == "gbrp":  # no conversion, only the planes in order
    g, b, r = (np.frombuffer(p, np.uint8).reshape(-1, p.line_size)[
        :frame.height, :frame.width] for p in frame.planes)
    rgb = np.stack([r, g, b], -1)
  else:
    rgb = reformatter.reformat(frame, format="rgb24").to_ndarray()
  turns = round(getattr(frame, "rotation", 0) / 90) % 4
  return np.rot90(rgb, turns) if turns else rgb

"""Reading and writing videos and images.

Files are opened as containers.py says, safely. What we write carries its
provenance: `metadata` goes into the container as JSON (mp4 and gif: comment;
png: a text chunk; webp: the EXIF description).
"""

from collections.abc import Callable, Iterable, Iterator
import io
import itertools
import json
import os
from typing import Any, BinaryIO

import numpy as np
import PIL.Image
import PIL.PngImagePlugin

from sora_jax import files
from sora_jax.media import clips
from sora_jax.media import containers
from sora_jax.media import decode
from sora_jax.media import encoders
from sora_jax.media import images
from sora_jax.media import limits


def probe(source: containers.Source) -> limits.Info:
  """The header of a video or image; `frames` may be an estimate.

  Args:
    source: a path, or the bytes of a file.

  Raises:
    ValueError: not a video or image, or beyond the limits of this module.
  """
  with containers.errors(source), containers.opened(source) as (kind, file):
    if kind == "image":
      return images.info(file)
    stream = decode.stream_of(file)
    fps = containers.fps_of(stream)
    frames = decode.frames_of(file, stream) or int(round(float(
        (stream.duration or 0) * (stream.time_base or 0)) * fps)) or 1
    limits.check_size(frames, stream.height, stream.width)
    return limits.Info(frames, stream.height, stream.width, fps)


def read(source: containers.Source, max_frames: int | None = None,
         start: int = 0) -> tuple[np.ndarray, float]:
  """Decodes frames start .. start + max_frames of a video or image.

  Args:
    source: a path, or the bytes of a file.
    max_frames: the most frames to return; all of them by default.
    start: the first frame.

  Returns:
    (uint8 [T, H, W, 3], frames per second); fewer than max_frames frames when
    the video ends.

  Raises:
    ValueError: unreadable, empty from `start` on, or beyond the limits.
  """
  with containers.errors(source):
    frames: list[np.ndarray] = []
    total = 0
    with containers.open_frames(source, start) as (header, decoded):
      for i, coded in enumerate(decoded, start):
        frame = coded.rgb()
        total += frame.nbytes
        limits.check_bytes(total)
        if frames and frame.shape != frames[0].shape:
          raise ValueError(f"changes its size at frame {i}")
        frames.append(frame)
        if len(frames) == max_frames:
          break
    if not frames:
      raise ValueError(f"has no frame {start}")
    return clips.stack(frames), header.fps


def scan(source: containers.Source) -> limits.Info:
  """Decodes a whole video without keeping it: the true `Info`.

  Raises:
    ValueError: as `read`.
  """
  with containers.errors(source):
    count, height, width = 0, 0, 0
    with containers.open_frames(source) as (header, frames):
      for frame in frames:
        if not count:
          height, width = frame.size
        count += 1
    if not count:
      raise ValueError("has no frames")
    return limits.Info(count, height, width, header.fps)


def metadata(source: containers.Source) -> dict[str, Any]:
  """The provenance that `write` stored, {} when there is none."""
  with containers.errors(source), containers.opened(source) as (kind, file):
    if kind == "video":
      text = file.metadata.get("comment", "")
    else:
      text = (file.info.get("sora_jax") or file.info.get("comment")
              or file.getexif().get(images.DESCRIPTION) or "")
    text = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    try:
      value = files.parse_json(text, images.MAX_COMMENT)
    except ValueError:
      return {}
    return value if isinstance(value, dict) else {}


def at_rate(video: np.ndarray, fps: float, new: float) -> np.ndarray:
  """A video [T, H, W, 3] at another frame rate, its motion as fast as it was."""
  if fps == new:
    return video
  count = max(round(len(video) * new / fps), 1)
  index = np.round(np.arange(count) * fps / new).astype(int)
  return video[np.minimum(index, len(video) - 1)]


def write(target: str | os.PathLike | BinaryIO,
          video: np.ndarray | Iterator[np.ndarray], fps: float | None = None,
          metadata: dict[str, Any] | None = None, crf: int = 18,
          ending: str | None = None) -> encoders.Notes:
  """Writes a video as its ending says: .mp4, .gif, .webp or .png.

  A .png holds the image of a single frame, or the contact sheet of several.
  An .mp4 is H.264 in 4:2:0, as players take it: an odd side is padded by one.
  A file is written whole or not at all.

  Args:
    target: a path, or a writable binary buffer.
    video: uint8 [T, H, W, 3] or [H, W, 3], or an iterator of frames [H, W, 3],
      of which an .mp4 needs one at a time.
    fps: frames per second; by default those that the video says (videos.Video).
    metadata: JSON-able provenance stored in the container; by default what the
      video says that it was made by.
    crf: H.264 quality, lower is better.
    ending: the kind of file when `target` is a buffer.

  Returns:
    What the format could not do as asked, such as an odd size; one line each.

  Raises:
    ValueError: not uint8 [T, H, W, 3], no frame rate, an address, or an unknown
      ending.
  """
  fps = getattr(video, "fps", None) if fps is None else fps
  metadata = getattr(video, "made", None) if metadata is None else metadata
  path = os.fspath(target) if isinstance(target, (str, os.PathLike)) else None
  files.refuse_address(path or "")
  ending = (ending or (os.path.splitext(path)[1] if path else ".mp4")).lower()
  writers: dict[str, Callable[..., encoders.Notes]] = {
      ".mp4": encoders.write_mp4, ".gif": encoders.write_gif,
      ".webp": encoders.write_webp, ".png": encoders.write_png}
  if ending not in writers:
    raise ValueError(f"cannot write {path or 'a video'} as {ending!r}: the file "
                     f"must end in {', '.join(writers)}")
  if not isinstance(video, Iterator):
    video = np.asarray(video)
    video = _checked(video[None] if video.ndim == 3 else video)
  elif ending == ".mp4":
    first = _checked(np.asarray(next(video))[None])[0]
    video = itertools.chain([first], video)
  else:
    video = _checked(np.stack(list(video)))
  if fps is None:
    still = isinstance(video, np.ndarray) and len(video) == 1
    if not still and ending != ".png":
      raise ValueError(f"{path or 'the video'}: how fast does it play? Give fps, "
                       "frames per second")
    fps = 1.0
  notes: encoders.Notes = ()
  if isinstance(video, np.ndarray):
    video, fps, notes = encoders.at_most(video, fps, ending)
  text = json.dumps({**(metadata or {}), "fps": fps})
  buffer = io.BytesIO()
  notes += writers[ending](buffer, video, fps, text, crf)
  if isinstance(target, (str, os.PathLike)):
    files.write_bytes(target, buffer.getvalue())
  else:
    target.write(buffer.getvalue())
  return notes


def _checked(video: np.ndarray) -> np.ndarray:
  if video.dtype != np.uint8 or video.ndim != 4 or video.shape[-1] != 3 or (
      0 in video.shape):
    raise ValueError(f"cannot write {video.dtype} {video.shape} as a video: it "
                     "must be uint8 [T, H, W, 3] and not empty")
  return video


def pack(video: np.ndarray, fps: float) -> bytes:
  """The bytes that training shards hold: png for one frame, else mp4.

  The mp4 is H.264 in RGB at crf 14, so that saturated colours of small clips
  survive and decoding needs no colour conversion: world clips were measured at
  59 dB (45 at worst) and 12 KB, against 52 dB and 10 KB as yuv444p at crf 8,
  which takes 2.4 times as long to decode. Without mbtree, whose result varies
  from run to run, equal clips give equal bytes.
  """
  buffer = io.BytesIO()
  if len(video) == 1:
    PIL.Image.fromarray(video[0]).save(buffer, "PNG")
  else:
    encoders.encode_h264(buffer, video, fps, "", {
        "crf": "14", "preset": "veryfast"}, rgb=True)
  return buffer.getvalue()


def encode(frames: Iterable[np.ndarray], fps: float,
           still: bool = False) -> bytes:
  """The bytes of a clip that is cut out of a video, frame by frame.

  Args:
    frames: an iterator of uint8 [H, W, 3], all of one size.
    fps: frames per second.
    still: a png of the only frame, instead of an mp4 (H.264, yuv420p, or
      yuv444p when a side is odd, crf 16, a key frame every 48 frames).

  Raises:
    ValueError: no frame.
  """
  frames, buffer = iter(frames), io.BytesIO()
  first = next(frames, None)
  if first is None:
    raise ValueError("has no frames")
  if still:
    PIL.Image.fromarray(first).save(buffer, "PNG")
    return buffer.getvalue()
  encoders.encode_h264(buffer, itertools.chain([first], frames), fps, "", {
      "crf": "16", "preset": "veryfast", "x264-params": "mbtree=0:keyint=48"})
  return buffer.getvalue()

"""Encoders: the files that a video is written as."""

from collections.abc import Iterable
import fractions
import itertools
from typing import Any, BinaryIO

import av
import numpy as np
import PIL.Image
import PIL.PngImagePlugin

from sora_jax.media import images
from sora_jax.media import sheets


def write_mp4(buffer: BinaryIO, video: Iterable[np.ndarray], fps: float,
              text: str, crf: int, codec: str = "libx264",
              pixels: str | None = None,
              options: dict[str, str] | None = None) -> None:
  """Writes frames uint8 [H, W, 3], one at a time, as H.264 in an mp4.

  Args:
    buffer: gets the file.
    video: the frames, all of one size.
    fps: frames per second.
    text: the comment of the file; "" is none.
    crf: quality, lower is better.
    codec: of ffmpeg.
    pixels: the pixel format; yuv420p by default, yuv444p where a side is odd.
    options: of the codec, which replace ours.
  """
  video = iter(video)
  first = next(video)
  height, width, _ = first.shape
  odd = height % 2 or width % 2
  with av.open(buffer, "w", format="mp4") as container:
    if text:
      container.metadata["comment"] = text
    stream: Any = container.add_stream(
        codec, rate=fractions.Fraction(fps).limit_denominator(1001),
        # Without mbtree equal frames give equal bytes.
        options={"crf": str(crf), "x264-params": "mbtree=0", **(options or {})})
    stream.width, stream.height = width, height
    stream.pix_fmt = pixels or ("yuv444p" if odd else "yuv420p")
    stream.codec_context.thread_count = 1
    for rgb in itertools.chain([first], video):
      frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), "rgb24")
      container.mux(stream.encode(frame))
    container.mux(stream.encode())


def write_gif(buffer: BinaryIO, video: np.ndarray, fps: float, text: str,
              crf: int) -> None:
  """Writes uint8 [T, H, W, 3] as a GIF that repeats, `text` as its comment."""
  del crf
  first, *others = (PIL.Image.fromarray(x) for x in video)
  first.save(buffer, "GIF", save_all=True, append_images=others,
             duration=1000 / fps, loop=0, comment=text.encode())


def write_webp(buffer: BinaryIO, video: np.ndarray, fps: float, text: str,
               crf: int) -> None:
  """Writes uint8 [T, H, W, 3] as a WebP that repeats, `text` in its EXIF."""
  first, *others = (PIL.Image.fromarray(x) for x in video)
  exif = PIL.Image.Exif()
  exif[images.DESCRIPTION] = text
  first.save(buffer, "WEBP", save_all=True, append_images=others,
             duration=round(1000 / fps), loop=0, exif=exif.tobytes(),
             quality=max(0, 100 - crf))


def write_png(buffer: BinaryIO, video: np.ndarray, fps: float, text: str,
              crf: int) -> None:
  """Writes the frame of [1, H, W, 3], or the contact sheet of several."""
  del fps, crf
  image = video[0] if len(video) == 1 else sheets.contact_sheet(video)
  chunks = PIL.PngImagePlugin.PngInfo()
  chunks.add_text("sora_jax", text)
  PIL.Image.fromarray(image).save(buffer, "PNG", pnginfo=chunks)

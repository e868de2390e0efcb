"""Encoders: the files that a video is written as.

Every writer returns what its format could not do as asked, one line each.
"""

from collections.abc import Iterable
import fractions
import io
import itertools
from typing import Any, BinaryIO

import av
import numpy as np
import PIL.Image
import PIL.PngImagePlugin

from sora_jax.media import color
from sora_jax.media import images
from sora_jax.media import mp4
from sora_jax.media import sheets

Notes = tuple[str, ...]
# Milliseconds of the shortest delay; players take a shorter one for 100.
SHORTEST = {".gif": 20, ".webp": 11}


def write_mp4(buffer: BinaryIO, video: Iterable[np.ndarray], fps: float,
              text: str, crf: int) -> Notes:
  """Writes frames uint8 [H, W, 3], one at a time, as H.264 that players take.

  It is 4:2:0, whose sides are even: an odd one repeats its last line. The index
  lies in front of the pictures, so that a browser plays while it loads.

  Args:
    buffer: gets the file.
    video: the frames, all of one size.
    fps: frames per second.
    text: the comment of the file.
    crf: quality, lower is better.
  """
  video = iter(video)
  first = next(video)
  height, width, _ = first.shape
  odd, whole = (height % 2, width % 2), io.BytesIO()
  frames: Iterable[np.ndarray] = itertools.chain([first], video)
  notes: Notes = ()
  if any(odd):
    frames = (np.pad(x, ((0, odd[0]), (0, odd[1]), (0, 0)), "edge")
              for x in frames)
    notes = (f"{width}x{height} is padded to {width + odd[1]}x{height + odd[0]}, "
             "for players take no odd size",)
  encode_h264(whole, frames, fps, text, {"crf": str(crf)})
  buffer.write(mp4.faststart(whole.getvalue()))
  return notes


def encode_h264(buffer: BinaryIO, video: Iterable[np.ndarray], fps: float,
                text: str, options: dict[str, str], rgb: bool = False) -> None:
  """Writes frames uint8 [H, W, 3], one at a time, as H.264 in an mp4.

  Args:
    buffer: gets the file.
    video: the frames, all of one size.
    fps: frames per second.
    text: the comment of the file; "" is none.
    options: of x264.
    rgb: keeps RGB as it is; else YUV 4:2:0 of BT.709, 4:4:4 where a side is odd.
  """
  video = iter(video)
  first = next(video)
  height, width, _ = first.shape
  pixels = "yuv444p" if height % 2 or width % 2 else "yuv420p"
  reformatter = av.video.reformatter.VideoReformatter()
  with av.open(buffer, "w", format="mp4") as container:
    if text:
      container.metadata["comment"] = text
    stream: Any = container.add_stream(
        "libx264rgb" if rgb else "libx264",
        rate=fractions.Fraction(fps).limit_denominator(1001),
        # Without mbtree equal frames give equal bytes.
        options={"x264-params": "mbtree=0", **options})
    stream.width, stream.height = width, height
    stream.pix_fmt = "rgb24" if rgb else pixels
    stream.codec_context.thread_count = 1
    if not rgb:
      color.tag(stream.codec_context)
    for x in itertools.chain([first], video):
      container.mux(stream.encode(
          av.VideoFrame.from_ndarray(np.ascontiguousarray(x), "rgb24") if rgb
          else color.from_rgb(x, pixels, reformatter)))
    container.mux(stream.encode())


def write_gif(buffer: BinaryIO, video: np.ndarray, fps: float, text: str,
              crf: int) -> Notes:
  """Writes uint8 [T, H, W, 3] as a GIF that repeats, `text` as its comment."""
  del crf
  first, *others = (PIL.Image.fromarray(x) for x in video)
  first.save(buffer, "GIF", save_all=True, append_images=others,
             duration=delays(len(video), fps, 10), loop=0,
             comment=text.encode())
  return ()


def write_webp(buffer: BinaryIO, video: np.ndarray, fps: float, text: str,
               crf: int) -> Notes:
  """Writes uint8 [T, H, W, 3] as a WebP that repeats, `text` in its EXIF."""
  first, *others = (PIL.Image.fromarray(x) for x in video)
  exif = PIL.Image.Exif()
  exif[images.DESCRIPTION] = text
  first.save(buffer, "WEBP", save_all=True, append_images=others,
             duration=delays(len(video), fps, 1), loop=0,
             exif=exif.tobytes(), quality=max(0, 100 - crf))
  return ()


def delays(count: int, fps: float, tick: int) -> list[int]:
  """Milliseconds that each frame stands, in whole ticks of so many.

  Rounding is spread, so that every frame begins at its time to half a tick.
  """
  ends = [tick * round(1000 * i / fps / tick) for i in range(count + 1)]
  return [end - start for start, end in zip(ends, ends[1:])]


def at_most(video: np.ndarray, fps: float, ending: str
            ) -> tuple[np.ndarray, float, Notes]:
  """(video, fps, what was left out) at a rate that a format can show.

  Frames of an animation that plays faster than its players do are left out
  evenly, so that it lasts as long.

  Args:
    video: uint8 [T, H, W, 3].
    fps: frames per second.
    ending: of the file.
  """
  count, most = len(video), 1000 / SHORTEST.get(ending, 1)
  if ending not in SHORTEST or fps <= most or count == 1:
    return video, fps, ()
  left = max(1, int(count / fps * most + 1e-6))
  return (video[np.arange(left) * count // left], fps * left / count,
          (f"a {ending[1:]} shows at most {most:.4g} frames a second: {left} of "
           f"{count} frames are in it, and it lasts as long",))


def write_png(buffer: BinaryIO, video: np.ndarray, fps: float, text: str,
              crf: int) -> Notes:
  """Writes the frame of [1, H, W, 3], or the contact sheet of several."""
  del fps, crf
  image = video[0] if len(video) == 1 else sheets.contact_sheet(video)
  chunks = PIL.PngImagePlugin.PngInfo()
  chunks.add_text("sora_jax", text)
  PIL.Image.fromarray(image).save(buffer, "PNG", pnginfo=chunks)
  return ()

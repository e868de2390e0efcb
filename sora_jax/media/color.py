"""The colours of a decoded frame, and RGB and back.

RGB here is uint8 in BT.709 primaries, as it is shown on a screen. Conversions
round to the nearest level and interpolate chroma in full, which gives what
`ffmpeg -sws_flags bicubic+accurate_rnd+full_chroma_int+full_chroma_inp` gives.
A video that does not name its matrix is BT.709 from 720 lines on and BT.601
below, as players take it. HDR and wide gamuts are brought to BT.709 by hdr.py.
"""

from typing import Any

import av
from av.video import reformatter as reformatter_lib
import numpy as np

from sora_jax.media import hdr

EXACT = (reformatter_lib.Interpolation.ACCURATE_RND
         | reformatter_lib.Interpolation.FULL_CHR_H_INT
         | reformatter_lib.Interpolation.FULL_CHR_H_INP)
BICUBIC = reformatter_lib.Interpolation.BICUBIC | EXACT
AREA = reformatter_lib.Interpolation.AREA | EXACT
HD = 720  # lines from which on a matrix that is not named is that of BT.709
UNKNOWN = 2  # of all the codes of ITU-T H.273
BT709, BT601, LIMITED = 1, 6, 1
# Codes of H.273. Transfers whose values are those of an ordinary screen:
SDR = {1, 2, 4, 5, 6, 7, 11, 12, 13, 14, 15}
OTHERS = {8: "linear light", 9: "log 100:1", 10: "log 316:1",
          17: "SMPTE ST 428 (digital cinema)"}
# Matrices that are converted; the others have a name for the error.
MATRICES = {0, 1, 2, 4, 5, 6, 7, 9}
STRANGE = {8: "YCgCo", 10: "BT.2020 with constant luminance", 11: "YDzDx",
           12: "a matrix of its primaries",
           13: "a matrix of its primaries with constant luminance",
           14: "ICtCp", 15: "IPTPQc2"}


def check(frame: av.VideoFrame) -> None:
  """Refuses a frame whose colours nobody here can show.

  Raises:
    ValueError: its transfer or its matrix; the message names it.
  """
  transfer, matrix = int(frame.color_trc), int(frame.colorspace)
  if transfer not in SDR and transfer not in hdr.CURVES:
    raise ValueError("has the transfer " + OTHERS.get(
        transfer, f"{transfer} of H.273") + ", which is not shown as it is: "
        "convert it to BT.709")
  if matrix not in MATRICES:
    raise ValueError("stores its colours as " + STRANGE.get(
        matrix, f"matrix {matrix} of H.273") + ": convert it to BT.709")


def changes(frame: av.VideoFrame) -> tuple[str, ...]:
  """What `to_rgb` does to a frame beyond its matrix, () of an ordinary one."""
  found = {"HDR": int(frame.color_trc) in hdr.CURVES,
           "wide gamut": int(frame.color_primaries) in hdr.GAMUTS,
           "transparent": _is_transparent(frame)}
  found["wide gamut"] &= not found["HDR"]
  return tuple(name for name, is_so in found.items() if is_so)


def to_rgb(frame: av.VideoFrame,
           reformatter: reformatter_lib.VideoReformatter,
           size: tuple[int, int] | None = None) -> np.ndarray:
  """uint8 [H, W, 3] of a frame, what is transparent over white.

  Args:
    frame: that `check` let through.
    reformatter: keeps its tables from frame to frame.
    size: (width, height) to reduce to, by the mean of areas.
  """
  deep = int(frame.color_trc) in hdr.CURVES or (
      int(frame.color_primaries) in hdr.GAMUTS)
  if deep:
    rgb = hdr.to_bt709(_convert(frame, reformatter, "rgb48le",
                                size).to_ndarray(), int(frame.color_trc),
                       int(frame.color_primaries))
  elif frame.format.is_rgb and frame.format.name != "gbrp":
    rgb = _convert(frame, reformatter, "rgb24", size).to_ndarray()
  else:  # in planes, which ffmpeg makes in a third of the time
    same = frame.format.name == "gbrp" and not size
    planes: Any = (frame if same else _convert(
        frame, reformatter, "gbrp", size)).planes
    g, b, r = (np.frombuffer(p, np.uint8).reshape(-1, p.line_size)[
        :p.height, :p.width] for p in planes)
    rgb = np.stack([r, g, b], -1)
  if not _is_transparent(frame):
    return rgb
  alpha = _convert(frame, reformatter, "rgba", size).to_ndarray()[
      ..., 3:].astype(np.uint16)
  return ((rgb * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def from_rgb(rgb: np.ndarray, pixels: str,
             reformatter: reformatter_lib.VideoReformatter) -> av.VideoFrame:
  """A frame of BT.709 in limited range, which says so.

  Args:
    rgb: uint8 [H, W, 3].
    pixels: a format of ffmpeg, such as yuv420p.
    reformatter: keeps its tables from frame to frame.
  """
  frame = reformatter.reformat(
      av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), "rgb24"),
      format=pixels, dst_colorspace=BT709, dst_color_range=LIMITED,
      dst_color_trc=BT709, dst_color_primaries=BT709, interpolation=BICUBIC,
      threads=1)
  return frame


def tag(context: Any) -> None:
  """Makes an encoder say that its colours are those of `from_rgb`."""
  context.colorspace = context.color_primaries = context.color_trc = BT709
  context.color_range = LIMITED


def _convert(frame: av.VideoFrame,
             reformatter: reformatter_lib.VideoReformatter, pixels: str,
             size: tuple[int, int] | None) -> av.VideoFrame:
  matrix = int(frame.colorspace)
  if matrix == UNKNOWN:
    matrix = BT709 if frame.height >= HD else BT601
  width, height = size or (frame.width, frame.height)
  return reformatter.reformat(
      frame, width, height, pixels, src_colorspace=matrix or BT709,
      interpolation=AREA if size else BICUBIC, threads=1)


def _is_transparent(frame: av.VideoFrame) -> bool:
  return any(c.is_alpha for c in frame.format.components) or (
      frame.format.name == "pal8")

"""Packets of a video become frames: as they are shown, one after the other.

One thread decodes; sizes, the number of frames and their memory are looked at
on the way, and so is the time that it takes (limits.py). Interlaced frames are
deinterlaced, and VP8 and VP9 are decoded with their transparency, which ffmpeg's
own decoders leave out.
"""

from collections.abc import Generator, Iterator
import fractions
from typing import Any

import av
import av.filter

from sora_jax.media import limits

Container = av.container.InputContainer
ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # decoders that keep it
# Codecs whose frames say by themselves whether they are interlaced.
TELLING = {"h264", "hevc", "mpeg1video", "mpeg2video", "vc1", "wmv3", "prores"}
# Dolby Vision whose pictures are IPTPQc2 and name no transfer (profile 5).
DOLBY = {"dvh1", "dvhe", "dvav", "dva1", "dav1"}
UNKNOWN = 2  # transfer of H.273
ORDERS = {2: "tff", 3: "bff", 4: "tff", 5: "bff"}  # AVFieldOrder: its parity


def stream_of(container: Container, max_frames: int | None = None) -> Any:
  """The video stream to show, its codec limited to one thread and MAX_PIXELS.

  It is the default or best one, and no cover picture.

  Raises:
    ValueError: no stream that can be decoded, or one beyond the limits.
  """
  stream: Any = container.streams.best("video")
  if stream is None or _is_cover(stream):
    raise ValueError("holds no video stream")
  context = stream.codec_context
  if context is None:
    raise ValueError("has a codec that cannot be decoded")
  if context.codec_tag in DOLBY and int(context.color_trc) == UNKNOWN:
    raise ValueError("is Dolby Vision without a base layer, which is not shown "
                     "as it is: convert it to BT.709")
  _limit(context)
  limits.check_size(frames_of(container, stream), stream.height, stream.width,
                    max_frames)
  return stream


def frames_of(container: Container, stream: Any) -> int:
  """Frames that are to be shown, by the header; 0 where it does not say.

  The samples of an mp4 that its edit list leaves out are none of them.
  """
  if stream.frames and "mov" in container.format.name and len(
      stream.index_entries):
    return sum(not entry.is_discard for entry in stream.index_entries)
  return stream.frames


def pts_of(container: Container, stream: Any, index: int) -> int | None:
  """The time of a frame by the packets alone; None where they do not say.

  The container is left at its start.
  """
  times = [p.pts for p in container.demux(stream)
           if p.size and not p.is_discard]
  container.seek(0)
  if None in times or index >= len(times):
    return None
  return sorted(times)[index]


def decode(container: Container, stream: Any, max_frames: int | None
           ) -> Iterator[tuple[av.VideoFrame, bool]]:
  """Yields (frame, whether it was interlaced), in the order of showing.

  Raises:
    ValueError: a size, a number of frames or a memory beyond the limits.
  """
  deinterlacer: _Deinterlacer | None = None
  held = limits.Held()
  orders = ORDERS.get(int(stream.codec_context.field_order))
  always = orders if stream.codec_context.name not in TELLING else None
  for i, frame in enumerate(_decoded(container, stream)):
    limits.check_size(i + 1, frame.height, frame.width, max_frames)
    held.check(frame.planes[0].buffer_ptr,
               sum(plane.buffer_size for plane in frame.planes))
    if deinterlacer is None and (frame.interlaced_frame or always):
      deinterlacer = _Deinterlacer(frame, stream.time_base, always)
    if deinterlacer is None:
      yield frame, False
    else:
      yield from deinterlacer.push(frame)
  if deinterlacer is not None:
    yield from deinterlacer.push(None)


def _decoded(container: Container, stream: Any
             ) -> Generator[av.VideoFrame, None, None]:
  name = ALPHA.get(stream.codec_context.name)
  if not name or stream.metadata.get("alpha_mode") != "1":
    yield from container.decode(stream)
    return
  try:
    context: Any = av.CodecContext.create(name, "r")
  except ValueError as e:
    raise ValueError(f"is transparent, and ffmpeg is here without {name}, which "
                     "decodes that") from e
  _limit(context)
  for packet in container.demux(stream):
    yield from context.decode(packet)


def _limit(context: Any) -> None:
  context.options = {"max_pixels": str(limits.MAX_PIXELS)}
  context.thread_count, context.thread_type = 1, "NONE"


def _is_cover(stream: Any) -> bool:
  return bool(stream.disposition & av.stream.Disposition.attached_pic)


class _Deinterlacer:
  """ffmpeg's bwdif: as many frames as before, the lines between are made."""

  def __init__(self, frame: av.VideoFrame, time_base: fractions.Fraction,
               parity: str | None):
    self.size = frame.width, frame.height, frame.format.name
    self.graph = av.filter.Graph()
    self.parity, self.time_base = parity, time_base
    source = self.graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format,
        time_base=time_base)
    how = f"parity={parity}" if parity else "deint=interlaced"
    bwdif = self.graph.add("bwdif", f"mode=send_frame:{how}")
    sink = self.graph.add("buffersink")
    source.link_to(bwdif)
    bwdif.link_to(sink)
    self.graph.configure()
    self.source, self.sink = source, sink
    self.flags: list[bool] = []

  def push(self, frame: av.VideoFrame | None
           ) -> Iterator[tuple[av.VideoFrame, bool]]:
    """Gives a frame in, None at the end, and yields those that are ready."""
    if frame is not None:
      if (frame.width, frame.height, frame.format.name) != self.size:
        raise ValueError("changes its size while it is interlaced")
      self.flags.append(bool(self.parity) or frame.interlaced_frame)
    self.source.push(frame)
    while True:
      try:
        ready: Any = self.sink.pull()
      except (av.error.BlockingIOError, av.error.EOFError):
        return
      if ready.pts is not None:  # the filter counts in half units
        ready.pts = round(ready.pts * float(ready.time_base)
                          / float(self.time_base))
        ready.time_base = self.time_base
      yield ready, self.flags.pop(0)

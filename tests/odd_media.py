"""Videos as cameras, phones and editors write them, made with PyAV."""

import io

import av
from av.codec import context as codec_context
import numpy as np

PATCHES = ((200, 30, 30), (30, 200, 30), (30, 30, 200), (128, 128, 128),
           (20, 20, 20), (180, 170, 60))  # colours within the range of a screen
TO_2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114],
                    [0.0164, 0.0880, 0.8956]])  # of BT.2087
TO_P3 = np.array([[0.8225, 0.1775, 0], [0.0332, 0.9668, 0],
                  [0.0171, 0.0724, 0.9105]])


def bars(size=32):
  """uint8 [size, n size, 3]: PATCHES beside each other."""
  return np.array(PATCHES, np.uint8)[None].repeat(size, 0).repeat(size, 1)


def pq(light):
  """The PQ signal of light in cd/m2 (SMPTE ST 2084)."""
  y = (light / 10_000) ** 0.1593017578125
  return ((0.8359375 + 18.8515625 * y) / (1 + 18.6875 * y)) ** 78.84375


def hlg(light):
  """The HLG signal of light in cd/m2, on a screen of 1,000 cd/m2."""
  y = np.maximum(light @ [0.2627, 0.6780, 0.0593] / 1000, 1e-9)
  scene = light / 1000 * y[..., None] ** (1 / 1.2 - 1)
  return np.where(scene <= 1 / 12, np.sqrt(3 * scene), 0.17883277 * np.log(
      np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073)


def signal_of(rgb, transfer, primaries):
  """float [.., 3] in 0 .. 1: BT.709 on a screen of 203 cd/m2 in other colours."""
  light = (rgb / 255) ** 2.2
  if primaries == 9:
    light = light @ TO_2020.T
  elif primaries == 12:
    light = light @ TO_P3.T
  light = np.maximum(light, 0)
  if transfer == 16:
    return pq(203 * light)
  return hlg(203 * light) if transfer == 18 else light ** (1 / 2.2)


def tagged(signal, transfer, primaries, matrix, codec="libx264",
           pixels="yuv420p10le", frames=2, form="mp4"):
  """A video of one picture, float [H, W, 3] in 0 .. 1, with these codes."""
  buffer = io.BytesIO()
  deep = np.round(signal.clip(0, 1) * 65535).astype(np.uint16)
  with av.open(buffer, "w", format=form) as container:
    # x265 gives fewer frames than its B-frames wait for any times of decoding.
    stream = container.add_stream(codec, rate=8, options={
        "crf": "4", "x265-params": "bframes=0"})
    stream.height, stream.width = signal.shape[:2]
    stream.pix_fmt = pixels
    context = stream.codec_context
    context.color_trc, context.color_primaries = transfer, primaries
    context.colorspace, context.color_range = matrix, 1
    for _ in range(frames):
      frame = av.VideoFrame.from_ndarray(deep, "rgb48le").reformat(
          format=pixels, dst_color_range=1, dst_colorspace={
              9: 9, 1: 1}.get(matrix, 5))
      frame.color_trc, frame.color_primaries = transfer, primaries
      frame.colorspace, frame.color_range = matrix, 1
      container.mux(stream.encode(frame))
    container.mux(stream.encode())
  return buffer.getvalue()


def trimmed(data, start, stop):
  """The packets of an mp4 from the key frame before `start` on, not re-coded.

  What `ffmpeg -ss START -to STOP -c copy` writes: an edit list hides the frames
  before `start` seconds.
  """
  buffer = io.BytesIO()
  with av.open(io.BytesIO(data)) as old, av.open(
      buffer, "w", format="mp4") as new:
    source = old.streams.video[0]
    stream = new.add_stream_from_template(source)
    first = round(start / source.time_base)
    old.seek(first, stream=source)
    for packet in old.demux(source):
      if packet.dts is None or packet.pts * source.time_base >= stop:
        continue
      packet.pts, packet.dts = packet.pts - first, packet.dts - first
      packet.stream = stream
      new.mux(packet)
  return buffer.getvalue()


def interlaced(codec="mpeg2video", form="mpegts", pixels="yuv420p", frames=8,
               options=(), step=4, tagged=True):
  """A bar that moves between the fields: a comb in every frame."""
  buffer = io.BytesIO()
  with av.open(buffer, "w", format=form) as container:
    stream = container.add_stream(codec, rate=25, options=dict(options))
    stream.width, stream.height, stream.pix_fmt = 64, 64, pixels
    if tagged:
      stream.codec_context.flags |= (codec_context.Flags.interlaced_dct
                                     | codec_context.Flags.interlaced_me)
    for i in range(frames):
      rgb = np.full((64, 64, 3), 40, np.uint8)
      rgb[::2, step * i:step * i + 12] = 200
      rgb[1::2, step * i + step // 2:step * i + step // 2 + 12] = 200
      container.mux(stream.encode(av.VideoFrame.from_ndarray(
          rgb, "rgb24").reformat(format=pixels)))
    container.mux(stream.encode())
  return buffer.getvalue()


def transparent(codec="libvpx-vp9", form="webm", pixels="yuva420p", frames=3,
                options=()):
  """Red, its right half fully transparent."""
  buffer = io.BytesIO()
  with av.open(buffer, "w", format=form) as container:
    stream = container.add_stream(codec, rate=8, options=dict(options))
    stream.width, stream.height, stream.pix_fmt = 64, 48, pixels
    for _ in range(frames):
      rgba = np.zeros((48, 64, 4), np.uint8)
      rgba[..., 0], rgba[:, :32, 3] = 250, 255
      container.mux(stream.encode(av.VideoFrame.from_ndarray(
          rgba, "rgba").reformat(format=pixels)))
    container.mux(stream.encode())
  return buffer.getvalue()


def with_cover(data, form="mp4", first=True):
  """A video with a cover picture as its first, or as its last stream."""
  cover = io.BytesIO()
  with av.open(cover, "w", format="image2pipe") as container:
    stream = container.add_stream("mjpeg", rate=1)
    stream.width, stream.height, stream.pix_fmt = 400, 300, "yuvj420p"
    container.mux(stream.encode(av.VideoFrame.from_ndarray(
        np.full((300, 400, 3), 90, np.uint8), "rgb24")))
    container.mux(stream.encode())
  buffer = io.BytesIO()
  with av.open(io.BytesIO(data)) as film, av.open(
      io.BytesIO(cover.getvalue()), format="mjpeg") as picture, av.open(
          buffer, "w", format=form) as new:
    sources = [picture.streams.video[0], film.streams.video[0]]
    streams = {}
    for source in sources if first else sources[::-1]:
      streams[source] = new.add_stream_from_template(source)
    streams[sources[0]].disposition = av.stream.Disposition.attached_pic
    for source, container in zip(sources, (picture, film)):
      for packet in container.demux(source):
        if packet.dts is not None or packet.size:
          packet.stream = streams[source]
          new.mux(packet)
  return buffer.getvalue()

"""Odd media: what cameras, browsers, mistakes and malice leave under such names.

`FILES` maps the name of a video or an image to what makes its bytes.
"""

from collections.abc import Callable
import gzip
import io
import json
import pathlib
import struct
import sys
import zlib

import av
import numpy as np
import PIL.Image

sys.path.append(str(pathlib.Path(__file__).parents[2] / "tests"))
import odd_media

import bad_files


def saved(kind: str, *pictures: PIL.Image.Image, **options) -> bytes:
  """The bytes of an image, or of an animation of several."""
  buffer = io.BytesIO()
  first, *rest = pictures
  first.save(buffer, kind, **(dict(save_all=True, append_images=rest)
                              if rest else {}), **options)
  return buffer.getvalue()


def frames(count: int, size=(40, 32), mode: str = "RGB") -> list[PIL.Image.Image]:
  """Pictures of a disc that moves."""
  return [PIL.Image.fromarray(x).resize(size).convert(mode)
          for x in bad_files.moving(count)]


def remuxed(data: bytes, form: str, **options: str) -> bytes:
  """The packets of a video in another container."""
  buffer = io.BytesIO()
  with av.open(io.BytesIO(data)) as old, av.open(
      buffer, "w", format=form, options=options) as new:
    stream = new.add_stream_from_template(old.streams.video[0])
    for packet in old.demux(video=0):
      if packet.dts is not None:
        packet.stream = stream
        new.mux(packet)
  return buffer.getvalue()


def two_sizes() -> bytes:
  """An mpegts whose pictures change their size."""
  return remuxed(bad_files.mp4(1), "mpegts") + remuxed(
      bad_files.mp4(2, 9, 64, 96), "mpegts")


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
  """A png of these sides with chunks of any kind and no pixels of its own."""
  parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
           *chunks, (b"IEND", b"")]
  return b"\x89PNG\r\n\x1a\n" + b"".join(
      struct.pack(">I", len(data)) + kind + data
      + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts)


def bmp(width: int, height: int, bits: int = 24) -> bytes:
  """A bmp whose header promises these sides."""
  return b"BM" + struct.pack("<IHHIIiiHHIIiiII", 1000, 0, 0, 54, 40, width, height,
                             1, bits, 0, 0, 0, 0, 0, 0) + bytes(900)


def sides_of_jpeg(width: int, height: int) -> bytes:
  """A jpeg whose header promises other sides."""
  data = bytearray(saved("JPEG", *frames(1)))
  at = data.index(b"\xff\xc0") + 5
  data[at:at + 4] = struct.pack(">HH", height, width)
  return bytes(data)


def scans_of_jpeg(count: int) -> bytes:
  """A progressive jpeg that repeats its first scan."""
  data = saved("JPEG", PIL.Image.new("RGB", (3000, 3000)), progressive=True)
  start = data.index(b"\xff\xda")
  end = data.index(b"\xff\xda", start + 2)
  end = data.rindex(b"\xff\xc4", start, end) if b"\xff\xc4" in data[start:end] else end
  return data[:start] + data[start:end] * count + data[end:]


def changed(data: bytes, old: bytes, new: bytes) -> bytes:
  """Bytes with the first of `old` replaced."""
  at = data.index(old)
  return data[:at] + new + data[at + len(old):]


def without_index(data: bytes) -> bytes:
  """An mp4 whose recorder lost its power: no moov."""
  return changed(data, b"moov", b"gone")


def stretched(data: bytes, factor: int) -> bytes:
  """An mp4 whose media clock runs at another rate."""
  at = data.index(b"mdhd") + 4 + 12
  scale = struct.unpack(">I", data[at:at + 4])[0]
  return data[:at] + struct.pack(">I", min(max(
      scale // factor if factor > 0 else scale * -factor, 1), 2**32 - 1)) + (
          data[at + 4:])


def speech(codec: str, form: str, rate: int = 8000) -> bytes:
  """A second of silence in an audio codec and a container."""
  buffer = io.BytesIO()
  with av.open(buffer, "w", format=form) as container:
    stream = container.add_stream(codec, rate=rate)
    for _ in range(8):
      frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.int16),
                                         format="s16", layout="mono")
      frame.sample_rate = rate
      for ready in av.AudioResampler(format=stream.codec_context.format,
                                     layout="mono").resample(frame):
        container.mux(stream.encode(ready))
    container.mux(stream.encode())
  return buffer.getvalue()


FILES: dict[str, Callable[[], bytes]] = {
    # Another thing under the name of a video.
    "empty.mp4": lambda: b"",
    "one_byte.mp4": lambda: b"\0",
    "zeros.mp4": lambda: bytes(2**20),
    "noise.mp4": lambda: np.random.default_rng(0).bytes(2**16),
    "text.mp4": lambda: b"\xef\xbb\xbfa red ball moves to the right\n",
    "utf16.mp4": lambda: "a red ball".encode("utf-16"),
    "page.webm": lambda: b"<!doctype html><html>404 not found</html>",
    "concat.mov": lambda: b"ffconcat version 1.0\nfile /etc/passwd\n",
    "playlist.mp4": lambda: b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1/x.ts\n",
    "subtitles.mp4": lambda: b"1\n00:00:00,000 --> 00:00:01,000\nhello\n",
    "zipped.mp4": lambda: gzip.compress(bad_files.mp4(1)),
    "svg.png": lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "image.mp4": lambda: saved("PNG", *frames(1)),
    "video.png": lambda: bad_files.mp4(3),
    "jpeg.png": lambda: saved("JPEG", *frames(1)),
    "tiff.png": lambda: saved("TIFF", *frames(1)),
    "icon.png": lambda: saved("ICO", *frames(1)),
    "avif.jpg": lambda: struct.pack(">I", 24) + b"ftypavif" + bytes(64),
    "matroska.mp4": lambda: remuxed(bad_files.mp4(4), "matroska"),
    "raw.mp4": lambda: remuxed(bad_files.mp4(1), "h264"),
    "flash.mp4": lambda: remuxed(bad_files.mp4(1), "flv"),
    # Cut off, or damaged.
    "no_index.mp4": lambda: without_index(bad_files.mp4(1)),
    "half.mp4": lambda: bad_files.mp4(1)[:1500],
    "half.mkv": lambda: remuxed(bad_files.mp4(1, 60), "matroska")[:3000],
    "half.gif": lambda: saved("GIF", *frames(5))[:900],
    "half.webp": lambda: saved("WEBP", *frames(5))[:300],
    "half.jpg": lambda: saved("JPEG", *frames(1))[:500],
    "half.png": lambda: saved("PNG", *frames(1))[:150],
    "swapped.mp4": lambda: changed(bad_files.mp4(1), b"avc1\0\0", b"hvc1\0\0"),
    "no_codec.mp4": lambda: changed(bad_files.mp4(1), b"avc1\0\0", b"zzzz\0\0"),
    "late_start.ts": lambda: bytes(5000) + remuxed(bad_files.mp4(5), "mpegts"),
    # Sizes and times.
    "huge.png": lambda: png(2**31 - 1, 2**31 - 1, (b"IDAT", zlib.compress(b"0"))),
    "bomb.png": lambda: png(16000, 16000, (b"IDAT", zlib.compress(bytes(2**26)))),
    "long_text.png": lambda: png(40, 32, (
        b"zTXt", b"comment\0\0" + zlib.compress(b"[" * 2**28))),
    "huge.jpg": lambda: sides_of_jpeg(65500, 65500),
    "tall.jpg": lambda: sides_of_jpeg(40, 65500),
    "scans.jpg": lambda: scans_of_jpeg(200),
    "huge.gif": lambda: saved("GIF", *frames(1))[:6] + b"\xff" * 4 + saved(
        "GIF", *frames(1))[10:],
    "huge.bmp": lambda: bmp(2**31 - 1, 2**31 - 1),
    "negative.bmp": lambda: bmp(-40, -32),
    "small.png": lambda: saved("PNG", PIL.Image.new("RGB", (1, 1))),
    "line.mp4": lambda: bad_files.coded(3, 2, "libx264"),
    "large.mp4": lambda: bad_files.coded(1, 8192, "mjpeg", pixels="yuvj420p"),
    "many.gif": lambda: saved("GIF", *(PIL.Image.new("L", (32, 32), i % 2 * 200)
                                       for i in range(11_000)), duration=0),
    "slow.gif": lambda: saved("GIF", *frames(3), duration=655_350),
    "one.gif": lambda: saved("GIF", *frames(1)),
    "one.webp": lambda: saved("WEBP", *frames(1)),
    "one.mp4": lambda: bad_files.mp4(6, 1),
    "moving.png": lambda: saved("PNG", *frames(5), duration=125),
    "fast.mp4": lambda: stretched(bad_files.mp4(7), -4000),
    "slow.mp4": lambda: stretched(bad_files.mp4(8), 4000),
    "two_sizes.ts": two_sizes,
    "turned.mp4": lambda: bad_files.rotated(9),
    "fragments.mp4": lambda: remuxed(bad_files.mp4(10), "mp4",
                                     movflags="frag_keyframe+empty_moov"),
    # Colours.
    "cmyk.jpg": lambda: saved("JPEG", *frames(1, mode="CMYK")),
    "sixteen.png": lambda: bad_files.picture("I;16", 30_000),
    "one_bit.png": lambda: saved("PNG", *frames(1, mode="1")),
    "grey_alpha.png": lambda: saved("PNG", *frames(1, mode="LA")),
    "palette.png": lambda: saved("PNG", *frames(1, mode="P")),
    "floats.tiff.png": lambda: saved("TIFF", *frames(1, mode="F")),
    "wide.mp4": lambda: odd_media.tagged(
        odd_media.signal_of(odd_media.bars(), 16, 9), 16, 9, 9),
    "transparent.webm": odd_media.transparent,
    "interlaced.ts": odd_media.interlaced,
    # Other streams.
    "sound.mp4": bad_files.audio_only,
    "sound.mkv": lambda: speech("pcm_s16le", "matroska"),
    "sound.avi": lambda: speech("pcm_s16le", "avi"),
    "cover.mp4": lambda: odd_media.with_cover(bad_files.mp4(11)),
    "talking.mp4": bad_files.talking,
    "deep.gif": lambda: saved("GIF", *frames(2), comment=b"[" * 30_000),
    "told.gif": lambda: saved("GIF", *frames(3), comment=json.dumps(
        {"fps": 1e300, "prompt": ["x"], "seed": "x" * 9999}).encode()),
}

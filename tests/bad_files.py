"""Files that a folder of users' videos may hold, good and bad ones.

`write(root)` makes them all and gives what `prepare` must say of each: a word
of the reason why it is rejected, or None where it is kept.
"""

import io
import json
import os
import struct
import tarfile
import zlib

import av
import numpy as np
import PIL.Image

from sora_jax.media import video_io


def moving(frames=9, height=48, width=64, seed=0):
  """A saturated disc over a plain background."""
  rng = np.random.default_rng(seed)
  y, x = np.mgrid[:height, :width]
  video = np.empty((frames, height, width, 3), np.uint8)
  video[:] = rng.integers(60, 200, 3)
  for i in range(frames):
    video[i, np.hypot(y - height / 2, x - 12 - 3 * i) < 9] = (230, 30, 40)
  return video


def mp4(seed, *size, fps=8):
  """The bytes of a small video; another seed gives another one."""
  buffer = io.BytesIO()
  video_io.write(buffer, moving(*size, seed=seed), fps)
  return buffer.getvalue()


def coded(frames, side=16, codec="mpeg4", rate=25, pts=None, form="mp4",
          pixels="yuv420p", sar=None):
  """A video of `frames` grey frames of side x side, straight from the coder."""
  buffer = io.BytesIO()
  with av.open(buffer, "w", format=form) as container:
    stream = container.add_stream(codec, rate=rate)
    stream.width = stream.height = side
    stream.pix_fmt = pixels
    if sar:
      stream.codec_context.sample_aspect_ratio = sar
    for i in range(frames):
      frame = av.VideoFrame(side, side, pixels)
      for plane in frame.planes:
        plane.update(bytes([90 + i % 90]) * plane.buffer_size)
      frame.pts = pts[i] if pts else i
      container.mux(stream.encode(frame))
    container.mux(stream.encode())
  return buffer.getvalue()


def audio_only():
  """An mp4 of silence."""
  buffer = io.BytesIO()
  with av.open(buffer, "w", format="mp4") as container:
    _silence(container, container.add_stream("aac", rate=8000))
  return buffer.getvalue()


def talking(*size):
  """A small video with an audio track."""
  buffer = io.BytesIO()
  with av.open(io.BytesIO(mp4(0, *size))) as source, av.open(
      buffer, "w", format="mp4") as container:
    video = container.add_stream_from_template(source.streams.video[0])
    audio = container.add_stream("aac", rate=8000)
    for packet in source.demux(video=0):
      if packet.dts is not None:
        packet.stream = video
        container.mux(packet)
    _silence(container, audio)
  return buffer.getvalue()


def _silence(container, stream):
  """Writes a frame of silence."""
  frame = av.AudioFrame.from_ndarray(
      np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
  frame.sample_rate = 8000
  container.mux(stream.encode(frame))
  container.mux(stream.encode())


def rotated(seed):
  """A wide video whose tag says that it was filmed upright."""
  data = bytearray(mp4(seed))
  at = data.index(b"tkhd") + 4 + 40  # the matrix of a version 0 header
  one = 1 << 16
  data[at:at + 36] = struct.pack(">9i", 0, one, 0, -one, 0, 0, 0, 0, 1 << 30)
  return bytes(data)


def index_first(path, data):
  """Most of an mp4 with its index in front, so that it can be opened."""
  with av.open(io.BytesIO(data)) as old, av.open(
      str(path), "w", format="mp4", options={"movflags": "faststart"}) as new:
    stream = new.add_stream_from_template(old.streams.video[0])
    for packet in old.demux(video=0):
      if packet.dts is not None:
        packet.stream = stream
        new.mux(packet)
  data = path.read_bytes()
  path.unlink()
  return data[:-len(data) // 5]


def promising(avi, frames):
  """An avi whose header promises other frames than there are."""
  at = avi.index(b"strh") + 8 + 32
  return avi[:at] + struct.pack("<I", frames) + avi[at + 4:]


def huge_png(side):
  """A png whose header promises side x side pixels, and that holds few."""
  def chunk(kind, data):
    return (struct.pack(">I", len(data)) + kind + data
            + struct.pack(">I", zlib.crc32(kind + data)))
  return b"\x89PNG\r\n\x1a\n" + chunk(
      b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)) + chunk(
          b"IDAT", zlib.compress(bytes(999))) + chunk(b"IEND", b"")


def picture(mode, colour, kind="PNG", size=(40, 30), **options):
  """The bytes of an image."""
  buffer = io.BytesIO()
  PIL.Image.new(mode, size, colour).save(buffer, kind, **options)
  return buffer.getvalue()


def tar(members):
  """A tar of (name, bytes or a kind of link) .."""
  buffer = io.BytesIO()
  with tarfile.open(fileobj=buffer, mode="w") as archive:
    for name, data in members:
      info = tarfile.TarInfo(name)
      if data not in (tarfile.SYMTYPE, tarfile.CHRTYPE):
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
      else:
        info.type, info.linkname = data, "/etc/passwd"
        archive.addfile(info)
  return buffer.getvalue()


def write(root):
  """Writes everything; gives {key: word of the reason, or None if kept}."""
  root.mkdir(parents=True)
  whole = mp4(1)
  exif = PIL.Image.Exif()
  exif[0x0112] = 6
  files = {
      # Content that is no video, or not what it says.
      "empty.mp4": (b"", "empty"),
      "text.mp4": (b"this is no video at all", "Invalid data"),
      "concat.mp4": (b"ffconcat version 1.0\nfile good.mp4\n", "Invalid"),
      "playlist.mp4": (b"#EXTM3U\n#EXTINF:1,\ngood.mp4\n", "Invalid"),
      "zeros.mp4": (bytes(4096), "Invalid"),
      "noise.mp4": (np.random.default_rng(0).bytes(4096), "Invalid"),
      "page.mp4": (b"<html><body>404 not found</body></html>", "Invalid"),
      "cut_head.mp4": (whole[len(whole) // 2:], "Invalid"),
      "truncated.mp4": (whole[:len(whole) // 2], "Invalid"),
      "cut_end.mp4": (index_first(root / "x", mp4(2, 60)), "Invalid"),
      "cut_frames.avi": (promising(coded(60, form="avi"), 120), "cut off"),
      "audio.mp4": (audio_only(), "no video stream"),
      "zip.webm": (b"PK\x03\x04" + bytes(64), "Invalid"),
      "empty.gif": (b"GIF89a" + bytes(32), "no image"),
      # Sizes and lengths that would hurt.
      "huge.mp4": (coded(1, 8192, "mjpeg", pixels="yuvj420p"),
                   "8192x8192"),
      "huge.png": (huge_png(60_000), "pixels"),
      "bomb.png": (huge_png(13_000), "13000x13000"),
      "cut.png": (picture("RGB", "red")[:60], ""),
      "frames.mp4": (coded(20_000), "20000 frames"),
      "tiny.mp4": (coded(3, 8, "libx264"), "short side"),
      "pixel.png": (picture("RGB", "red", size=(1, 1)), "short side"),
      "banner.png": (picture("RGB", "red", size=(400, 10)), "short side"),
      # Nothing to learn from.
      "black.mp4": (coded(5, 32, "libx264", pixels="gray"), None),
      "dark.png": (picture("RGB", "black"), "brightness"),
      "white.png": (picture("RGB", "white"), "brightness"),
      "frozen.mp4": (video_io.pack(moving(1, seed=3).repeat(9, 0), 8), "still"),
      "same.mp4": (mp4(10), "duplicate of good.mp4"),
      # Odd and legal.
      "good.mp4": (mp4(10), None),
      "odd.mp4": (mp4(11, 5, 33, 51), None),
      "rotated.mp4": (rotated(12), None),
      "uneven.mp4": (coded(12, 32, "libx264", pts=[
          0, 1, 2, 3, 4, 9, 10, 11, 12, 13, 14, 15]), None),
      "slow.mp4": (coded(3, 32, "libx264", pts=[0, 1, 90_000]), "a second"),
      "gaps.mp4": (coded(30, 32, "libx264", pts=[
          *range(20), *range(400, 410)]), "gaps"),
      "wide_pixels.mp4": (coded(5, 32, "libx264", sar=2), None),
      "matroska.mp4": (coded(6, 32, "libx264", form="matroska"), None),
      "alpha.png": (picture("RGBA", (255, 0, 0, 60)), None),
      "palette.png": (picture("P", 3), "brightness"),
      "deep.png": (picture("I;16", 30_000), None),
      "cmyk.jpg": (picture("CMYK", (10, 200, 0, 0), "JPEG"), None),
      "sideways.jpg": (picture("RGB", "red", "JPEG", exif=exif), None),
      "grey.webp": (picture("L", 90, "WEBP"), None),
      # Captions.
      "long.mp4": (mp4(13), None),
      "unicode \u7d05 \U0001f388.mp4": (mp4(14), None),
      "silent.mp4": (mp4(15), "no caption"),
      "blank.mp4": (mp4(16), "no caption"),
      "binary.mp4": (mp4(17), "UTF-8"),
      "script.mp4": (mp4(18), None),
  }
  captions = {"long": "word " * 2000, "silent": None, "blank": " \n\t\n",
              "binary": "a \udcff\x00 ball",
              "script": "a ball <script>alert(1)</script>"}
  expected = {}
  for i, (name, (data, reason)) in enumerate(files.items()):
    (root / name).write_bytes(data)
    text = captions.get(stem := os.path.splitext(name)[0], f"clip {i} of red")
    if text is not None:
      (root / f"{stem}.txt").write_bytes(text.encode("utf-8", "surrogateescape"))
    expected[name] = reason
  os.symlink("/nowhere.mp4", root / "broken_link.mp4")
  os.symlink("round.mp4", root / "round.mp4")
  os.mkfifo(root / "pipe.mp4")
  (root / "broken_link.txt").write_text("x")
  os.rename(root / "zeros.mp4", os.fsencode(root) + b"/zer\xff.mp4")
  os.rename(root / "zeros.txt", os.fsencode(root) + b"/zer\xff.txt")
  expected["zer\ufffd.mp4"] = expected.pop("zeros.mp4")
  rows = ["not json", '["a list"]', '{"file": NaN, "caption": "x"}',
          '{"file": "../outside.mp4", "caption": "x"}',
          '{"file": "/etc/passwd", "caption": "x"}',
          '{"file": "gone.mp4", "caption": NaN}', '{"caption": "x"}',
          "[" * 100_000, '{"file": "' + "x" * 2 ** 20 + '"}',
          json.dumps({"file": "good.mp4", "caption": ["no", "text"]})]
  (root / "table.jsonl").write_text("\n".join(rows) + "\n")
  (root / "table.csv").write_bytes(b"file,caption\n\"unclosed,\x00\n,,,\n")
  words = ["unreadable", "unreadable", "names no file", "outside", "outside",
           "no such file", "names no file", "unreadable", "unreadable"]
  expected |= {f"table.jsonl:{i + 1}": w for i, w in enumerate(words)}
  expected |= {"broken_link.mp4": "no such file", "pipe.mp4": "regular",
               "round.mp4": "symbolic links",
               "table.csv:3": "such file"}
  return expected

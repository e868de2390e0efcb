"""The limits of a decoder that is fed hostile files, and what passes them."""

import io
import subprocess
import sys

import av
import pytest

import bad_files
from sora_jax.data.prepare import measure
from sora_jax.media import clips
from sora_jax.media import decode
from sora_jax.media import limits
from sora_jax.media import video_io


def flat(frames, width, height, rate=24, **options):
  """An mp4 of one level a frame, which coders make small."""
  buffer = io.BytesIO()
  with av.open(buffer, "w", format="mp4") as container:
    stream = container.add_stream("libx264", rate=rate, options=options)
    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
    for i in range(frames):
      frame = av.VideoFrame(width, height, "yuv420p")
      for plane in frame.planes:
        plane.update(bytes([60 + 2 * i]) * plane.buffer_size)
      container.mux(stream.encode(frame))
    container.mux(stream.encode())
  return buffer.getvalue()


def test_a_file_that_decodes_too_slowly_is_refused(monkeypatch):
  data = bad_files.mp4(1, 60)
  monkeypatch.setattr(limits, "SECONDS", 0)
  monkeypatch.setattr(limits, "TIMES", 1e-9)
  for x in (data, bad_files.picture("RGB", "red")):
    with pytest.raises(ValueError, match="to decode . frames; the limit is 0.0"):
      video_io.read(x)
  monkeypatch.setattr(limits, "TIMES", 10)
  assert len(video_io.read(data)[0]) == 60


def test_a_minute_of_1080p_passes():
  header, found = measure.measure(
      flat(60, 1920, 1080, rate=1, preset="ultrafast"), False, None)
  assert len(found.pts) == header.frames == 60 and found.size == (1080, 1920)


MEASURE = """
import pathlib, re, sys
from sora_jax.data.prepare import measure
try:
  print(len(measure.measure(sys.argv[1], False, None)[1].pts))
except ValueError as e:
  print(e)
status = pathlib.Path("/proc/self/status").read_text()
print(int(re.search(r"VmHWM:\\s+(\\d+)", status)[1]) >> 10)
"""


@pytest.mark.slow
@pytest.mark.parametrize("references, said", [
    ("2", "12"), ("16", "needs 7 frames of 48 MiB at once")])
def test_the_memory_of_a_decoder_is_bounded(references, said, tmp_path):
  path = tmp_path / "large.mp4"
  path.write_bytes(flat(12, 8192, 4096, preset="veryfast", refs=references, bf="0"))
  done = subprocess.run([sys.executable, "-c", MEASURE, path],
                        capture_output=True, text=True, timeout=300)
  found, megabytes = done.stdout.splitlines()
  assert found.startswith(said), done
  assert int(megabytes) <= 512 + 64  # 64 of Python itself


def test_frames_that_a_decoder_keeps_are_counted(monkeypatch):
  data = bad_files.mp4(1, 30)
  monkeypatch.setattr(limits, "MAX_HELD", 2 * 64 * 48 * 3)
  with pytest.raises(ValueError, match="fewer reference frames"):
    video_io.read(data)
  monkeypatch.setattr(limits, "MAX_HELD", 2 ** 20)
  assert len(video_io.read(data)[0]) == 30


def test_what_cannot_be_held_is_refused_at_its_first_frame(monkeypatch):
  monkeypatch.setattr(limits, "MAX_BYTES", 40 * 48 * 64 * 3)
  true, decoded = decode.decode, []

  def counted(*args):
    for frame in true(*args):
      decoded.append(frame)
      yield frame

  monkeypatch.setattr(decode, "decode", counted)
  with pytest.raises(ValueError, match="cut it into shorter clips"):
    clips.read(bad_files.mp4(1, 60))
  assert len(decoded) == 1
  assert len(clips.read(bad_files.mp4(1, 60), 30)[0]) == 30
  assert len(clips.read(bad_files.mp4(1, 30))[0]) == 30

"""Videos survive being written and read; hostile files end in one line."""

import io
import resource
import struct

import numpy as np
import PIL.Image
import pytest

import bad_files
from sora_jax import files
from sora_jax.media import limits
from sora_jax.media import sheets
from sora_jax.media import video_io
from sora_jax.text import tokenizer


def psnr(a, b):
  return 10 * np.log10(255 ** 2 / max(np.mean(
      (a.astype(float) - b.astype(float)) ** 2), 1e-9))


@pytest.mark.parametrize("ending", [".mp4", ".gif", ".webp"])
@pytest.mark.parametrize("size", [(9, 48, 64), (5, 63, 37), (1, 32, 48)])
def test_written_videos_are_read_back(tmp_path, ending, size):
  video, path = bad_files.moving(*size), tmp_path / f"x{ending}"
  video_io.write(path, video, 12.5, {"prompt": "é \"q\"", "seed": 3})
  back, fps = video_io.read(path)
  _, height, width = size
  whole = size if ending != ".mp4" else (  # an odd side is padded, not cropped
      size[0], height + height % 2, width + width % 2)
  assert back.shape == (*whole, 3)
  assert fps == 12.5
  assert psnr(video, back[:, :height, :width]) > 22
  assert video_io.probe(path) == video_io.scan(path) == limits.Info(
      *whole, 12.5)
  assert video_io.metadata(path) == {"prompt": "é \"q\"", "seed": 3,
                                     "fps": 12.5}
  assert [p.name for p in tmp_path.iterdir()] == [path.name]  # no leftovers


@pytest.mark.parametrize("ending, frames", [
    (".gif", [0, 0, 1, 2, 2, 2, 3, 4, 4]), (".webp", [0, 0, 1, 2, 2, 2, 3, 4]),
    (".gif", [0, 1] + [2] * 60), (".webp", [0, 1] + [2] * 60),
    (".gif", [0] * 5)])  # the webp of a still video is an image
def test_equal_frames_in_a_row_are_read_back(tmp_path, ending, frames):
  video, path = bad_files.moving(5, 32, 48)[frames], tmp_path / f"x{ending}"
  video_io.write(path, video, 24)
  back, fps = video_io.read(path)
  assert back.shape == video.shape and fps == 24
  assert psnr(video, back) > 22  # each in its place
  assert video_io.scan(path).frames == len(frames)
  assert len(video_io.read(path, start=3)[0]) == len(frames) - 3


def test_a_frame_that_lasts_too_long_is_refused(tmp_path):
  images = [PIL.Image.fromarray(x) for x in bad_files.moving(2, 32, 48)]
  images[0].save(tmp_path / "x.gif", save_all=True, append_images=images[1:],
                 duration=[10, 600_000], comment=b'{"fps": 1000}')
  with pytest.raises(ValueError, match="has 600010 frames; the limit is 10000"):
    video_io.read(tmp_path / "x.gif")


# A gif that may end within the head of its second picture.
TWO = bad_files.picture("P", 3, "GIF", save_all=True, append_images=[
    PIL.Image.linear_gradient("L").resize((40, 30))])


@pytest.mark.parametrize("data, said", [
    (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is no video or image that is "
     "read here, of mp4, mov, mkv, webm, avi, ts, mpg; png, jpg, gif, webp, bmp"),
    (bad_files.picture("RGB", "red", "TIFF"), "is no video or image"),
    (TWO[:95], "is damaged or cut off: index out of range"),
    (TWO[:100], "is damaged or cut off: unpack_from requires")])
def test_what_a_file_is_not_is_told(tmp_path, data, said):
  (tmp_path / "x").write_bytes(data)
  with pytest.raises(ValueError) as error:
    video_io.read(tmp_path / "x")
  assert str(error.value).startswith(f"{tmp_path}/x: {said}")


@pytest.mark.parametrize("name, write", [
    ("x.mp4", lambda path: video_io.write(path, bad_files.moving(), 8)),
    ("x.json", lambda path: files.write_json(path, ["word"] * 99)),
    ("x.model", lambda path: tokenizer.train(["a red ball"], path))])
def test_a_full_disk_leaves_no_half_of_a_file(tmp_path, name, write):
  (tmp_path / name).write_bytes(b"what was there")
  limits = resource.getrlimit(resource.RLIMIT_FSIZE)
  try:  # no file may grow past 300 bytes: as on a full disk
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, limits[1]))
    with pytest.raises(OSError, match=f"large.*{name}"):
      write(tmp_path / name)
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
  assert [p.name for p in tmp_path.iterdir()] == [name]
  assert (tmp_path / name).read_bytes() == b"what was there"


def test_png_is_an_image_or_a_contact_sheet(tmp_path):
  video = bad_files.moving()
  video_io.write(tmp_path / "one.png", video[:1], 8, {"seed": 1})
  assert np.array_equal(video_io.read(tmp_path / "one.png")[0], video[:1])
  assert video_io.metadata(tmp_path / "one.png")["seed"] == 1
  video_io.write(tmp_path / "sheet.png", video, 8)
  sheet = video_io.read(tmp_path / "sheet.png")[0][0]
  assert np.array_equal(sheet, sheets.contact_sheet(video))
  assert sheet.shape[0] == 48 * 2 + 2 and sheet.shape[1] == 8 * (64 * 2 + 2)
  mixed = sheets.contact_sheet([video, bad_files.moving(1, 20, 30)])
  assert mixed.shape[1] == sheet.shape[1]


def test_packed_clips_keep_saturated_colours():
  video = bad_files.moving(17, 64, 64)
  data = video_io.pack(video, 8)
  back, fps = video_io.read(data)
  print(f"{len(data)} bytes, {psnr(video, back):.1f} dB")
  assert fps == 8 and psnr(video, back) > 45 and len(data) < 30_000
  part, _ = video_io.read(data, 5, start=7)
  assert np.array_equal(part, back[7:12])
  assert np.array_equal(video_io.read(video_io.pack(video[:1], 8))[0],
                        video[:1])


def test_a_video_is_written_to_a_buffer():
  buffer = io.BytesIO()
  video_io.write(buffer, bad_files.moving(), 8, ending=".gif")
  assert buffer.getvalue().startswith(b"GIF8")


@pytest.mark.parametrize("video, name, word", [
    (np.zeros((4, 8, 8, 3), np.float32), "x.mp4", "float32"),
    (np.zeros((0, 8, 8, 3), np.uint8), "x.mp4", "not empty"),
    (np.zeros((2, 8, 8), np.uint8), "x.mp4", "T, H, W, 3"),
    (np.zeros((2, 8, 8, 3), np.uint8), "x.flv", ".flv")])
def test_what_cannot_be_written_is_refused(tmp_path, video, name, word):
  with pytest.raises(ValueError, match=word):
    video_io.write(tmp_path / name, video, 8)
  assert not list(tmp_path.iterdir())


def lying_mp4(side=256, said=64):
  """An mp4 whose container says another size than its stream."""
  data = bytearray(bad_files.coded(1, side))
  at = data.index(b"mp4v") + 4 + 24
  assert struct.unpack(">HH", data[at:at + 4]) == (side, side)
  data[at:at + 4] = struct.pack(">HH", said, said)
  return bytes(data)


def test_hostile_files_end_in_one_line(tmp_path):
  good = tmp_path / "good.mp4"
  video_io.write(good, bad_files.moving(), 8)
  whole = good.read_bytes()
  bad = {
      "truncated": whole[:len(whole) // 2],
      "concat": b"ffconcat version 1.0\nfile good.mp4\n",
      "playlist": b"#EXTM3U\n#EXTINF:1,\ngood.mp4\n",
      "empty": b"",
      "text": b"this is no video at all",
      "audio": bad_files.audio_only(),
      "png": bad_files.huge_png(60_000),
      "cut png": bad_files.huge_png(16)[:45],
      "5808": bad_files.coded(1, 5808),
  }
  for name, data in bad.items():
    path = tmp_path / f"{name}.mp4"
    path.write_bytes(data)
    for call in (video_io.read, video_io.scan):
      with pytest.raises(ValueError) as error:
        call(path)
      text = str(error.value)
      assert "\n" not in text and f"{name}.mp4" in text and len(text) < 400
    with pytest.raises(ValueError, match="the video"):
      video_io.read(data)
    print(f"{name}: {text.removeprefix(str(path))}")
  with pytest.raises(ValueError, match="no such file"):
    video_io.read(tmp_path / "none.mp4")


def test_the_codec_has_a_pixel_limit_of_its_own(monkeypatch):
  data = lying_mp4()  # the container says 64 x 64
  monkeypatch.setattr(limits, "MAX_PIXELS", 64 * 64)
  with pytest.raises(ValueError):
    video_io.read(data)


def test_too_many_frames_and_bytes_are_refused(monkeypatch):
  data = video_io.pack(bad_files.moving(), 8)
  monkeypatch.setattr(limits, "MAX_FRAMES", 8)
  with pytest.raises(ValueError, match="9 frames"):
    video_io.read(data)
  monkeypatch.undo()
  monkeypatch.setattr(limits, "MAX_BYTES", 3 * 48 * 64 * 3)
  with pytest.raises(ValueError, match="shorter"):
    video_io.read(data)
  assert len(video_io.read(data, 3)[0]) == 3
  assert video_io.scan(data).frames == 9


def test_seeking_gives_the_frames_of_decoding_from_the_start():
  video = bad_files.moving(150, 32, 32)
  data = video_io.encode(iter(video), 25)  # a key frame every 48
  whole, _ = video_io.read(data)
  assert len(whole) == 150
  for start in (64, 95, 96, 97, 149):
    part, _ = video_io.read(data, 3, start)
    assert np.array_equal(part, whole[start:start + 3])
  with pytest.raises(ValueError, match="no frame 150"):
    video_io.read(data, 3, 150)


def test_pictures_come_upright_and_over_white():
  tall, _ = video_io.read(bad_files.rotated(1))
  wide, _ = video_io.read(bad_files.mp4(1))
  assert np.array_equal(tall, np.rot90(wide, -1, (1, 2)))  # clockwise
  image = bad_files.picture("RGBA", (255, 0, 0, 0))
  assert (video_io.read(image)[0] == 255).all()
  deep = bad_files.picture("I;16", 30_000)
  assert (video_io.read(deep)[0] == 30_000 >> 8).all()

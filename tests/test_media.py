"""Files of cameras, phones and editors are read and written as players do."""

import io

import av
import numpy as np
import odd_media
import PIL.Image
import pytest

import bad_files
from sora_jax.data.prepare import prepare
from sora_jax.data.store import manifest as manifest_lib
from sora_jax.data.store import records
from sora_jax.media import clips
from sora_jax.media import encoders
from sora_jax.media import mp4
from sora_jax.media import video_io
from sora_jax.media import videos


def numbered(frames=96, fps=24, size=(48, 64)):
  """An mp4 whose frame i is grey of level 2 i + 16, a key frame every 24."""
  buffer = io.BytesIO()
  with av.open(buffer, "w", format="mp4") as container:
    stream = container.add_stream("libx264", rate=fps, options={
        "crf": "4", "g": "24", "x264-params": "mbtree=0:scenecut=0"})
    stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
    for i in range(frames):
      container.mux(stream.encode(av.VideoFrame.from_ndarray(
          np.full((*size, 3), 2 * i + 16, np.uint8), "rgb24")))
    container.mux(stream.encode())
  return buffer.getvalue()


def prepared(root, files, **options):
  """(reasons, items, info) of prepare, of a folder with these files."""
  root.mkdir()
  for name, data in files.items():
    (root / name).write_bytes(data)
    (root / f"{name.rpartition('.')[0]}.txt").write_text("a clip\n")
  info = prepare.prepare(f"folder:{root}", root / "../out", test_share=0,
                         workers=0, quiet=True, **options)
  import test_bad_inputs
  return (test_bad_inputs.rejects_of(root / "../out"),
          test_bad_inputs.kept_by(root / "../out"), info)


@pytest.mark.parametrize("start, stop", [(0.7, 3.0), (2.5, 4.0), (0.0, 1.5)])
def test_a_trimmed_mp4_has_the_frames_that_are_shown(tmp_path, start, stop):
  data = odd_media.trimmed(numbered(), start, stop)
  first, last = -(-round(start * 240) // 10), round(stop * 24)
  reasons, items, _ = prepared(tmp_path / "in", {"a.mp4": data},
                               rules=LOOSE)
  assert not reasons and items["a.mp4"].frames == last - first
  assert items["a.mp4"].data == data  # as it was
  video, _ = video_io.read(data)
  assert len(video) == last - first == video_io.probe(data).frames
  levels = video[:, 24, 32, 1].astype(int)
  assert np.abs(levels - 2 * np.arange(first, last) - 16).max() <= 4
  assert clips.read(data)[1] == items["a.mp4"].fps == pytest.approx(24)
  part, _ = video_io.read(data, 2, 30)
  assert np.array_equal(part, video[30:32])


def test_a_trimmed_mp4_that_is_cut_off_is_rejected(tmp_path):
  whole = mp4.faststart(odd_media.trimmed(numbered(), 0.7, 4.0))
  reasons, items, _ = prepared(tmp_path / "in", {
      "cut.mp4": whole[:-len(whole) // 3], "good.mp4": whole}, rules=LOOSE)
  assert set(items) == {"good.mp4"} and "cut.mp4" in reasons


LOOSE = prepare.filters.Rules(max_static=1, min_brightness=0, max_brightness=0)


def test_prepare_counts_and_recodes_what_it_alters(tmp_path):
  bars = odd_media.bars() / 1.0
  reasons, items, info = prepared(tmp_path / "in", {
      "hdr.mp4": odd_media.tagged(odd_media.signal_of(bars, 16, 9), 16, 9, 9),
      "wide.mp4": odd_media.tagged(odd_media.signal_of(bars, 14, 9), 14, 9, 9),
      "clear.webm": odd_media.transparent(),
      "comb.ts.mp4": odd_media.interlaced(),
      "sdr.mp4": odd_media.tagged(bars / 255, 1, 1, 1)}, rules=LOOSE)
  assert not reasons and info["recoded"] == {
      "HDR": 1, "wide gamut": 1, "transparent": 1, "interlaced": 1}
  for item in items.values():
    with av.open(io.BytesIO(item.data)) as container:  # as any reader has it
      frame = next(container.decode(video=0))
      assert int(frame.color_trc) == 1 and not frame.interlaced_frame
  for key in ("hdr.mp4", "wide.mp4"):
    video, _ = video_io.read(items[key].data)
    off = np.abs(video[0].astype(int) - odd_media.bars())[:, 8::32]
    assert off.max() <= 6


def uneven(pts):
  """Grey frames at these times in 1/25 s."""
  return bad_files.coded(len(pts), 32, "libx264", pts=pts)


@pytest.mark.parametrize("pts", [
    [0, 1, 2, 3, 4, 9, 10, 11, 12, 13, 14, 15], [*range(0, 20, 2), 22, 26, 30],
    [0, 1, 2, 3, 4, 5, 12, 13, 14, 15, 16, 17, 18]])
def test_verbs_play_uneven_frames_as_prepare_does(tmp_path, pts):
  data = uneven(pts)
  path = tmp_path / "a.mp4"
  path.write_bytes(data)
  video = videos.opened(str(path))
  fps = video.fps
  _, items, info = prepared(tmp_path / "in", {"a.mp4": data}, rules=LOOSE)
  item = items["a.mp4"]
  assert info["recoded"] == {"uneven times": 1}
  assert (len(video), fps) == (item.frames, pytest.approx(item.fps))
  assert (len(video) - 1) / fps == pytest.approx(pts[-1] / 25, abs=1 / fps)
  raw, _ = video_io.read(data)
  for i, frame in enumerate(video):  # the frame that stands at its time
    at = max(k for k, t in enumerate(pts) if t / 25 * fps <= i + 0.5 + 1e-6)
    assert np.array_equal(frame, raw[at])


@pytest.mark.parametrize("durations", [
    [100, 40, 40, 40, 200, 40, 40], [40, 40, 120, 40, 40, 60, 40],
    [500, 100, 100, 100, 100, 100]])
def test_verbs_play_a_gif_at_its_own_times(tmp_path, durations):
  images = [PIL.Image.fromarray(x) for x in bad_files.moving(len(durations))]
  buffer = io.BytesIO()
  images[0].save(buffer, "GIF", save_all=True, append_images=images[1:],
                 duration=durations)
  video, fps = clips.read(buffer.getvalue())
  begins = sum(durations[:-1]) / 1000  # of the last frame
  at = next(i for i, x in enumerate(video) if np.array_equal(x, video[-1]))
  assert at / fps == pytest.approx(begins, abs=0.51 / fps)
  reasons, items, _ = prepared(tmp_path / "in", {"a.gif": buffer.getvalue()},
                               rules=LOOSE)
  assert items["a.gif"].frames == len(video)
  assert items["a.gif"].fps == pytest.approx(fps)


@pytest.mark.parametrize("sar, size", [
    (2, (32, 64)), ("4/3", (32, 42)), ("1/2", (64, 32))])
def test_verbs_see_square_pixels_as_prepare_does(tmp_path, sar, size):
  import fractions
  data = bad_files.coded(3, 32, "libx264", sar=fractions.Fraction(sar))
  video, _ = clips.read(data)
  assert video.shape[1:3] == size
  path = tmp_path / "a.mp4"
  path.write_bytes(data)
  image = clips.read(str(path), 1)[0]  # of animate
  assert image.shape == (1, *size, 3)
  _, items, _ = prepared(tmp_path / "in", {"a.mp4": data}, rules=LOOSE)
  assert (items["a.mp4"].height, items["a.mp4"].width) == size


def test_pixels_of_a_rotated_video_are_turned_with_it():
  import fractions
  data = bytearray(bad_files.coded(2, 32, "libx264", sar=fractions.Fraction(2)))
  at = data.index(b"tkhd") + 4 + 40
  turned = bad_files.rotated(1)
  there = turned.index(b"tkhd") + 4 + 40
  data[at:at + 36] = turned[there:there + 36]
  assert clips.read(bytes(data))[0].shape[1:3] == (64, 32)


@pytest.mark.parametrize("size", [(33, 51), (32, 51), (33, 64), (1, 1)])
def test_an_odd_size_is_padded_to_what_players_take(size):
  video, buffer = bad_files.moving(3, *size), io.BytesIO()
  notes = video_io.write(buffer, video, 8)
  height, width = (n + n % 2 for n in size)
  assert notes == (f"{size[1]}x{size[0]} is padded to {width}x{height}, for "
                   "players take no odd size",)
  with av.open(io.BytesIO(buffer.getvalue())) as container:
    assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"
  back, _ = video_io.read(buffer.getvalue())
  assert back.shape == (3, height, width, 3)
  assert np.abs(back[:, :size[0], :size[1]].astype(int) - video).mean() < 6
  assert video_io.write(io.BytesIO(), bad_files.moving(3, 32, 64), 8) == ()


@pytest.mark.parametrize("frames", [1, 9, 70])
def test_the_index_of_an_mp4_lies_in_front(frames):
  buffer = io.BytesIO()
  video = bad_files.moving(frames, 48, 64)
  video_io.write(buffer, video, 8, {"seed": 1})
  data = buffer.getvalue()
  assert data.index(b"moov") < data.index(b"mdat")
  back, fps = video_io.read(data)
  assert len(back) == frames and fps == 8
  assert video_io.metadata(data)["seed"] == 1
  assert np.abs(back.astype(int) - video).mean() < 3  # each where it was


RATES = (7.5, 12.5, 15, 24, 23.976, 25, 29.97, 30, 33, 48, 50, 60, 90, 120, 240)


@pytest.mark.parametrize("ending, tick, least", [(".gif", 10, 20),
                                                 (".webp", 1, 11)])
@pytest.mark.parametrize("fps", RATES)
def test_an_animation_lasts_as_long_as_its_video(ending, tick, least, fps):
  video, buffer = bad_files.moving(25, 24, 80), io.BytesIO()
  notes = video_io.write(buffer, video, fps, ending=ending)
  delays = []
  with PIL.Image.open(io.BytesIO(buffer.getvalue())) as image:
    for i in range(image.n_frames):
      image.seek(i)
      image.load()
      delays.append(image.info["duration"])
  most = 1000 / least
  assert min(delays) >= least
  lost = 1 / most if fps > most else 0  # of what is less than a frame
  assert sum(delays) / 1000 == pytest.approx(25 / fps, abs=tick / 2000 + lost)
  back, rate = video_io.read(buffer.getvalue())
  assert len(back) / rate == pytest.approx(25 / fps, abs=1e-3)
  assert len(back) == 25 if fps <= most else f"{len(back)} of 25" in notes[0]
  assert bool(notes) == (fps > most)


def test_delays_are_whole_ticks_and_spread():
  assert encoders.delays(6, 24, 10) == [40, 40, 40, 50, 40, 40]
  assert encoders.delays(4, 15, 1) == [67, 66, 67, 67]


@pytest.mark.parametrize("form", ["mp4", "matroska", "mov"])
@pytest.mark.parametrize("first", [True, False])
def test_a_cover_picture_is_not_taken_for_the_film(form, first):
  film = bad_files.mp4(1)
  data = odd_media.with_cover(film, form, first)
  assert np.array_equal(video_io.read(data)[0], video_io.read(film)[0])
  assert video_io.probe(data).height == 48


def test_a_cover_picture_alone_is_no_video():
  buffer = io.BytesIO()
  with av.open(io.BytesIO(odd_media.with_cover(bad_files.mp4(1)))) as old, (
      av.open(buffer, "w", format="mp4")) as new:
    source = next(s for s in old.streams.video
                  if s.codec_context.name == "mjpeg")
    stream = new.add_stream_from_template(source)
    stream.disposition = av.stream.Disposition.attached_pic
    for packet in old.demux(source):
      if packet.size:
        packet.stream = stream
        new.mux(packet)
  with pytest.raises(ValueError, match="no video stream"):
    video_io.read(buffer.getvalue())


@pytest.mark.parametrize("codec, form, pixels, options", [
    ("libvpx-vp9", "webm", "yuva420p", {}),
    ("libvpx", "webm", "yuva420p", {"auto-alt-ref": "0"}),
    ("qtrle", "mov", "argb", {}), ("png", "mov", "rgba", {}),
    ("prores_ks", "mov", "yuva444p10le", {}),
    ("ffv1", "matroska", "yuva420p", {})])
def test_transparent_video_comes_over_white(codec, form, pixels, options):
  video, _ = clips.read(odd_media.transparent(codec, form, pixels, 3, options))
  assert len(video) == 3
  assert np.abs(video[:, 8:40, 40:60].astype(int) - 255).max() <= 2
  assert np.abs(video[:, 8:40, 4:24].astype(int) - (250, 0, 0)).max() <= 4


@pytest.mark.parametrize("codec, form, pixels, options", [
    ("mpeg2video", "mpegts", "yuv420p", {}),
    ("libx264", "mp4", "yuv420p", {"x264-params": "tff=1"}),
    ("prores_ks", "mov", "yuv422p10le", {}),
    ("ffv1", "matroska", "yuv420p", {"field_order": "tt"})])
def test_interlaced_video_is_not_combed(codec, form, pixels, options):
  data = odd_media.interlaced(codec, form, pixels, 8, options)
  video, fps = clips.read(data)
  assert len(video) == 8 and fps == pytest.approx(25, rel=0.01)
  grey = video[1:-1].astype(float).mean(-1)
  comb = np.abs(grey[:, 2:-1] - (grey[:, 1:-2] + grey[:, 3:]) / 2).mean()
  with av.open(io.BytesIO(data)) as container:
    raw = np.stack([f.to_ndarray(format="gray") for f in container.decode(
        video=0)])[1:-1].astype(float)
  before = np.abs(raw[:, 2:-1] - (raw[:, 1:-2] + raw[:, 3:]) / 2).mean()
  assert before > 5 and comb < before / 4
  part, _ = video_io.read(data, 2, 4)
  assert np.array_equal(part, video[4:6])


def test_a_manifest_lists_what_the_reader_gives(tmp_path):
  _, items, _ = prepared(tmp_path / "in", {
      "comb.mp4": odd_media.interlaced("libx264", "mp4", options={
          "x264-params": "tff=1"}),
      "clear.webm": odd_media.transparent(), "x.mp4": bad_files.mp4(1)},
                         rules=LOOSE)
  manifest = manifest_lib.open_manifest(tmp_path / "out")
  assert len(manifest) == 3
  for i in range(3):
    item = records.read(manifest, i)
    video, _ = video_io.read(item.data)
    assert video.shape[:3] == (item.frames, item.height, item.width)


def test_frames_read_into_memory_are_held_once():
  pictures = [np.full((64, 64, 3), i, np.uint8) for i in range(9)]
  video = clips.stack(pictures)
  assert not pictures and video.shape == (9, 64, 64, 3)
  assert (video[:, 0, 0, 0] == np.arange(9)).all()

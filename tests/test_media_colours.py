"""Colours of video: what is read is what was meant, what is written says so."""

import io

import av
import numpy as np
import odd_media
import pytest
import test_media

import bad_files
from sora_jax.media import clips
from sora_jax.media import video_io


@pytest.mark.parametrize("transfer, primaries, matrix, pixels", [
    (16, 9, 9, "yuv420p10le"), (18, 9, 9, "yuv420p10le"),
    (16, 9, 9, "yuv444p10le"), (14, 9, 9, "yuv420p10le"),
    (13, 12, 1, "yuv420p10le")])
def test_hdr_and_wide_gamuts_are_shown_as_bt709(transfer, primaries, matrix,
                                                pixels):
  signal = odd_media.signal_of(odd_media.bars() / 1.0, transfer, primaries)
  data = odd_media.tagged(signal, transfer, primaries, matrix, pixels=pixels)
  video, _ = clips.read(data)
  off = np.abs(video[0].astype(int) - odd_media.bars())[:, 8::32]
  assert off.max() <= 4 and off.mean() <= 1


def test_highlights_of_hdr_come_below_white():
  grey = np.linspace(0, 1, 64)[None, :, None].repeat(32, 0).repeat(3, 2)
  light = 1000 * grey ** 2.2
  for transfer, signal in ((16, odd_media.pq(light)),
                           (18, odd_media.hlg(light))):
    video, _ = clips.read(odd_media.tagged(signal, transfer, 9, 9))
    row = video[0, 16].astype(int)
    assert (np.diff(row[:, 1]) >= 0).all() and row[-1].min() >= 253
    assert np.ptp(row, axis=1).max() <= 2  # grey stays grey
    white = np.searchsorted(light[0, :, 0], 203)
    assert 222 <= row[white, 1] <= 236


@pytest.mark.parametrize("transfer, primaries, matrix, word", [
    (8, 1, 1, "linear light"), (9, 1, 1, "log 100:1"),
    (17, 1, 1, "SMPTE ST 428"), (16, 9, 14, "ICtCp"), (1, 1, 8, "YCgCo")])
def test_colours_that_cannot_be_shown_are_refused_by_name(
    tmp_path, transfer, primaries, matrix, word):
  data = odd_media.tagged(odd_media.bars() / 255, transfer, primaries, matrix)
  for read in (clips.read, video_io.read):
    with pytest.raises(ValueError, match=word):
      read(data)
  reasons, *_ = test_media.prepared(tmp_path / "in", {
      "a.mp4": data, "b.mp4": bad_files.mp4(1)})
  assert word in reasons["a.mp4"]


@pytest.mark.parametrize("tag, transfer, refused", [
    (b"dvh1", 2, True), (b"dvhe", 2, True), (b"dvh1", 16, False),
    (b"hev1", 2, False)])
def test_dolby_vision_without_a_base_is_refused(tag, transfer, refused):
  data = odd_media.tagged(odd_media.bars() / 255, transfer, 9, 9, "libx265")
  data = data.replace(b"hev1", tag)
  if refused:
    with pytest.raises(ValueError, match="Dolby Vision without"):
      clips.read(data)
  else:
    assert len(clips.read(data)[0]) == 2


FIELDS = ((200, 30, 30), (30, 220, 40), (20, 30, 230), (250, 240, 10),
          (0, 0, 0), (255, 255, 255), (128, 128, 128), (230, 30, 220))


@pytest.mark.parametrize("colour", FIELDS)
def test_flat_fields_keep_their_colour_over_ten_passes(colour):
  video, seen = np.full((3, 48, 64, 3), colour, np.uint8), []
  for _ in range(10):
    buffer = io.BytesIO()
    video_io.write(buffer, video, 8)
    video, _ = video_io.read(buffer.getvalue())
    seen.append(video.astype(int))
  off = np.abs(seen[0] - colour)
  assert off.mean() <= 1 and off.max() <= 2
  assert max(np.abs(x - seen[0]).max() for x in seen[1:]) <= 1


def planes(frame):
  return [np.frombuffer(p, np.uint8).reshape(-1, p.line_size)[
      :p.height, :p.width].astype(int) for p in frame.planes]


def by_graph(frame, scale, pixels):
  """What ffmpeg's own accurate conversion makes of a frame."""
  import fractions
  graph = av.filter.Graph()
  source = graph.add_buffer(width=frame.width, height=frame.height,
                            format=frame.format.name,
                            time_base=fractions.Fraction(1, 25))
  parts = [source, graph.add("scale", "flags=bicubic+accurate_rnd+"
                             f"full_chroma_int+full_chroma_inp:{scale}"),
           graph.add("format", pixels), graph.add("buffersink")]
  for a, b in zip(parts, parts[1:]):
    a.link_to(b)
  graph.configure()
  frame.pts = 0
  source.push(frame)
  return parts[-1].pull()


@pytest.mark.parametrize("size", [(48, 64), (96, 128), (720, 64)])
def test_edges_are_those_of_ffmpegs_accurate_conversion(size):
  from sora_jax.media import color
  rng = np.random.default_rng(0)
  rgb = rng.integers(0, 256, (size[0] // 8, size[1] // 8, 3), np.uint8).repeat(
      8, 0).repeat(8, 1)
  rgb[size[0] // 2:] = rng.integers(0, 256, rgb[size[0] // 2:].shape)
  worker = av.video.reformatter.VideoReformatter()
  ours = color.from_rgb(rgb, "yuv420p", worker)
  true = by_graph(av.VideoFrame.from_ndarray(rgb, "rgb24"),
                  "out_color_matrix=bt709:out_range=tv", "yuv420p")
  for a, b in zip(planes(ours), planes(true)):
    assert np.abs(a - b).max() <= 1
  back = color.to_rgb(true, worker).astype(int)
  theirs = by_graph(true, "in_color_matrix=bt709:in_range=tv", "rgb24")
  assert np.abs(back - theirs.to_ndarray()).max() <= 1


def test_what_is_written_names_its_colours():
  buffer = io.BytesIO()
  video_io.write(buffer, bad_files.moving(), 8)
  data = [buffer.getvalue(), video_io.encode(iter(bad_files.moving()), 8)]
  for x in data:
    with av.open(io.BytesIO(x)) as container:
      context = container.streams.video[0].codec_context
      assert [int(context.colorspace), int(context.color_primaries),
              int(context.color_trc), int(context.color_range)] == [1, 1, 1, 1]


@pytest.mark.parametrize("size, matrix", [
    ((720, 64), "bt709"), ((1080, 32), "bt709"), ((576, 64), "bt601"),
    ((48, 64), "bt601")])
def test_untagged_video_has_the_matrix_that_players_take(size, matrix):
  rgb = np.full((*size, 3), (200, 30, 30), np.uint8)
  buffer = io.BytesIO()
  with av.open(buffer, "w", format="mp4") as container:
    stream = container.add_stream("libx264", rate=8, options={"crf": "2"})
    stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
    frame = by_graph(av.VideoFrame.from_ndarray(rgb, "rgb24"),
                     f"out_color_matrix={matrix}:out_range=tv", "yuv420p")
    frame.colorspace = frame.color_range = 2 * (matrix == "") or 2
    frame.color_range = 0
    container.mux(stream.encode(frame))
    container.mux(stream.encode())
  with av.open(io.BytesIO(buffer.getvalue())) as container:
    assert int(next(container.decode(video=0)).colorspace) == 2  # untagged
  video, _ = video_io.read(buffer.getvalue())
  assert np.abs(video[0, 8, 8].astype(int) - (200, 30, 30)).max() <= 2

"""Video that is interlaced and does not say so is told from video that is not."""

import numpy as np
import odd_media
import pytest

from sora_jax import worlds
from sora_jax.data.prepare import measure
from sora_jax.media import video_io


def noise(amount):
  rng = np.random.default_rng(0)
  x = np.arange(64) + 3 * np.arange(12)[:, None]
  base = 120 + 60 * np.sin(x / 9)[:, None, :, None]
  return np.clip(base + amount * rng.normal(size=(12, 64, 64, 3)), 0,
                 255).astype(np.uint8)


def stripes(period):
  """That move down a line a frame."""
  y = np.arange(64)[None, :] - np.arange(12)[:, None]
  lines = np.where(y // period % 2, 200, 40)[..., None, None]
  return np.broadcast_to(lines, (12, 64, 64, 3)).astype(np.uint8)


def telecined():
  """Ten moments as 3:2 fields, of which two frames of five mix two."""
  moments = np.full((12, 64, 64, 3), 40, np.uint8)
  for i, x in enumerate(moments):
    x[8:56, 4 * i:4 * i + 12] = 200
  fields = np.repeat(moments, [2 + i % 2 for i in range(12)], 0)[:24]
  found = fields[::2].copy()
  found[:, 1::2] = fields[1::2, 1::2]
  return found


def share(data):
  """Of the combed frames among those that could be told."""
  _, found = measure.measure(data, False, None)
  assert found.combed
  return np.mean(list(found.combed.values()))


@pytest.mark.parametrize("codec, form, pixels", [
    ("libx264", "mp4", "yuv420p"), ("mpeg4", "mp4", "yuv420p"),
    ("libvpx-vp9", "webm", "yuv420p"), ("ffv1", "matroska", "yuv422p10le")])
def test_a_comb_without_a_tag_is_seen(codec, form, pixels):
  assert share(odd_media.interlaced(codec, form, pixels, 12, tagged=False)) == 1


def test_a_film_in_fields_is_seen(monkeypatch):
  monkeypatch.setattr(measure, "COMBS", 2)  # a short file
  assert 0.2 < share(video_io.encode(telecined(), 30)) < 0.7


@pytest.mark.parametrize("video", [
    noise(6), noise(25), noise(60), stripes(2), stripes(5)],
                         ids=["grain", "noise", "much", "lines", "bars"])
def test_what_moves_as_a_whole_is_no_comb(video):
  assert share(video_io.encode(video, 25)) == 0


@pytest.mark.parametrize("name", ["balls", "occluder", "figures", "bite"])
def test_worlds_have_no_combs(name):
  world, rng = worlds.WORLDS[name], np.random.default_rng(3)
  facts = world.sample(rng, (64, 64), 17, 8.0)
  data = video_io.encode(world.render(facts), 8)
  assert not any(measure.measure(data, False, None)[1].combed.values())

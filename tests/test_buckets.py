"""Crops of clips in buckets of pixels."""

import shutil

import numpy as np
import pytest

from sora_jax import contracts
from sora_jax.data.pixels import buckets
from sora_jax.data.pixels import crops
from sora_jax.data.store import manifest
from sora_jax.data.store import records
from sora_jax.media import video_io
import toy_data


def test_pixels_fill_their_buckets(pixels):
  plan = buckets.pixel_plan(
      pixels, buckets.PixelConfig(buckets=toy_data.BUCKETS))
  report = buckets.report(plan)
  print(report)
  assert [b["share"] for b in report["buckets"]] == [0.25, 0.5, 0.25]
  shapes = [(8, 1, 24, 24, 3), (4, 5, 24, 24, 3), (4, 9, 16, 24, 3)]
  seen = [shapes.index(plan.batch(s).video.shape)
          for s in range(60)]
  assert set(seen) == {0, 1, 2}
  order = [buckets._place(plan, s)[0] for s in range(buckets.BLOCK)]
  assert np.bincount(order).tolist() == [256, 512, 256]
  # Every eligible clip comes once in an epoch of its bucket.
  n = len(plan.eligible[1])
  assert sorted(crops.clip(plan, 1, i) for i in range(n)) == sorted(
      plan.eligible[1])
  with pytest.raises(ValueError, match="3 runs that the hosts"):
    plan.batch(0, contracts.Share((0,), 3))


def test_a_crop_is_a_part_of_its_clip(pixels):
  plan = buckets.pixel_plan(pixels, buckets.PixelConfig(buckets=(
      (5, 16, 24, 1, 1.0),)))
  for step in range(10):
    crop = plan.batch(step).video[0]
    item = records.read(pixels, crops.clip(plan, 0, step))
    video = video_io.read(item.data)[0]
    assert any(np.array_equal(video[t:t + 5, y:y + 16, x:x + 24], crop)
               for t in range(len(video) - 4)
               for y in range(video.shape[1] - 15)
               for x in range(video.shape[2] - 23))


def test_more_candidates_show_more_edges(pixels):
  """Of the same clips, and the first candidate is among those of more."""
  plans = [buckets.pixel_plan(pixels, buckets.PixelConfig(
      buckets=((5, 16, 16, 4, 1.0),), candidates=n)) for n in (1, 4)]
  assert plans[0].digest != plans[1].digest
  one, four = (np.array([crops.contrast(x) for step in range(8)
                         for x in plan.batch(step).video]) for plan in plans)
  assert np.all(four >= one) and four.mean() > 1.2 * one.mean()
  with pytest.raises(ValueError, match="candidates is 0"):
    buckets.PixelConfig(candidates=0)


def test_a_damaged_clip_is_replaced_and_counted(pixels, tmp_path):
  cfg = buckets.PixelConfig(buckets=((5, 16, 16, 4, 1.0),))
  plan = lambda: buckets.pixel_plan(manifest.open_manifest(tmp_path / "d"), cfg)
  shutil.copytree(pixels.root, tmp_path / "d")
  shutil.copytree(pixels.root, tmp_path / "e")
  name = sorted((tmp_path / "d").glob("sora-*"))[0]
  data = bytearray(name.read_bytes())
  for at in range(10_000, 60_000, 15_000):
    data[at] ^= 0xff
  name.write_bytes(data)
  one, two = plan(), plan()
  assert all(toy_data.equal(one.batch(s), two.batch(s)) for s in range(12))
  lost = [[plan.losses.take(s) for s in range(12)] for plan in (one, two)]
  assert lost[0] == lost[1] and sum(map(len, lost[0])) > 0
  for name in (tmp_path / "e").glob("sora-*"):
    name.write_bytes(b"x" * 1000)
  with pytest.raises(ValueError, match="in a row"):
    buckets.pixel_plan(manifest.open_manifest(tmp_path / "e"), cfg).batch(0)

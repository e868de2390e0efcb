"""A handful of clips trains with the configs as they are, and that is said."""

import dataclasses
import pathlib

import numpy as np
import pytest

from sora_jax.data.loading import estimate
from sora_jax.data.loading import plan as plan_lib
from sora_jax.data.pixels import buckets
from sora_jax.data.store import manifest
from sora_jax.geometry import sizes
from sora_jax.models.vae import vae
from sora_jax.tasks import build
from sora_jax.tasks import config
from sora_jax.tasks import task
import toy_data

ROOT = pathlib.Path(__file__).parent.parent
# Number, frames, width and height of the clips of a folder.
SETS = {"12 clips": [(12, 17, 64, 64)],
        "12 short, flat clips": [(6, 12, 128, 40), (6, 6, 96, 40)],
        "300 of 48x32": [(300, 33, 48, 32)],
        "12 images": [(12, 1, 48, 32)]}


def folder_of(name):
  """The manifest of a set that is not there."""
  rows = [row for n, *size in SETS[name] for row in [size] * n]
  entries = np.zeros(len(rows), manifest.PIXELS)
  entries["frames"], entries["width"], entries["height"] = np.array(rows).T
  entries["fps"], entries["words"] = 8, 5
  return manifest.Manifest("clips", "train", entries, {
      "kind": "pixels", "shards": {"train": 1}, "clips": {"train": len(rows)}})


def load(file, variant):
  return config.load(f"{ROOT}/configs/{file}.py:{variant}")


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("variant", ["tiny", "tiny_cpu", "tiny_decoder",
                                     "worlds", "test"])
def test_the_small_vae_configs_take_a_small_folder(name, variant):
  cfg, found = load("vae", variant), folder_of(name)
  if variant == "tiny_decoder":
    cfg.init_from = "tiny"
  plan = task.find("vae").plan(cfg, found)
  stride = vae.stride(build.vae_of(cfg))
  for (t, h, w, size, _), clips in zip(plan.cfg.buckets, plan.eligible):
    assert len(clips) and t % stride[0] == 1
    assert h and w and not (h % stride[1] or w % stride[2])
    if len(clips) < size:
      assert any(f"each comes {size / len(clips):.1f} times in a batch" in note
                 for note in plan.notes)
  for old, new in zip(cfg.data.buckets, plan.cfg.buckets):
    assert new[3:] == old[3:] and all(a <= b for a, b in zip(new, old))
  numbers, lines = task.find("vae").describe(cfg, found, task.DataOptions())
  assert set(plan.notes) <= set(lines) and len(set(plan.notes)) == len(plan.notes)
  assert numbers["unused"] < len(found)


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("variant", ["tiny", "tiny_cpu", "test"])
def test_the_small_transformers_take_a_small_folder(name, variant):
  cfg, stride = load("dit", variant), (4, 8, 8)
  with cfg.unlocked():
    cfg.data.chunk = 1200  # to pack fewer examples
  longest = max(n for _, n in cfg.data.shapes)
  found = estimate.manifest(folder_of(name), sizes.ResizePolicy(longest), stride)
  plan = task.find("dit").plan(cfg, found)
  lines = task.find("dit").describe(cfg, folder_of(name),
                                    task.DataOptions(stride))[1]
  notes = [line for line in lines if "times in a batch" in line]
  assert notes == list(plan.notes) and len(notes) == (plan.repeats > 1)
  assert name.startswith("300") or variant == "test" or plan.repeats > 1
  # All clips are in the chunk, alike and as dense as they pack.
  chunk = plan.chunk(0)
  counts = np.bincount(chunk.clips, minlength=len(found))
  assert 0 < counts.min() == counts.max()
  if notes:
    count = counts[0] / len(chunk.batches)
    assert f"each comes {count:.1f} times in a batch" in notes[0]
  rows = sum(len(rows) for _, rows in chunk.batches)
  batch = int(np.prod(plan.cfg.shapes[0])) * len(chunk.batches)
  full = len(chunk.clips) / rows > .9 * cfg.data.max_segments
  assert full or chunk.tokens.sum() > .6 * batch


def test_clips_come_several_times_in_a_batch(pixels, cached):
  """Read from a data set: every clip is there, and none is left out."""
  cfg = dataclasses.replace(toy_data.CONFIG, shapes=((256, 64), (128, 128)),
                            dropout=0.)
  plan = plan_lib.token_plan(cached, cfg)
  assert plan.repeats > 2 and "40 clips" in plan.notes[0]
  batch = plan.batch(0)
  there = np.unique(batch.tokens.x[..., 0][batch.tokens.seg > 0])
  assert set(there) == set(range(len(cached)))
  assert (batch.tokens.seg > 0).mean() > .8
  assert not plan_lib.token_plan(cached, toy_data.CONFIG).notes
  plan = buckets.pixel_plan(pixels, buckets.PixelConfig(
      buckets=((1, 24, 24, 90, 1.0),)))
  assert len(plan.eligible[0]) < 90 == len(plan.batch(0).video)
  used = len(plan.eligible[0])
  assert f"each comes {90 / used:.1f} times in a batch" in plan.notes[0]


def test_what_fits_stays_and_what_cannot_fit_is_refused(pixels):
  cfg = buckets.PixelConfig(buckets=((5, 24, 24, 2, .5), (5, 64, 64, 2, .5)))
  plan = buckets.pixel_plan(pixels, cfg, (4, 8, 8))
  assert plan.cfg.buckets == ((5, 24, 24, 2, .5), (5, 32, 32, 2, .5))
  assert plan.notes == (
      f"no clip of {pixels.root} fills the bucket of 5 frames of 64x64: it takes "
      "5 frames of 32x32",)
  with pytest.raises(ValueError, match="none of the 40 clips"):
    buckets.pixel_plan(pixels, cfg)
  with pytest.raises(ValueError, match="none of the 40 clips"):
    buckets.pixel_plan(pixels, cfg, (4, 64, 64))

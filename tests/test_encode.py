"""What `encode` stores of a clip, and how much it decodes at once."""

import dataclasses
import functools
import shutil

import jax
import numpy as np
from numpy.lib import recfunctions as rfn
import pytest

from sora_jax.data.loading import conditioning
from sora_jax.data.loading import placement
from sora_jax.data.loading import plan
from sora_jax.data.loading import token_config
from sora_jax.data.prepare import prepare
from sora_jax.data.sources import world
from sora_jax.data.store import captions
from sora_jax.data.store import captions_writer
from sora_jax.data.store import latents
from sora_jax.data.store import manifest as manifest_lib
from sora_jax.data.store import records
from sora_jax.encoding import batches
from sora_jax.encoding import dataset
from sora_jax.encoding import decode_batches
from sora_jax.encoding import encoder
from sora_jax.encoding import statistics
from sora_jax.formats import pretrained
from sora_jax.geometry import frames as frames_lib
from sora_jax.geometry import sizes as sizes_lib
from sora_jax.media import video_io
from sora_jax.models.vae import vae
from sora_jax.text import tokenizer

pytestmark = pytest.mark.quick_compile

STRIDE, PATCH = (4, 8, 8), (1, 2, 2)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
  out = tmp_path_factory.mktemp("worlds")
  prepare.prepare("world:balls", out, world.WorldOptions(
      count=12, sizes=(((48, 32), 1), ((40, 24), 1)), frames=((11, 2), (1, 1)),
      fps=((8, 1),)), workers=0, test_share=0, shard=8, quiet=True)
  return out


@pytest.fixture(scope="module")
def model():
  module = vae.VAE(base=8, mults=(1, 1, 1), z=4, blocks=1)
  params = jax.tree.map(
      lambda x: .1 * np.random.default_rng(x.size).standard_normal(
          x.shape).astype(np.float32),
      jax.eval_shape(lambda key: vae.init(module, key), jax.random.key(0)))
  return pretrained.Model(pretrained.Component(module, params), np.zeros(4),
                          np.ones(4))


@pytest.fixture(scope="module")
def encoded(data, model, tmp_path_factory):
  out = tmp_path_factory.mktemp("latents") / "out"
  dataset.encode(model, data, out)
  return manifest_lib.open_manifest(out)


@pytest.mark.slow
def test_what_is_known_was_encoded_without_what_is_unknown(data, model, encoded):
  """Each by itself, of pixels that hold nothing else of the clip."""
  pixels, regions = manifest_lib.open_manifest(data), 0
  assert vae.stride(model.vae.module) == STRIDE
  for i, row in enumerate(encoded.entries):
    video = video_io.read(records.read(pixels, i).data)[0]
    record = latents.decode(encoded.record(i))
    whole = sizes_lib.pad_to(video, (4 * (row["t"] - 1) + 1, *video.shape[1:3]))
    for first, z in record.suffixes.items():
      alone = frames_lib.lead_in(whole[4 * (first - 1) + 1:])
      assert _close(z, _encode(model, alone)[frames_lib.LEAD_IN_LATENTS:])
    for frame, z in record.keyframes.items():
      assert _close(z, _encode(model, video[frame:frame + 1]))
    assert _close(record.z, _encode(model, video))
    if record.region is None:
      continue
    regions += 1
    x, y, w, h, t0, t1 = frames_lib.region_of_tokens(record.region, STRIDE, PATCH)
    other = video.copy()
    inside = other[t0:t1, y:y + h, x:x + w]
    inside[:] = np.random.default_rng(i).integers(0, 256, inside.shape)
    assert inside.size and not np.array_equal(other, video)
    other = frames_lib.without_region(other, (x, y, w, h, t0, t1))
    assert _close(record.masked, _encode(model, other))
  assert regions == len(encoded) > 0


def test_clips_are_decoded_some_at_a_time(data, model, encoded, tmp_path,
                                          monkeypatch):
  """Batches of one clip give the same latents, and tell of more progress."""
  told = []
  monkeypatch.setattr(decode_batches, "split",
                      functools.partial(decode_batches.split, most=1))
  dataset.encode(model, data, tmp_path / "out", report=lambda *n: told.append(n))
  assert told[0] == (0, 12) and told == sorted(told)  # before any is decoded
  assert [n for n in told if n[0] % 1 == 0][1::2] == [
      (i + 1, 12) for i in range(12)]
  again = manifest_lib.open_manifest(tmp_path / "out")
  assert np.array_equal(again.entries, encoded.entries)
  for i in range(12):
    assert _close(latents.decode(again.record(i)).z,
                  latents.decode(encoded.record(i)).z)


def test_captions_of_the_data_set_are_taken_along(data, model, encoded, tmp_path):
  shutil.copytree(data, tmp_path / "data")
  shutil.copytree(encoded.root, tmp_path / "latents")
  found = manifest_lib.open_manifest(tmp_path / "data")
  captions_writer.start({"train": found}, "mine", "")
  words, at = tokenizer.of(found), 0
  for shard, count in enumerate(captions.records_of(found)):
    captions_writer.write_shard(found, "mine", shard, [
        (f"clip {i}",) for i in range(at, at + count)], words)
    at += count
  captions_writer.finish({"train": found}, "mine", "")
  dataset.encode(model, tmp_path / "data", tmp_path / "latents")
  store = captions.open_captions(
      manifest_lib.open_manifest(tmp_path / "latents"), "mine")
  assert [store.of(i) for i in range(len(encoded))] == [
      (f"clip {i}",) for i in range(at)]


def test_few_programs_serve_a_small_data_set(model, monkeypatch):
  """A size of its own for each costs more to compile than to pad."""
  sizes = {(32, 32): 90, (32, 48): 30, (16, 80): 3}
  assert batches.covering_shapes(sizes) == [(32, 80)]
  many = {size: 10**6 * n for size, n in sizes.items()}
  assert batches.covering_shapes(many) == sorted(sizes)
  assert len(batches.covering_shapes(
      {(16 * i, 16): 10**9 for i in range(1, 30)})) == batches.MAX_SHAPES
  masks = []
  encode = encoder.encode
  monkeypatch.setattr(encoder, "encode", lambda vae, video, size: (
      masks.append(size is not None), encode(vae, video, size))[1])
  videos = [np.full((1, h, w, 3), 4 * w, np.uint8) for h, w in
            ((32, 32), (16, 32), (32, 32))]
  both = batches.batches_for(model, {(32, 32): 2, (16, 32): 1}, 2)
  told = []
  found = both.encode(videos, told.append)
  assert told == [1, 3]  # the batch that is not full comes first
  assert masks == [True, True] and found[1].shape[1] == 2
  one = batches.batches_for(model, {(32, 32): 2}, 2)  # no video is smaller
  again = one.encode(videos[:1])
  assert masks == [True, True, False] and _close(again[0], found[0])


@pytest.mark.slow
def test_statistics_are_those_of_each_clip_alone(data, model):
  pixels, told = manifest_lib.open_manifest(data), []
  part = model.vae
  mean, std = statistics.statistics(part.module, part.params, pixels,
                                    report=lambda *n: told.append(n))
  alone = []
  for i in range(len(pixels)):
    video = video_io.read(records.read(pixels, i).data)[0]
    t, h, w = sizes_lib.padded_size(video.shape[:3], STRIDE, PATCH)
    z = encoder.encode(part, sizes_lib.pad_to(video, (t, h, w))[None])
    alone.append(z.reshape(-1, 4))
  alone = np.concatenate(alone)
  np.testing.assert_allclose(mean, alone.mean(0), rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(std, alone.std(0), rtol=1e-5, atol=1e-6)
  assert told[0] == (0, 12) and told[-1] == (12, 12)


def test_without_regions_no_example_is_around_one(data, model, tmp_path):
  dataset.encode(model, data, tmp_path / "out", extras=latents.Extras(0, 0, False))
  found = manifest_lib.open_manifest(tmp_path / "out")
  assert (found.entries["region"] == -1).all()
  assert latents.decode(found.record(0)).masked is None
  drawn = plan.token_plan(found, token_config.TokenConfig(
      shapes=((1, 64),))).chunk(0).examples.conditioning
  assert conditioning.REGION not in drawn and conditioning.HEAD in drawn


def test_a_region_that_the_manifest_does_not_name_is_counted(encoded):
  rows = np.array(encoded.entries)
  rows["region"][:, 0] += 1
  other = plan.token_plan(dataclasses.replace(encoded, entries=rows),
                          token_config.TokenConfig(shapes=((1, 64),)))
  other.batch(0)
  assert "the region" in other.losses.named()[0]


def test_decode_batches_hold_every_clip_once(data):
  manifest = manifest_lib.open_manifest(data)
  size = 3 * np.prod([manifest.entries[k].astype(int) for k in (
      "frames", "height", "width")], 0)
  twice = np.sort(np.tile(np.arange(12), 2)[:20])
  for most in (1, size.max(), 3 * size.max(), size.sum()):
    found = decode_batches.split(manifest, twice, most)
    rows = np.concatenate([rows for rows, _ in found])
    assert np.array_equal(rows, np.arange(12))
    times = np.concatenate([times for _, times in found])
    assert np.array_equal(np.repeat(rows, times), twice)
    assert all(size[rows].sum() <= most or len(rows) == 1 for rows, _ in found)
  assert len(found) == 1


def test_latents_of_an_older_version_are_one_line(encoded):
  names = [n for n in encoded.entries.dtype.names if n != "region"]
  old = dataclasses.replace(encoded, entries=rfn.repack_fields(
      np.asarray(encoded.entries)[names]))
  with pytest.raises(ValueError, match="older version: run sora-jax encode"):
    plan.token_plan(old, token_config.TokenConfig(shapes=((1, 64),)))


def test_regions_leave_something_outside():
  size = np.random.default_rng(0).integers(1, 5, (4000, 3))
  region = placement.draw_regions(np.random.default_rng(1), size)
  one = size.prod(1) == 1
  assert (region[one] == -1).all() and one.any()
  low, high = region[~one, ::2], region[~one, 1::2]
  assert (low >= 0).all() and (low < high).all() and (high <= size[~one]).all()
  assert (high - low < size[~one]).any(1).all()
  assert .4 < ((high - low)[:, 0] == size[~one, 0]).mean() < .8


def _encode(model, video):
  """The latents of one video, alone."""
  return batches.batches_for(model, {video.shape[1:3]: len(video)}, 1).encode(
      [video])[0]


def _close(a, b):
  return a.shape == b.shape and np.allclose(a, b, rtol=2e-3, atol=1e-4)

"""Folders that were stored by the first version are read, digests and all."""

import dataclasses
import hashlib
import json
import pathlib
import tarfile

import jax
import numpy as np
import pytest

from sora_jax.data.loading import plan as plan_lib
from sora_jax.data.loading import token_config
from sora_jax.data.pixels import buckets
from sora_jax.data.store import latents
from sora_jax.data.store import manifest
from sora_jax.data.store import old_names
from sora_jax.encoding import dataset
from sora_jax.formats import pretrained

pytestmark = pytest.mark.quick_compile

STORED = pathlib.Path(__file__).parent / "stored" / "stored.tar.xz"
CONFIG = token_config.TokenConfig(shapes=((4, 24), (2, 48)), text_length=120,
                              chunk=500)
# What the version that stored them printed.
MODEL = "c9f339a153e64094d08f5a6da4817a761be6930277251480b8f017399293e53b"
CLIPS = "8f1eb589e41306b4fd25ca54146df1402484e49fc4deac5e59b516ad5b798455"
PIXEL_PLAN = "a4eab2c51178913e65849df8cca3601c732ca5c14aeaeb32618818d4678f2e59"
PIXELS = "5a0fc134c9eaf1a4fdc1674ac1abc81ea41bc8ceb7adc60bebe7b826a4a1bcbc"
LATENTS = "ee76ea30cc84d1445c50eb55807c5e1c9c5bd8716553b1e2fbc69d57abab844f"
PLANS = {  # conditioning -> digests of the plan and of its first batches
    (): ("22e454b90d1b4ee7981036cf8ee80d0ad4d7d46b03ccd7f18062b15b8e67f8fe",
         "f694f86d658f9b8f5c92eb07c6d0bc91f0d224bc672c3bc1aff26d0581238cbf"),
    (("suffix", .2), ("keyframes", .2), ("region", .2), ("loop", 0.)): (
        "8e7492dd21237fffd0362347014a49628ac5d7f8e9f7407c6852a483bdcea4f3",
        "4dc6468229cb9856a06124d747332d1a219760aeef8f12fbb5d9f437d42cb861")}


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
  out = tmp_path_factory.mktemp("stored")
  with tarfile.open(STORED) as f:
    f.extractall(out, filter="data")
  return out


def _digest(tree):
  return hashlib.sha256(b"".join(np.asarray(x).tobytes()
                                 for x in jax.tree.leaves(tree))).hexdigest()


def test_a_model_is_read(stored):
  assert pretrained.load(stored / "model").digest == MODEL


def test_clips_are_read(stored):
  clips = manifest.open_manifest(stored / "clips")
  assert clips.digest == CLIPS
  plan = buckets.pixel_plan(clips, buckets.PixelConfig(
      buckets=((5, 24, 24, 2, 1.0),), candidates=2, cache_bytes=2**20))
  assert plan.digest == PIXEL_PLAN and _digest(plan.batch(3)) == PIXELS


@pytest.mark.parametrize("conditioning", PLANS, ids=["default", "other"])
def test_latents_are_read(stored, conditioning):
  found = manifest.open_manifest(stored / "latents")
  assert found.digest == LATENTS
  assert found.info["suffixes"] == 2 and "tails" not in found.info
  plan = plan_lib.token_plan(found, dataclasses.replace(
      CONFIG, conditioning=conditioning))
  batches = [plan.batch(step) for step in range(4)]
  assert not plan.losses.reasons
  assert (plan.digest, _digest(batches)) == PLANS[conditioning]


@pytest.mark.slow
def test_latents_of_today_are_the_same_in_new_names(stored, tmp_path):
  old = manifest.open_manifest(stored / "latents")
  model = pretrained.load(stored / "model", components=("vae",))
  dataset.encode(model, stored / "clips", tmp_path / "out")
  new = manifest.open_manifest(tmp_path / "out")
  assert new.info["format"] == old_names.FORMAT
  assert (new.info["vae"], old.info["vae"]) == (model.vae_digest, model.digest)
  same = {"format": 0, "vae": ""}  # what sets of today say otherwise
  assert {**new.info, **same} == {**old.info, **same}
  assert np.array_equal(new.entries, old.entries)
  for i in range(len(new)):
    a, b = latents.decode(new.record(i)), latents.decode(old.record(i))
    assert (a.captions, a.size, a.region) == (b.captions, b.size, b.region)
    pairs = [(a.z, b.z), (a.masked, b.masked)]
    for one, other in ((a.suffixes, b.suffixes), (a.keyframes, b.keyframes)):
      assert one.keys() == other.keys()
      pairs += [(one[k], other[k]) for k in one]
    for x, y in pairs:
      np.testing.assert_allclose(x.astype(np.float32), y.astype(np.float32),
                                 rtol=2e-3, atol=1e-4)


def test_what_is_finished_is_found_and_what_was_begun_is_refused(stored, tmp_path):
  model = pretrained.load(stored / "model", components=("vae",))
  clips, out = stored / "clips", stored / "latents"
  assert dataset.encode(model, clips, out)["suffixes"] == 2
  with pytest.raises(ValueError, match="suffixes: 2 there, 1 asked for"):
    dataset.encode(model, clips, out, extras=latents.Extras(1))
  parts = tmp_path / "begun" / "parts"
  parts.mkdir(parents=True)
  job = json.loads((out / "dataset.json").read_text())
  (parts / "job.json").write_text(json.dumps(job))
  with pytest.raises(ValueError, match="begun by another version"):
    dataset.encode(model, clips, tmp_path / "begun")


def test_a_format_of_tomorrow_is_refused(stored, tmp_path):
  info = json.loads((stored / "latents" / "dataset.json").read_text())
  (tmp_path / "dataset.json").write_text(json.dumps(info | {"format": 3}))
  with pytest.raises(ValueError, match="dataset.json is of format 3.*newer"):
    manifest.open_manifest(tmp_path)

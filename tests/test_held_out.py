"""Clips that nothing trains on: chosen by file, carried, and scored."""

import dataclasses
import json
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sora_jax import main
from sora_jax import mesh as mesh_lib
from sora_jax import stations
from sora_jax.data.loading import plan as plan_lib
from sora_jax.data.prepare import held_out
from sora_jax.data.prepare import prepare
from sora_jax.data.sources import world
from sora_jax.data.store import latents
from sora_jax.data.store import manifest
from sora_jax.data.store import records
from sora_jax.encoding import batches
from sora_jax.encoding import dataset
from sora_jax.evaluation import cases
from sora_jax.evaluation import vae as vae_suite
from sora_jax.media import video_io
from sora_jax.models.vae import vae
from sora_jax.tasks import dit
from sora_jax.tasks import validation
from sora_jax.training import hooks as hooks_lib
from sora_jax.worlds import facts as facts_lib
import toy_data
import toy_run


def clip(item, key):
  """A clip that was kept, of which the choice sees the key."""
  return stations.KeptClip(item, types.SimpleNamespace(key=key))


def films(count, pieces=1, first=0):
  return [clip(i, f"film-{i}.mp4" + f"#{n * 9}-{n * 9 + 9}" * (pieces > 1))
          for i in range(first, first + count) for n in range(pieces)]


def test_the_choice_is_one_of_files_and_stays_when_others_come():
  few, many = films(300), films(600)
  chosen = held_out.choose(few, .1)
  assert 10 < len(chosen) < 60
  assert {i for i in held_out.choose(many, .1) if i < 300} == chosen
  assert held_out.choose(films(300, pieces=3), .02) == held_out.choose(few, .02)
  mixed = [clip(c.item, f"0/{c.key}") for c in few]
  assert held_out.choose(mixed, .1, prefixed=True) == chosen
  assert not held_out.choose(few, 0)


def test_between_1_and_512_clips_are_held_out():
  assert len(held_out.choose(films(12), 1e-9)) == 1
  assert len(held_out.choose(films(2000), .9)) == held_out.MOST
  # Whole films of 200 pieces: two of them, never a part of a third.
  assert len(held_out.choose(films(8, pieces=200), .99)) == 2
  # One film is too long, another is not.
  mixed = [*films(1, pieces=600), *films(1, pieces=3, first=1)]
  assert held_out.choose(mixed, .99) == {1}
  assert len(held_out.choose(films(2), .99)) == 1  # something is left
  with pytest.raises(ValueError, match="1 file nothing would be left"):
    held_out.choose(films(1, pieces=3), .02)
  with pytest.raises(ValueError, match="at most 512 clips, and every file"):
    held_out.choose(films(2, pieces=600), .02)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """Four films of three chunks each, as a data set."""
  at = tmp_path_factory.mktemp("films")
  (at / "in").mkdir()
  for i in range(4):
    video = np.random.default_rng(i).integers(0, 255, (27, 4, 4, 3), np.uint8)
    video_io.write(at / "in" / f"{i}.mp4", video.repeat(8, 1).repeat(8, 2), 9)
    (at / "in" / f"{i}.txt").write_text(f"noise number {i}")
  assert main.main(["prepare", f"folder:{at}/in", f"--out={at}/out",
                    "--held_out=.01", "--chunk_seconds=1", "--workers=0",
                    "--test_share=0"]) == 0
  return at


def keys(root, split):
  found = manifest.open_manifest(root, split)
  return [records.read(found, i).key for i in range(len(found))]


def test_pieces_of_a_film_stay_together(folder, capsys):
  found = {split: {k.partition("#")[0] for k in keys(folder / "out", split)}
           for split in ("train", "val")}
  assert found["val"] and not found["val"] & found["train"]
  assert len(keys(folder / "out", "val")) == 3 * len(found["val"])
  assert len(keys(folder / "out", "train")) == 3 * len(found["train"])
  assert manifest.open_manifest(folder / "out").info["held_out"] == .01
  # Another share is another data set, and so is none.
  base = ["prepare", f"folder:{folder}/in", f"--out={folder}/out",
          "--chunk_seconds=1", "--workers=0", "--test_share=0"]
  for flags in ([], ["--held_out=.4"]):
    assert main.main([*base, *flags]) == 2
    assert "held_out: 0.01 there" in capsys.readouterr().err


def test_a_set_prepared_anew_has_nothing_that_was_held_out(folder, tmp_path):
  prepare.prepare(f"shards:{folder}/out", tmp_path / "a", workers=0,
                  test_share=0, quiet=True)
  assert sorted(keys(tmp_path / "a", "train")) == sorted(
      keys(folder / "out", "train"))
  prepare.prepare(f"shards:{folder}/out?split=val", tmp_path / "b", workers=0,
                  test_share=0, quiet=True)
  assert len(keys(tmp_path / "b", "train")) == 3


def test_worlds_hold_out_facts_by_their_own_rule(tmp_path):
  options = world.WorldOptions(count=24, sizes=(((32, 32), 1),),
                               frames=((5, 1),), fps=((2, 1),))
  run = lambda out, **kw: prepare.prepare(
      ["world:balls", "world:occluder"], out, options, workers=0,
      test_share=.1, quiet=True, **kw)
  info = run(tmp_path / "a", held_out=.2)
  assert 0 < info["clips"]["val"] < 20
  for split, held in (("train", False), ("test", False), ("val", True)):
    found = manifest.open_manifest(tmp_path / "a", split)
    for i in range(len(found)):
      facts = facts_lib.from_json(records.read(found, i).facts, (32, 32), 5, 2.)
      assert bool(facts_lib.held_out(facts)) == held, split
  # Without the option a data set says nothing of it and holds what it held.
  assert "held_out" not in run(tmp_path / "b")
  assert set(keys(tmp_path / "a", "train")) < set(
      keys(tmp_path / "b", "train") + keys(tmp_path / "b", "test"))


def test_encode_carries_the_split(folder, tmp_path, monkeypatch):
  module = vae.VAE(base=8, mults=(1, 1, 1), z=4, blocks=1)
  model = types.SimpleNamespace(vae=types.SimpleNamespace(module=module),
                                digest="d", vae_digest="v", patch=(1, 2, 2))

  def encode(videos, report):
    report(len(videos))
    return [np.zeros((len(range(0, len(v) + 3, 4)), 4, 4, 4), np.float32)
            for v in videos]

  monkeypatch.setattr(batches, "batches_for", lambda *args: types.SimpleNamespace(
      model=model, encode=encode))
  info = dataset.encode(model, folder / "out", tmp_path / "z",
                        extras=latents.Extras(0, 0, False))
  wanted = manifest.open_manifest(folder / "out").info["clips"]
  assert info["clips"] == wanted and wanted["val"] == 3
  held = manifest.open_manifest(tmp_path / "z", "val")
  texts = {latents.decode(held.record(i)).captions[0] for i in range(3)}
  assert len(texts) == 1
  # Previews show what is told of the held-out clips, or what the config says.
  cfg = types.SimpleNamespace(preview=types.SimpleNamespace(prompts=()))
  train = manifest.open_manifest(tmp_path / "z")
  assert dit.preview_prompts(cfg, train) == list(texts)
  cfg.preview.prompts = ("a cat",)
  assert dit.preview_prompts(cfg, train) == ["a cat"]


def loss(params, batch, key):
  """The mean of the latents that are not known, and noise from the key."""
  counted = (batch.tokens.seg > 0) & ~batch.known
  weight = jnp.sum(counted)
  value = jnp.sum(jnp.where(counted, batch.tokens.x[..., 0], 0)) / weight
  return params * value + jax.random.uniform(key), {"weight": weight}


def test_validation_is_the_mean_over_every_clip_once(cached):
  plan = plan_lib.every_clip_once(cached, dataclasses.replace(
      toy_data.CONFIG, seed=7))
  chunk = plan.chunk(0)
  assert sorted(chunk.clips) == list(range(len(cached)))
  assert plan.steps == len(chunk.batches) > 1
  same = plan_lib.every_clip_once(cached, toy_data.CONFIG)
  assert all(toy_data.equal(plan.batch(i), same.batch(i))
             for i in range(plan.steps))
  total = weight = noise = 0
  for i in range(plan.steps):
    batch = plan.batch(i)
    counted = (batch.tokens.seg > 0) & ~batch.known
    total += batch.tokens.x[..., 0][counted].sum()
    weight += counted.sum()
    noise += counted.sum() * float(jax.random.uniform(
        jax.random.fold_in(jax.random.key(0), i)))
  measure = validation.validation(loss, plan, plan.steps, mesh_lib.make_mesh(
      devices=jax.devices()[:1]))
  for params in (1., 2., 1.):
    np.testing.assert_allclose(measure(jnp.float32(params))["val_loss"],
                               (params * total + noise) / weight, rtol=1e-5)


def test_the_loss_stands_in_the_line_of_its_step(tmp_path, capsys):
  measure = lambda state: {"val_loss": float(jnp.sum(
      state.params["model"]["bias"] ** 2)) + 2}
  run = lambda steps: toy_run.train(
      tmp_path, steps, log_every=5, save_every=100,
      validations=[hooks_lib.Validation(4, measure)])
  run(6)
  run(10)
  lines = [json.loads(line) for line in
           (tmp_path / "metrics.jsonl").read_text().splitlines()]
  found = {line["step"]: line.get("val_loss") for line in lines}
  assert list(found) == [4, 5, 6, 8, 10] and found[5] is None
  assert all(found[n] > 2 for n in (4, 6, 8, 10))
  assert f"val {found[8]:.4f} grad" in capsys.readouterr().err


def test_the_suite_scores_held_out_clips_and_as_many_as_asked(folder, tmp_path):
  codec = vae_suite.Codec(lambda v: v, "d")
  todo = cases.draw(1, 0, [(48, 48)])
  score = lambda real, **kw: vae_suite.evaluate(codec, cases.Request(
      todo, tmp_path, real=str(real), **kw))["real"]
  found = score(folder / "out")
  assert [c["file"] for c in found["clips"]] == ["val-0", "val-1", "val-2"]
  assert found["about"] == f"split val of {folder}/out, 3 of 3 clips"
  assert found["about"] in (tmp_path / "tables.md").read_text()
  assert score(folder / "out", count=2)["psnr"]["n"] == 2
  assert score(folder / "out", split="all", count=200)["psnr"]["n"] == 12
  assert score(folder / "out", split="train")["psnr"]["n"] == 9
  assert "no splits" in score(folder / "in", count=3)["about"]
  assert score(folder / "in", count=3)["psnr"]["n"] == 3
  with pytest.raises(ValueError, match="has no splits"):
    score(folder / "in", split="val")


@pytest.mark.parametrize("flags, what", [
    (["--suite=worlds", "--real=x"], "--real=x is for --suite=vae"),
    (["--suite=vae", "--split=val"], "--split=val is for --suite=vae --real")])
def test_flags_of_real_clips_are_refused_elsewhere(flags, what, tmp_path, capsys):
  assert main.main(["evaluate", f"--out={tmp_path}", *flags]) == 2
  assert what in capsys.readouterr().err


@pytest.mark.parametrize("share", ["1", "-0.1"])
def test_a_share_that_cannot_be_is_refused(share, tmp_path, capsys):
  assert main.main(["prepare", "world:balls", f"--out={tmp_path}/d",
                    f"--held_out={share}"]) == 2
  assert "held_out is" in capsys.readouterr().err

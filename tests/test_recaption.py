"""Captions written anew: the store, the run that writes it, the mix of training."""

import dataclasses
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from sora_jax import main
from sora_jax import stations
from sora_jax.data.loading import caption_mix
from sora_jax.data.loading import plan as plan_lib
from sora_jax.data.store import captions
from sora_jax.data.store import captions_carry
from sora_jax.data.store import captions_writer
from sora_jax.data.store import latents
from sora_jax.data.store import manifest as manifest_lib
from sora_jax.data.store import shards
from sora_jax.language import by_endpoint
from sora_jax.language import caption_page
from sora_jax.language import captioner
from sora_jax.language import endpoint
from sora_jax.language import recaption
from sora_jax.language import sameness
from sora_jax.media import video_io
from sora_jax.text import tokenizer
import toy_data


@dataclasses.dataclass(frozen=True)
class Fake:
  """Tells which clip it sees; `seconds` is how long it takes for one."""

  name: str = "fake"
  digest: str = "0123456789abcdef"
  seconds: float = 0.0
  always: str = ""

  def caption(self, records):
    clips = [int(r.z[0, 0, 0, 0]) for r in records]
    return [(f"clip {i}", self.always or f"it is  clip {i}\n of {len(r.z)} <b>")
            for i, r in zip(clips, records)]

  def describe(self, video, fps):
    time.sleep(self.seconds)
    return self.always or f"{video.shape} at {fps:g}, level {video.mean():.6f}"


@pytest.fixture(scope="module")
def captioned(cached):
  """The latents, captioned by two captioners."""
  recaption.recaption(Fake(), cached.root)
  recaption.recaption(Fake(digest="other"), cached.root, origin="second")
  return cached


def copied(manifest, to):
  """A copy of a data set without its captions."""
  shutil.copytree(manifest.root, to, ignore=shutil.ignore_patterns("captions"))
  return manifest_lib.open_manifest(to)


def contents(root):
  """Every file of a folder."""
  return {str(p.relative_to(root)): p.read_bytes()
          for p in sorted(pathlib.Path(root).rglob("*")) if p.is_file()}


def test_origins_lie_side_by_side_and_the_records_stay(cached, tmp_path):
  root = copied(cached, tmp_path / "set").root
  before, told = contents(root), []
  info = recaption.recaption(Fake(), root, batch=7,
                             report=lambda *done: told.append(done))
  recaption.recaption(Fake(digest=""), root)
  after = contents(root)
  assert {k: after[k] for k in before} == before
  assert captions.origins(root) == ["fake", "fake-0123456789ab"]
  assert info["clips"] == {"train": 40} and not info["unreadable"]
  assert told[0] == (0, 40) and told[-1] == (40, 40) and len(told) >= 7
  store = captions.open_captions(manifest_lib.open_manifest(root),
                                 "fake-0123456789ab")
  words = tokenizer.of(cached)
  for i in (0, 17, 39):
    t = cached.entries["t"][i]
    assert store.of(i) == (f"clip {i}", f"it is clip {i} of {t} <b>")
    assert store.tokens[i].tolist() == [len(words.encode(text, 99))
                                        for text in store.of(i)]
  again = recaption.recaption(Fake(), root)
  assert again == info and contents(root) == after
  page = pathlib.Path(caption_page.write(store)).read_text(encoding="utf-8")
  own = latents.captions_of(cached.record(0))[0]
  assert page.count("<figure>") == 40 and own in page and "&lt;b&gt;" in page
  assert "<b></b>" not in page and "<script" not in page


def test_training_mixes_origins(captioned):
  origin = "fake-0123456789ab"
  make = lambda *mix: plan_lib.token_plan(captioned, dataclasses.replace(
      toy_data.CONFIG, captions=mix))
  default, plan = make(), make(origin)
  # A mix that says what the default does draws the same batches.
  same = make(("original", "short", 0.5), ("original", "descriptive", 0.5))
  assert toy_data.equal(default.batch(3), same.batch(3))
  assert "captions" not in plan_lib._digest_text(default.cfg)
  assert len({default.digest, plan.digest, same.digest, make("second").digest}) == 4
  chunk = plan.chunk(0)
  drawn = chunk.examples.caption
  assert 0.85 < (drawn == 0).mean() < 0.86 + 0.02  # 0.9 * 0.95
  assert 0.03 < (drawn == 1).mean() < 0.06
  words, _, members = tokenizer.of(captioned), None, plan.place(0)[2]
  batch = plan.batch(0)
  shown = set()
  for row, inside in enumerate(members):
    for segment, i in enumerate(inside, 1):
      ids = batch.text.ids[row][batch.text.seg[row] == segment].tolist()
      which, index = int(drawn[i]), int(chunk.clips[i])
      shown.add(which)
      assert len(ids) == chunk.text_tokens[i]
      text = ("" if which < 0 else latents.captions_of(captioned.record(index))[0]
              if which else plan.mix.stores[origin].of(index)[1])
      assert ids == words.encode(text, 80, bool(chunk.examples.start[i] > 0))
  assert shown >= {-1, 0}


@pytest.mark.parametrize("mix, said", [
    (("nobody",), "no captions of 'nobody'; it has original, fake-0123456789ab, "
     "second"),
    (("../x",), "data.captions: '../x' is no name for an origin"),
    ((("second", "long", 1.0),), "length one of short, descriptive"),
    ((("second", "short", 0.0),), "weight a finite number above 0"),
    (("second", "fake"), "data.captions is ('second', 'fake')")])
def test_a_mix_that_cannot_be_drawn_is_one_line(captioned, mix, said):
  with pytest.raises(ValueError) as e:
    plan_lib.token_plan(captioned, dataclasses.replace(toy_data.CONFIG,
                                                       captions=mix))
  assert said in str(e.value) and "\n" not in str(e.value)


def _cut(path):
  path.write_bytes(path.read_bytes()[:-9])


def _noise(path):
  data = path.read_bytes()
  path.write_bytes(b"x" * len(data))


@pytest.mark.parametrize("file, damage", [
    ("train-00000.jsonl", os.unlink), ("train-00000.jsonl", _cut),
    ("train.npy", os.unlink), ("train.npy", _cut), ("train.npy", _noise),
    ("captions.json", _cut), ("captions.json", _noise)])
def test_damage_is_one_line(captioned, tmp_path, file, damage):
  shutil.copytree(captioned.root, tmp_path / "set")
  found = manifest_lib.open_manifest(tmp_path / "set")
  damage(tmp_path / "set" / "captions" / "second" / file)
  with pytest.raises(ValueError) as e:
    captions.open_captions(found, "second")
  assert str(tmp_path) in str(e.value) and "\n" not in str(e.value)
  captions.open_captions(found, "fake-0123456789ab")  # the other is whole


def test_a_damaged_line_loses_its_clip(captioned, tmp_path):
  shutil.copytree(captioned.root, tmp_path / "set")
  path = tmp_path / "set" / "captions" / "second" / "train-00000.jsonl"
  lines = path.read_bytes().splitlines(keepends=True)
  path.write_bytes(b"".join([b"#" * (len(lines[0]) - 1) + b"\n", *lines[1:]]))
  plan = plan_lib.token_plan(
      manifest_lib.open_manifest(tmp_path / "set"),
      dataclasses.replace(toy_data.CONFIG, captions=("second",)))
  assert plan.loader.clip(1) is not None and plan.loader.clip(0) is None
  assert "line 1 is no caption" in plan.losses.reasons[0]


def test_another_captioner_never_goes_on(cached, captioned, tmp_path):
  with pytest.raises(ValueError, match="digest: other there, third asked for"):
    recaption.recaption(Fake(digest="third"), captioned.root, origin="second")
  found = copied(cached, tmp_path / "set")
  captions_writer.start({"train": found}, "mine", "one")
  with pytest.raises(ValueError, match="begun and are not whole"):
    captions.open_captions(found, "mine")
  with pytest.raises(ValueError, match="holds other captions"):
    recaption.recaption(Fake(), found.root, origin="mine")
  unknown = lambda name: recaption.recaption(  # whose weights nobody knows
      Fake(name, digest=""), found.root, origin="unknown")
  unknown("one")
  with pytest.raises(ValueError, match="holds other captions"):
    unknown("two")
  shutil.copytree(pathlib.Path(captioned.root, "captions"),
                  tmp_path / "set" / "captions", dirs_exist_ok=True)
  path = tmp_path / "set" / "dataset.json"
  path.write_text(json.dumps(json.loads(path.read_text()) | {"seed": 5}))
  with pytest.raises(ValueError, match="of another data set"):
    captions.open_captions(manifest_lib.open_manifest(found.root), "second")
  reads = type("Other", (Fake,), {"vae_digest": "another"})
  with pytest.raises(ValueError, match="latents of the VAE digest and the capt"):
    recaption.recaption(reads(), cached.root)


RUN = """
import sys
sys.path.insert(0, sys.argv[1])
from sora_jax.language import recaption
import test_recaption
recaption.recaption(test_recaption.Fake(seconds=0.05), sys.argv[2])
"""


@pytest.mark.slow
def test_killed_in_the_middle_it_goes_on_and_ends_the_same(pixels, tmp_path):
  whole = copied(pixels, tmp_path / "whole").root
  recaption.recaption(Fake(), whole)
  killed = pathlib.Path(copied(pixels, tmp_path / "killed").root)
  here = str(pathlib.Path(__file__).parent)
  child = subprocess.Popen([sys.executable, "-c", RUN, here, killed], cwd=here,
                           env=os.environ | {"JAX_PLATFORMS": "cpu"})
  folder = killed / "captions" / "fake-0123456789ab"
  while not (folder / "train-00000.jsonl").exists():
    assert child.poll() is None
    time.sleep(0.01)
  child.send_signal(signal.SIGKILL)
  assert child.wait() == -signal.SIGKILL
  assert not (folder / "captions.json").exists()
  told = []
  recaption.recaption(Fake(), killed, report=lambda *done: told.append(done))
  assert told[0][0] >= 16 and told[-1] == (40, 40)
  assert contents(killed) == contents(whole)
  with_parts = copied(pixels, tmp_path / "parts").root
  for i in range(2):
    assert recaption.recaption(Fake(), with_parts, part=(i, 2)) is None
  recaption.recaption(Fake(), with_parts)
  assert contents(with_parts) == contents(whole)


def test_one_sentence_for_many_clips_stops_the_run(cached, tmp_path):
  root = copied(cached, tmp_path / "set").root
  with pytest.raises(ValueError, match="40 of 40 clips.*'a ball moves'.*--same"):
    recaption.recaption(Fake(always="a ball moves"), root)
  for _ in range(2):  # nothing of it is gone on from
    with pytest.raises(ValueError, match="40 of 40 clips"):
      recaption.recaption(Fake(always="a ball moves"), root)
  assert not captions.origins(root)
  recaption.recaption(Fake(always="a ball moves"), root, same=1.0)
  own = lambda text, n: [text] * n + [f"{text} {i}" for i in range(200 - n)]
  seen = sameness.Sameness(0.2)
  seen.add(own("a", 70), own("b", 40))  # 35 % where the originals have 20 %
  with pytest.raises(ValueError, match="90 of 200"):
    sameness.Sameness(0.2).add(own("a", 90), own("b", 40))


def test_clips_of_one_and_a_thousand_frames_and_corrupt_ones(pixels, tmp_path):
  info = latents.describe(pixels.info, "digest", (4, 8, 8), (1, 2, 2), 2, 0,
                          latents.Extras(0, 0, False))
  latents.start(tmp_path, pixels.root, info)
  words = tokenizer.of(pixels)

  def each():
    for i, t in enumerate((1, 250, 3, 1, 2)):
      z = np.full((t, 2, 2, 2), i if i != 3 else np.nan, np.float16)
      record = latents.Record(z, ("a ball",), 8.0, (4 * t - 3, 16, 16))
      data = latents.encode(record)
      good = dataclasses.replace(record, z=np.zeros_like(z))
      yield data[:50] if i == 2 else data, latents.entry(good, words)

  shards.write_shard(tmp_path, "train", 0, each(), latents.LATENTS)
  shards.finish(tmp_path, shards.collect(tmp_path, {"train": 1}, info))
  made = recaption.recaption(Fake(), tmp_path, origin="x")
  assert made["unreadable"] == 2
  store = captions.open_captions(manifest_lib.open_manifest(tmp_path), "x")
  assert store.of(1) == ("clip 1", "it is clip 1 of 250 <b>")
  for i in (2, 3):
    with pytest.raises(ValueError, match=f"record {i} could not be read"):
      store.of(i)
  page = pathlib.Path(caption_page.write(store)).read_text(encoding="utf-8")
  assert "is no record of latents" in page
  with pytest.raises(ValueError, match="record 0: the caption by fake has 9000 c"):
    recaption.recaption(Fake(always="x" * 9000), tmp_path, origin="long")


def test_latents_take_the_captions_of_their_data_set_along(pixels, tmp_path):
  """Clips that could not be encoded are left out, in two splits."""
  root, out = tmp_path / "set", tmp_path / "latents"
  splits = ("train", "test")
  shutil.copytree(pixels.root, root, ignore=shutil.ignore_patterns("captions"))
  for path in root.glob("*train*"):
    shutil.copyfile(path, root / path.name.replace("train", "test"))
  path = root / "dataset.json"
  path.write_text(json.dumps(pixels.info | {
      "shards": dict.fromkeys(splits, 3), "clips": dict.fromkeys(splits, 40)}))
  recaption.recaption(Fake(), root)
  info = latents.describe(pixels.info, "digest", (4, 8, 8), (1, 2, 2), 1, 0,
                          latents.Extras(0, 0, False))
  latents.start(out, root, info)
  words, kept = tokenizer.of(pixels), {split: [] for split in splits}
  lost = {"train": {0, 17, *range(32, 40)}, "test": {0, 39}}
  for split in splits:
    found = manifest_lib.open_manifest(root, split)
    for shard in range(3):
      index = np.flatnonzero(found.entries["shard"] == shard).tolist()
      rejects = [stations.Rejected(i, "bad") for i in index if i in lost[split]]

      def each(index=index, split=split):
        for i in index:
          if i not in lost[split]:
            record = latents.Record(np.full((1, 2, 2, 1), i), ("own",), 8.0,
                                    (1, 16, 16))
            kept[split].append(i)
            yield latents.encode(record), latents.entry(record, words)

      shards.write_shard(out, split, shard, each(), latents.LATENTS, rejects)
  shards.finish(out, shards.collect(out, dict.fromkeys(splits, 3), info))
  origin = "fake-0123456789ab"
  assert captions_carry.carry(root, out) == [origin]
  for split in splits:
    source = captions.open_captions(manifest_lib.open_manifest(root, split), origin)
    store = captions.open_captions(manifest_lib.open_manifest(out, split), origin)
    assert len(kept[split]) == len(store.tokens) == 40 - len(lost[split])
    assert [store.of(j) for j in range(len(store.tokens))] == [
        source.of(i) for i in kept[split]]
  assert captions_carry.carry(root, out) == []
  recaption.recaption(Fake(digest=""), root)
  (out / "rejects.jsonl").write_text("")
  with pytest.raises(ValueError, match="does not say which clips were left out"):
    captions_carry.carry(root, out)
  path.write_text(path.read_text().replace("world:balls", "world:occluder"))
  with pytest.raises(ValueError, match="latents of .*: its source differ"):
    captions_carry.carry(root, out)


def test_ids_beyond_the_tokenizer_say_nothing(cached):
  """An embedding may be larger than a vocabulary."""
  words = tokenizer.of(cached)
  ids = [*words.encode("a red ball", 9)[:-1], words.vocab_size, tokenizer.EOS, 5]
  assert words.decode(np.array(ids)) == "a red ball"


def test_the_verb(cached, pixels, tmp_path, monkeypatch, capsys):
  asked = []
  monkeypatch.setattr(captioner, "load", lambda name: asked.append(name) or Fake())
  call = lambda *argv: main.main(["caption", *argv])
  video_io.write(tmp_path / "a.mp4", np.zeros((9, 32, 48, 3), np.uint8), 8)
  video_io.write(tmp_path / "b.png", np.zeros((1, 32, 48, 3), np.uint8), 1)
  assert call(f"{tmp_path}/a.mp4", f"{tmp_path}/b.png", "--captioner=m") == 0
  lines = capsys.readouterr().out.splitlines()
  assert lines[0] == f"{tmp_path}/a.mp4: (9, 32, 48, 3) at 8, level 0.000000"
  assert lines[1].startswith(f"{tmp_path}/b.png: (1, 32, 48, 3)")
  root = copied(cached, tmp_path / "set").root
  assert call(f"--data={root}", "--captioner=m", "--part=1/1") == 0
  assert "share 1/1 is done" in capsys.readouterr().out
  assert call(f"--data={root}", "--captioner=m") == 0
  assert ": captions of 40 train clips, 0 empty, 0 unreadable" in (
      capsys.readouterr().out)
  assert pathlib.Path(root, "captions", "fake-0123456789ab", "page.html").exists()
  for argv, said in (
      ((), "give either videos"), (("a.mp4", "--data=x"), "give either videos"),
      (("a.mp4", "--captioner=m", "--llm_url=http://x/v1", "--llm_model=y"),
       "not both"),
      (("a.mp4", "--llm_url=http://x/v1"), "--llm_model=NAME"),
      (("/nowhere.mp4", "--captioner=m"), "/nowhere.mp4"),
      (("--data=/nowhere", "--captioner=m"), "no finished data set"),
      ((f"--data={root}", "--captioner=m", "--origin=original"), "no name for an"),
      ((f"--data={root}", "--captioner=m", "--part=3/2"), "--part=3/2")):
    assert call(*argv) in (1, 2)
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("sora-jax caption: ") and said in error


def test_an_endpoint_is_shown_frames(cached, pixels):
  asked = by_endpoint.EndpointCaptioner(
      endpoint.Endpoint("http://127.0.0.1:9/v1", "Qwen/VL 2.5:7b", 0.5))
  assert recaption.origin_of(asked) == "endpoint-Qwen-VL-2.5-7b"
  with pytest.raises(ValueError, match="is shown frames, and this data set holds"):
    recaption.recaption(asked, cached.root)
  with pytest.raises(RuntimeError):
    recaption.recaption(asked, pixels.root)


def test_two_captions_of_an_origin_are_two_lengths(cached, tmp_path):
  found = copied(cached, tmp_path / "set")
  texts = [(f"short {i}", f"a long one {i}") for i in range(40)]
  captions_writer.start({"train": found}, "both", "")
  captions_writer.write_shard(found, "both", 0, texts, tokenizer.of(found))
  captions_writer.finish({"train": found}, "both", "")
  mix = caption_mix.open_mix(found, (
      ("both", "descriptive", 3.0), ("both", "short", 1.0),
      ("original", "short", 1.0)))
  assert mix.shares.tolist() == [0.6, 0.2, 0.2]
  assert mix.texts(5, ("own",)) == ("a long one 5", "short 5", "own")
  own = np.asarray(found.entries["text_tokens"])[:, 0]
  assert (mix.tokens(np.arange(40))[:, 2] == own).all()

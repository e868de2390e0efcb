"""Sources become shards that resume, that TFDS reads, and that count rejects."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from sora_jax import main
from sora_jax.data.prepare import prepare
from sora_jax.data.sources import mixture
from sora_jax.data.sources import world
from sora_jax.data.store import latents
from sora_jax.data.store import manifest as manifest_lib
from sora_jax.data.store import records
from sora_jax.data.store import shards
from sora_jax.media import video_io
from sora_jax.text import tokenizer
from sora_jax.worlds import facts as facts_lib

OPTIONS = world.WorldOptions(count=36, seed=3)


@pytest.fixture(scope="module")
def worlds(tmp_path_factory):
  out = tmp_path_factory.mktemp("data") / "worlds"
  prepare.prepare("world:balls,occluder", out, OPTIONS, workers=0, shard=10,
                  test_share=0.25, quiet=True)
  return out


def test_a_world_becomes_a_data_set(worlds):
  info = json.loads((worlds / "dataset.json").read_text())
  assert info["clips"] == {"train": 27, "test": 9}
  assert info["shards"] == {"train": 3, "test": 1}
  assert not (worlds / "parts").exists()
  keys = set()
  for split in ("train", "test"):
    manifest = manifest_lib.open_manifest(worlds, split)
    for i, row in enumerate(manifest.entries):
      item = records.read(manifest, i)
      keys.add(item.key)
      video, fps = video_io.read(item.data)
      assert video.shape[:3] == (row["frames"], row["height"], row["width"])
      assert item.fps == row["fps"] and (len(video) == 1 or fps == item.fps)
      assert len(item.captions) == 2 and row["words"] == len(
          item.captions[0].split())
      facts = facts_lib.from_json(item.facts, video.shape[2:0:-1], len(video),
                                  item.fps)
      assert not facts_lib.held_out(facts)
  assert len(keys) == 36
  tok = tokenizer.of(manifest_lib.open_manifest(worlds))
  assert tok.digest == info["tokenizer"] and tok.vocab_size == info["vocab_size"]
  assert not os.path.getsize(worlds / "rejects.jsonl")


def test_tfds_reads_the_folder_without_tensorflow(worlds):
  code = (
      "import sys, tensorflow_datasets as tfds\n"
      f"b = tfds.builder_from_directory({str(worlds)!r})\n"
      "d = b.as_data_source('train')\n"
      "x = d[11]\n"
      "print(len(d), x['frames'], len(x['captions']), x['key'].decode(), "
      "'tensorflow' in sys.modules)\n")
  out = subprocess.run([sys.executable, "-c", code], capture_output=True,
                       text=True, check=True).stdout.split()
  item = records.read(manifest_lib.open_manifest(worlds), 11)
  assert out == ["27", str(item.frames), "2", item.key, "False"]


def test_an_interrupted_run_is_finished_by_the_same_call(worlds, tmp_path,
                                                         monkeypatch):
  write, done = shards.write_shard, []

  def stop(*args):
    if len(done) == 2:
      raise KeyboardInterrupt
    done.append(args[1:3])
    return write(*args)

  run = lambda: prepare.prepare(
      "world:balls,occluder", tmp_path / "out", OPTIONS, workers=0, shard=10,
      test_share=0.25, quiet=True)
  monkeypatch.setattr(shards, "write_shard", stop)
  with pytest.raises(KeyboardInterrupt):
    run()
  with pytest.raises(ValueError, match="no finished data set"):
    manifest_lib.open_manifest(tmp_path / "out")
  again = []
  monkeypatch.setattr(shards, "write_shard",
                      lambda *a: again.append(a[1:3]) or write(*a))
  run()
  assert len(done) == 2 and len(again) == 2 and not set(done) & set(again)
  for split in ("train", "test"):
    a, b = (manifest_lib.open_manifest(d, split) for d in (worlds, tmp_path / "out"))
    assert np.array_equal(a.entries, b.entries) and a.digest == b.digest
    assert all(records.read(a, i) == records.read(b, i) for i in range(len(a)))
  monkeypatch.setattr(shards, "write_shard", None)
  assert run()["clips"]["train"] == 27  # nothing to do


def test_a_crash_between_renames_is_repaired(tmp_path, monkeypatch):
  run = lambda: prepare.prepare(
      "world:balls", tmp_path, world.WorldOptions(count=6), workers=0,
      shard=2, quiet=True)
  replace, count = os.replace, []

  def crash(source, target):
    if "-of-" in str(target):
      count.append(target)
      if len(count) == 2:
        raise OSError("the disk is full")
    replace(source, target)

  monkeypatch.setattr(os, "replace", crash)
  with pytest.raises(OSError, match="full"):
    run()
  monkeypatch.undo()
  run()
  manifest = manifest_lib.open_manifest(tmp_path)
  assert [records.read(manifest, i).frames for i in range(len(manifest))
          ] == manifest.entries["frames"].tolist()


def test_another_data_set_is_not_overwritten(worlds):
  with pytest.raises(ValueError, match="another data set.*seed"):
    prepare.prepare("world:balls,occluder", worlds, world.WorldOptions(
        count=36, seed=4), workers=0, shard=10, test_share=0.25)


@pytest.mark.slow
def test_workers_do_not_change_the_data(worlds, tmp_path):
  code = ("from sora_jax.data.prepare import prepare\n"
          "from sora_jax.data.sources import world\n"
          "if __name__ == '__main__':\n"
          "  prepare.prepare('world:balls,occluder', 'out', world."
          "WorldOptions(count=36, seed=3), workers=2, shard=10, "
          "test_share=0.25, quiet=True)\n")
  (tmp_path / "run.py").write_text(code)
  subprocess.run([sys.executable, "run.py"], cwd=tmp_path, check=True,
                 timeout=120)
  a, b = (manifest_lib.open_manifest(d) for d in (worlds, tmp_path / "out"))
  assert np.array_equal(a.entries, b.entries)
  assert all(records.read(a, i) == records.read(b, i) for i in range(len(a)))


def test_the_options_of_a_world_are_kept():
  source = mixture.mix("world:balls,occluder", world.WorldOptions(
      count=8, sizes=(((40, 32), 1),), frames=((9, 1),), fps=((4, 1),),
      objects=((2, 1),), plain=1.0)).sources[0]
  for i in range(len(source)):
    _, facts = source.draw(i)
    assert (facts.size, facts.frames, facts.fps) == ((40, 32), 9, 4)
    assert len(facts.objects) == 2 and facts.background.kind == "plain"
  with pytest.raises(ValueError, match="1.5 s"):
    mixture.mix("world:occluder", world.WorldOptions(
        frames=((5, 1),), fps=((8, 1),)))[0]


def folder(root):
  """A folder of good and bad files; returns the number of good ones."""
  video = np.random.default_rng(0).integers(
      0, 255, (9, 5, 7, 3), np.uint8).repeat(8, 1).repeat(8, 2)
  save = lambda name, v: video_io.write(root / name, v, 10)
  save("a.mp4", video)  # jsonl, two captions
  (root / "odd.mp4").write_bytes(video_io.encode(  # an odd size
      iter(video[:, :37, :51]), 10))
  save("one.mp4", video[:1])  # a single frame
  (root / "deep").mkdir()
  save("deep/image.png", video[:1])  # csv
  save("side.gif", video)  # a sidecar
  (root / "side.txt").write_text("紅いボール émigré 🎈\n\nlonger\n", "utf-8")
  save("silent.mp4", video)  # no caption
  (root / "broken.mp4").write_bytes((root / "a.mp4").read_bytes()[:300])
  (root / "concat.mp4").write_text("ffconcat version 1.0\nfile a.mp4\n")
  (root / "empty.mp4").write_bytes(b"")
  for name in ("broken", "concat", "empty"):
    (root / f"{name}.txt").write_text("a caption")
  lines = [
      json.dumps({"file": "a.mp4", "caption": "a red ball",
                  "descriptive": "a red ball moves"}),
      json.dumps({"file": "odd.mp4", "captions": ["odd", 3, "  "]}),
      '{"file": "one.mp4", "caption": NaN, "text": "one frame"}',
      '{"file": "silent.mp4", "caption": NaN}',
      "not json", '["a list"]',
      json.dumps({"file": "../outside.mp4", "caption": "x"}),
      json.dumps({"file": "gone.mp4", "caption": "x"}),
      json.dumps({"caption": "x"})]
  (root / "captions.jsonl").write_text("\n".join(lines))
  (root / "deep" / "t.csv").write_text(
      "path,caption\nimage.png,\"an image, still\"\n")
  return 5


def test_a_folder_becomes_a_data_set_and_rejects_are_counted(tmp_path):
  root = tmp_path / "in"
  root.mkdir()
  good = folder(root)
  info = prepare.prepare(f"folder:{root}", tmp_path / "out", test_share=0,
                         workers=0, shard=2, quiet=True)
  manifest = manifest_lib.open_manifest(tmp_path / "out")
  items = {records.read(manifest, i).key: records.read(manifest, i)
           for i in range(len(manifest))}
  assert len(items) == good and info["clips"] == {"train": good}
  assert items["a.mp4"].captions == ("a red ball", "a red ball moves")
  assert items["a.mp4"].data == (root / "a.mp4").read_bytes()  # as it was
  assert items["odd.mp4"].captions == ("odd",)
  assert (items["odd.mp4"].height, items["odd.mp4"].width) == (37, 51)
  assert items["one.mp4"].frames == 1
  assert items["one.mp4"].captions == ("one frame",)
  assert items["deep/image.png"].captions == ("an image, still",)
  assert items["side.gif"].captions == ("紅いボール émigré 🎈", "longer")
  rejects = [json.loads(x) for x in (
      tmp_path / "out" / "rejects.jsonl").read_text().splitlines()]
  reasons = {r["key"]: r["reason"] for r in rejects}
  print(json.dumps(reasons, indent=1))
  assert len(rejects) == info["rejected"] == 9
  assert reasons["silent.mp4"] == "no caption"
  assert {"broken.mp4", "concat.mp4", "empty.mp4"} < set(reasons)
  assert reasons["captions.jsonl:5"] == reasons["captions.jsonl:6"]
  assert "outside" in reasons["captions.jsonl:7"]
  assert not any(str(tmp_path) in r for r in reasons.values())


def test_nothing_left_is_refused_with_numbers(tmp_path):
  (tmp_path / "in").mkdir()
  run = lambda: prepare.prepare(f"folder:{tmp_path}/in", tmp_path / "out",
                                workers=0, quiet=True)
  with pytest.raises(ValueError, match="0 clips"):
    run()
  (tmp_path / "in" / "x.mp4").write_bytes(b"")
  with pytest.raises(ValueError, match="0 training clips of 1 items.*1 rej"):
    run()
  with pytest.raises(ValueError, match="no world 'cats'"):
    prepare.prepare("world:cats", tmp_path / "out")
  with pytest.raises(ValueError, match="unknown source"):
    prepare.prepare("cats", tmp_path / "out")


@pytest.mark.parametrize("flags, word", [
    ([], "name one source"), (["world:balls"], "--out"),
    (["world:balls", "--out=x", "--size=64"], "--size=64"),
    (["world:balls", "--out=x", "--frames=0"], "above 0"),
    (["world:balls", "--out=x", "--fps=8:-1"], "above 0"),
    (["world:balls", "--out=x", "--fps=1e400"], "finite"),
    (["world:balls", "--out=x", "--nonsense=1"], "nonsense"),
    (["world:balls", "--out=x", "--test_share=1"], "test_share")])
def test_the_verb_answers_a_mistake_in_one_line(capsys, tmp_path, monkeypatch,
                                                flags, word):
  monkeypatch.chdir(tmp_path)
  assert main.main(["prepare", *flags]) == 2
  error = capsys.readouterr().err
  assert error.count("\n") == 1 and word in error


def test_the_verb_prepares(capsys, tmp_path):
  assert main.main([
      "prepare", "world:balls", f"--out={tmp_path}/d", "--count=4",
      "--size=32x32,48x32:2", "--frames=5", "--fps=8", "--workers=0",
      "--test_share=0"]) == 0
  assert "4 train clips" in capsys.readouterr().out
  rows = manifest_lib.open_manifest(tmp_path / "d").entries
  assert set(rows["width"]) <= {32, 48} and set(rows["frames"]) == {5}


def test_thresholds_of_the_verb_take_fractions(tmp_path):
  flags = [f"--{name}=0.5" for name in (
      "min_motion", "max_motion", "max_aspect", "min_seconds", "max_seconds",
      "min_fps")]
  assert main.main(["prepare", "world:balls", f"--out={tmp_path}/d", "--count=2",
                    "--size=16x16", "--frames=1", "--workers=0", *flags]) == 0


@pytest.mark.parametrize("name, change, word", [
    ("train.npy", lambda data: b"", "is damaged"),
    ("train.npy", lambda data: data[:-9], "is damaged"),
    ("train.npy", lambda data: data[:30], "is damaged"),
    ("dataset.json", lambda data: b"[]", "is no JSON object but a list"),
    ("dataset.json", lambda data: b"{}", "is damaged"),
    ("dataset.json", lambda data: data[:-9], "is no JSON")])
def test_a_damaged_data_set_is_one_line(worlds, tmp_path, capsys, name, change,
                                        word):
  shutil.copytree(worlds, tmp_path / "d")
  path = tmp_path / "d" / name
  path.write_bytes(change(path.read_bytes()))
  assert main.main(["plan-data", "--config=configs/vae.py:tiny",
                    f"--data={tmp_path}/d"]) == 2
  error = capsys.readouterr().err
  assert error.count("\n") == 1 and f"{path} {word}" in error


def test_latents_are_written_and_read(worlds):
  rng = np.random.default_rng(0)
  draw = lambda *s: rng.standard_normal(s).astype(np.float16)
  record = latents.Record(
      draw(3, 4, 6, 8), ("a", "é"), 12.0, (9, 31, 47),
      {1: draw(2, 4, 6, 8), 2: draw(1, 4, 6, 8)}, {5: draw(1, 4, 6, 8)},
      (0, 3, 1, 2, 0, 3), draw(3, 4, 6, 8))
  back = latents.decode(latents.encode(record))
  assert back.captions == record.captions and back.fps == 12
  assert back.size == record.size and np.array_equal(back.z, record.z)
  assert all(np.array_equal(back.suffixes[c], record.suffixes[c]) for c in (1, 2))
  assert np.array_equal(back.keyframes[5], record.keyframes[5])
  assert back.region == record.region and np.array_equal(
      back.masked, record.masked)
  tok = tokenizer.of(manifest_lib.open_manifest(worlds))
  row = np.array([(0, 0, *latents.entry(record, tok))], latents.LATENTS)[0]
  assert row["suffix_starts"].tolist() == [1, 2, -1, -1] and row["t"] == 3
  assert row["region"].tolist() == [0, 3, 1, 2, 0, 3]
  assert row["text_tokens"].tolist() == [len(tok.encode(c, 64)) for c in ("a", "é")]
  for data in (b"", b"12345678", latents.encode(record)[:-40]):
    with pytest.raises(ValueError, match="no record"):
      latents.decode(data)

"""Tars, TFDS, shards, mixtures and shots become data sets; thresholds decide."""

import dataclasses
import functools
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds

import bad_files
from sora_jax import main
from sora_jax import stations
from sora_jax.data.prepare import beam_runner
from sora_jax.data.prepare import filters
from sora_jax.data.prepare import prepare
from sora_jax.data.prepare import report_page
from sora_jax.data.prepare import transcode
from sora_jax.data.sources import mixture
from sora_jax.data.sources import world
from sora_jax.data.store import manifest as manifest_lib
from sora_jax.data.store import records
from sora_jax.media import video_io


def folder(root, seeds):
  """A folder of small videos with sidecars."""
  root.mkdir()
  for i in seeds:
    (root / f"{i}.mp4").write_bytes(bad_files.mp4(i))
    (root / f"{i}.txt").write_text(f"disc {i}\n")
  return f"folder:{root}"


def run(source, out, **options):
  return prepare.prepare(source, out, workers=0, quiet=True,
                         **{"test_share": 0, **options})


def test_a_weighted_mixture_repeats_rows_and_not_records(tmp_path):
  a, b = folder(tmp_path / "a", (1, 2)), folder(tmp_path / "b", range(3, 13))
  info = run((f"3*{a}", f"0.5*{b}", "world:balls"), tmp_path / "out",
             options=world.WorldOptions(count=3, seed=1))
  manifest = manifest_lib.open_manifest(tmp_path / "out")
  keys = [records.read(manifest, i).key for i in range(len(manifest))]
  count = lambda part: sum(k.startswith(part) for k in keys)
  assert count("0/") == 6 and len({k for k in keys if k[0] == "0"}) == 2
  assert count("2/") == 3 and len(set(keys)) == len(
      np.unique(manifest.entries["record"]))
  assert count("1/") == 10 - info["left_out_by_weight"] < 10
  assert info["clips"] == {"train": len(manifest)} and not info["rejected"]
  read = tfds.builder_from_directory(str(tmp_path / "out")).as_data_source
  assert len(read("train")) == len(set(keys))
  again = run(f"shards:{tmp_path}/out", tmp_path / "again")
  assert again["clips"] == {"train": len(set(keys))}
  first, second = (manifest_lib.open_manifest(tmp_path / d) for d in ("out", "again"))
  bytes_of = lambda m: {records.read(m, i).key: records.read(m, i).data
                        for i in range(len(m))}
  assert bytes_of(first) == bytes_of(second)
  for bad, word in (("0*folder:x", "above 0"), ("2000*folder:x", "1000"),
                    (f"shards:{tmp_path}/out?spl=x", "no option 'spl'"),
                    (f"shards:{tmp_path}/none", "no finished data set")):
    with pytest.raises(ValueError, match=word):
      run(bad, tmp_path / "bad")


class Toy:
  """A source as small as the contract allows."""

  fingerprint = "two discs"

  def __len__(self):
    return 2

  def __getitem__(self, index):
    return stations.Raw(f"disc-{index}", bad_files.mp4(index), ("a disc",))


def test_a_source_is_a_line_of_the_table(tmp_path, monkeypatch):
  monkeypatch.setitem(mixture.SOURCES, "toy", lambda rest, options: Toy())
  source = folder(tmp_path / "a", (3, 4))
  info = run(("2*toy:discs", source), tmp_path / "out")
  assert info["clips"] == {"train": 6} and not info["rejected"]
  stored = json.loads((tmp_path / "out" / "source.json").read_text())["files"]
  assert stored[0] == "two discs" and len(stored) == 2


def write_tfds(root, features, examples):
  """A TFDS data set as others write it."""
  from array_record.python import array_record_module
  root.mkdir()
  features = tfds.features.FeaturesDict(features)
  template = tfds.core.ShardedFileTemplate(
      data_dir=str(root), dataset_name="other", filetype_suffix="array_record",
      template="{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}")
  writer = array_record_module.ArrayRecordWriter(
      str(root / "other-train.array_record-00000-of-00001"), "group_size:1")
  for example in examples:
    writer.write(features.serialize_example(features.encode_example(example)))
  writer.close()
  tfds.folder_dataset.write_metadata(
      data_dir=str(root), features=features, check_data=False, split_infos=[
          tfds.core.SplitInfo(name="train", shard_lengths=[len(examples)],
                              num_bytes=1, filename_template=template)])


def test_tfds_sets_are_read_without_building_them(tmp_path, monkeypatch):
  home = tmp_path / "home" / "other"
  home.mkdir(parents=True)
  videos = [bad_files.moving(5, 32, 48, seed=i) for i in range(3)]
  write_tfds(home / "1.0.0", {
      "clip": tfds.features.Tensor(shape=(None, 32, 48, 3), dtype=np.uint8),
      "label": tfds.features.ClassLabel(names=["red_disc", "blue_box"])},
             [{"clip": v, "label": i % 2} for i, v in enumerate(videos)])
  monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "home"))
  run("tfds:other?fps=12", tmp_path / "out")
  manifest = manifest_lib.open_manifest(tmp_path / "out")
  items = [records.read(manifest, i) for i in range(3)]
  assert {i.captions for i in items} == {("red disc",), ("blue box",)}
  assert {(i.frames, i.height, i.width, i.fps) for i in items} == {
      (5, 32, 48, 12.0)}
  for bad, word in (
      ("tfds:other", "0 training clips.*3 rejected"),  # no frame rate
      ("tfds:none", "tfds build none"), ("tfds:other?fps=x", "frames per"),
      ("tfds:other?video=x", "no feature 'x'"),
      ("tfds:other?split=x", "tfds:other")):
    with pytest.raises(ValueError, match=word):
      run(bad, tmp_path / "bad")


CLIP = stations.ScannedClip(
    item=0, key="a", file="f", start=0, stop=33, pts=0, whole=True, frames=33,
    fps=10.0, height=90, width=160, pixel_aspect=1.0, constant_fps=True,
    brightness=0.5, motion=2.0, static=0.5, words=4, captions_cut=0,
    phash="00" * 24)


@pytest.mark.parametrize("rule, change, word", [
    ({"min_frames": 34}, {}, "33 frames; the least is 34"),
    ({"min_seconds": 4}, {}, "3.3 seconds; the least is 4"),
    ({"max_seconds": 3}, {}, "3.3 seconds; the most is 3"),
    ({"min_side": 91}, {}, "90 pixels"), ({"max_aspect": 1.5}, {}, "aspect"),
    ({"min_fps": 12}, {}, "10 frames a second"),
    ({"min_motion": 3}, {}, "its motion is 2; the least"),
    ({"max_motion": 1}, {}, "its motion is 2; the most"),
    ({"max_static": 0.4}, {}, "still frames"),
    ({}, {"combed": 0.3}, "combed frames"),
    ({"min_words": 5}, {}, "4 words"),
    ({}, {"brightness": 0.001}, "brightness"),
    ({}, {"brightness": 0.999}, "brightness"), ({}, {"static": 1.0}, "still"),
    ({"max_tokens": 64, "token": (1, 8, 8)}, {"frames": 99}, "cut it shorter")])
def test_every_threshold_rejects_with_its_number(rule, change, word):
  rules = filters.Rules(**rule)
  assert filters.why_not(CLIP, filters.Rules()) is None
  assert word in filters.why_not(dataclasses.replace(CLIP, **change), rules)
  image = dataclasses.replace(CLIP, frames=1, static=0.0, motion=0.0)
  video_only = {"min_seconds", "max_seconds", "min_fps", "min_motion",
                "max_motion", "max_static"}
  if set(rule) <= video_only and not change:
    assert filters.why_not(image, rules) is None


def test_duplicates_by_file_and_by_picture():
  clip = functools.partial(dataclasses.replace, CLIP)
  rules = functools.partial(filters.keep, [
      CLIP, clip(key="c"), clip(key="b", file="g", phash="00" * 23 + "07"),
      clip(key="a#1", start=9)])
  kept, rejects = rules(filters.Rules())
  assert [c.key for c in kept] == ["a", "b", "a#1"]
  assert rejects[0].reason == "is a duplicate of a"
  kept, _ = rules(filters.Rules(duplicates=False, phash_distance=2))
  assert [c.key for c in kept] == ["a", "b"]  # three bits apart
  kept, rejects = rules(filters.Rules(phash_distance=3))
  assert [c.key for c in kept] == ["a"]
  assert "looks like a" in rejects[1].reason
  with pytest.raises(ValueError, match="phash_distance is 12"):
    filters.Rules(phash_distance=12)


def test_only_what_exceeds_the_limit_is_reduced(tmp_path):
  rules = filters.Rules(max_tokens=64, token=(4, 16, 16))
  assert filters.target(9, 48, 64, 1.0, rules) == (48, 64)
  height, width = filters.target(33, 480, 854, 1.0, rules)
  assert abs(width / height - 854 / 480) < 0.15 and 9 * -(-height // 16) * -(
      -width // 16) <= 64
  source = folder(tmp_path / "in", (1, 2))
  info = run(source, tmp_path / "out", rules=filters.Rules(
      max_tokens=64, token=(1, 16, 16), max_static=1))
  item = records.read(manifest_lib.open_manifest(tmp_path / "out"), 0)
  video, fps = video_io.read(item.data)
  assert info["recoded"] == {"reduced": 2} and fps == item.fps == 8
  assert video.shape[:3] == (9, item.height, item.width) != (9, 48, 64)
  assert filters.target(1, 36_000, 36_000, 1.0, filters.Rules(max_tokens=0)
                        )[0] < 20_000  # more than a reader decodes


def test_shots_are_cut_where_the_picture_changes(tmp_path):
  pytest.importorskip("scenedetect")
  parts = [bad_files.moving(24, 48, 64, seed=s) for s in (1, 4, 9)]
  parts[1] = 255 - parts[1]
  (tmp_path / "in").mkdir()
  video_io.write(tmp_path / "in" / "film.mp4", np.concatenate(parts), 12)
  (tmp_path / "in" / "film.txt").write_text("three discs")
  info = run(f"folder:{tmp_path}/in", tmp_path / "out", cuts=True,
             rules=filters.Rules(max_static=1))
  assert info["recoded"] == {"cut out": 3}
  manifest = manifest_lib.open_manifest(tmp_path / "out")
  for i in range(3):
    item = records.read(manifest, i)
    start, stop = map(int, item.key.split("#")[1].split("-"))
    assert (start, stop) in ((0, 24), (24, 48), (48, 72)) and item.fps == 12
    video, _ = video_io.read(item.data)
    true = np.concatenate(parts)[start:stop]
    assert np.abs(video.astype(int) - true).mean() < 4


def test_long_videos_become_equal_chunks(tmp_path):
  whole = bad_files.moving(41, 48, 64, seed=2)
  (tmp_path / "in").mkdir()
  for name, frames in (("long", 41), ("short", 16), ("image", 1)):
    video_io.write(tmp_path / "in" / f"{name}.mp4", whole[:frames], 8)
    (tmp_path / "in" / f"{name}.txt").write_text(f"a {name} one")
  info = run(f"folder:{tmp_path}/in", tmp_path / "out", chunk_seconds=2.,
             rules=filters.Rules(max_static=1))
  assert info["recoded"] == {"cut out": 3}
  manifest = manifest_lib.open_manifest(tmp_path / "out")
  found = [records.read(manifest, i) for i in range(len(manifest))]
  assert {item.key for item in found} == {
      "image.mp4", "short.mp4", "long.mp4#0-13", "long.mp4#13-27",
      "long.mp4#27-41"}
  for item in found:
    start, stop = map(int, (item.key + "#0-0").split("#")[1].split("-"))
    video, fps = video_io.read(item.data)
    assert fps == 8 and item.captions[0].startswith("a ")
    if stop:
      assert item.captions == ("a long one",)
      assert np.abs(video.astype(int) - whole[start:stop]).mean() < 4


def test_a_dry_run_writes_no_shard_and_other_thresholds_decode_nothing(
    tmp_path, monkeypatch, capsys):
  source = folder(tmp_path / "in", range(4))
  flags = ["prepare", source, f"--out={tmp_path}/out", "--workers=0",
           "--test_share=0"]
  assert main.main([*flags, "--dry-run"]) == 0
  assert "4 kept clips, 0 rejected" in capsys.readouterr().out
  names = os.listdir(tmp_path / "out")
  assert sorted(names) == ["parts", "rejects.jsonl", "report.html"]
  assert "A dry run" in (tmp_path / "out" / "report.html").read_text()
  monkeypatch.setattr("sora_jax.data.prepare.scan.scan", None)  # nothing to decode
  assert main.main([*flags, "--dry-run", "--min_words=3"]) == 2
  assert "4 rejected" in capsys.readouterr().err
  assert main.main(flags) == 0
  before = (tmp_path / "out" / "train.npy").stat().st_mtime_ns
  assert main.main(flags) == 0  # done: nothing is written again
  assert (tmp_path / "out" / "train.npy").stat().st_mtime_ns == before
  monkeypatch.undo()
  (tmp_path / "in" / "0.txt").write_text("another caption")
  assert main.main([*flags, f"--out={tmp_path}/new"]) == 0


def test_a_file_that_changes_after_the_scan_is_rejected(tmp_path, monkeypatch):
  source = folder(tmp_path / "in", range(3))
  true = transcode.transcode

  def change(raw, clip, rules):
    if raw.key == "1.mp4":
      (tmp_path / "in" / "1.mp4").write_bytes(bad_files.mp4(9))
    if raw.key == "2.mp4":
      os.unlink(tmp_path / "in" / "2.mp4")
    return true(raw, clip, rules)

  monkeypatch.setattr(transcode, "transcode", change)
  info = run(source, tmp_path / "out")
  lines = (tmp_path / "out" / "rejects.jsonl").read_text().splitlines()
  reasons = {r["key"]: r["reason"] for r in map(json.loads, lines)}
  assert info["clips"] == {"train": 1} and info["rejected"] == 2
  assert "changed" in reasons["1.mp4"] and reasons["2.mp4"] == "no such file"


def test_the_page_escapes_what_comes_from_the_data():
  columns = {k: np.array([1.0, 33, 33]) for k in ("frames",)}
  columns |= {"height": np.array([90.0, 90, 160]), "fps": np.full(3, 24.0),
              "width": np.array([160.0, 160, 90]), "words": np.arange(3) + 4.0}
  evil = "<script>alert(1)</script>\"'"
  text = report_page.render(
      {"source": evil, "items": 5, "clips": {"train": 3}, "rejected": 2,
       "shards": {"train": 1}, "ignored": {evil: 1}}, columns,
      [("AAAA", evil, evil)],
      [stations.Rejected(0, evil, evil, "AAAA\" onload=\"x"),
       stations.Rejected(1, "has 3 words; the least is 4", "b")])
  assert "<script" not in text and "onload=\"" not in text
  for word in ("16:9", "9:16", "160x90", "has N words", "Left out: 2"):
    assert word in text


def test_a_missing_extra_is_named(monkeypatch):
  monkeypatch.setitem(sys.modules, "apache_beam", None)  # as if not installed
  with pytest.raises(ValueError, match="install apache-beam"):
    beam_runner.run(print, [1], ())


@pytest.mark.slow
def test_the_example_of_the_format_page_runs(tmp_path):
  page_text = (pathlib.Path(__file__).parent.parent / "docs" / "data.md"
               ).read_text(encoding="utf-8")
  code = page_text.split("```python\n")[1].split("```")[0]
  done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path,
                        capture_output=True, text=True, timeout=300)
  assert done.returncode == 0, done.stderr
  assert done.stdout.startswith("{'train': 3} 0\n")

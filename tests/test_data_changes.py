"""A source that changes while its data set is made, or after."""

import json
import os

import pytest

import bad_files
from sora_jax import main
from sora_jax.data.store import manifest as manifest_lib
from sora_jax.data.store import records
from sora_jax.data.store import shards

CLIPS = 12


@pytest.fixture
def source(tmp_path):
  root = tmp_path / "in"
  root.mkdir()
  for i in range(CLIPS):
    (root / f"{i:02}.png").write_bytes(
        bad_files.picture("RGB", (20 * i, 90, 60)))
    (root / f"{i:02}.txt").write_text(f"picture {i}")
  return root


def change(root):
  """New captions, one of them empty, and a file that is broken."""
  for i in range(CLIPS):
    (root / f"{i:02}.txt").write_text(f"another caption {i}" if i != 4 else "")
  (root / "07.png").write_bytes(b"no picture")


def run(root, out):
  return main.main(["prepare", f"folder:{root}", f"--out={out}", "--shard=3",
                    "--workers=0"])


def captions(out):
  """The captions of all clips, in the order of the splits."""
  found = []
  for manifest in (manifest_lib.open_manifest(out, s) for s in ("train", "test")):
    found += [(manifest.split, *records.read(manifest, i).captions)
              for i in range(len(manifest))]
  return found


def stopped(call, monkeypatch, module, name, at):
  """Calls; the call `at` of a function of the module dies after its work."""
  work, done = getattr(module, name), []

  def stop(*args):
    result = work(*args)
    done.append(args)
    if len(done) == at:
      raise KeyboardInterrupt
    return result

  with monkeypatch.context() as patch:
    patch.setattr(module, name, stop)
    assert call() == 130


@pytest.mark.parametrize("module, name, at", [
    (shards, "write_shard", 2),  # between shards
    (records, "write_tfds", 1)])  # after they were named
def test_a_changed_source_begins_its_shards_anew(
    source, tmp_path, monkeypatch, caplog, module, name, at):
  out = tmp_path / "out"
  stopped(lambda: run(source, out), monkeypatch, module, name, at)
  change(source)
  assert run(source, out) == 0
  assert caplog.text.count("has changed") == 1
  assert run(source, tmp_path / "fresh") == 0
  assert captions(out) == captions(tmp_path / "fresh")
  assert len(captions(out)) == CLIPS - 2
  named = [sorted(os.listdir(d)) for d in (out, tmp_path / "fresh")]
  assert named[0] == named[1]
  reasons = (out / "rejects.jsonl").read_text().splitlines()
  assert {json.loads(r)["key"] for r in reasons} == {"04.png", "07.png"}


def test_a_finished_set_of_a_changed_source_is_refused(source, tmp_path, capsys):
  out = tmp_path / "out"
  state = lambda: {n: os.stat(out / n).st_mtime_ns for n in os.listdir(out)}
  assert run(source, out) == 0
  before = state()
  (source / "notes.pdf").write_text("of no use")
  assert run(source, out) == 0 and state() == before
  capsys.readouterr()
  (source / "03.txt").write_text("other words")
  assert run(source, out) == 2 and state() == before
  error = capsys.readouterr().err
  assert error.count("\n") == 1 and str(out) in error
  assert "has changed" in error and "--out" in error


@pytest.mark.parametrize("out", ["in/out", "in", "link/out"])
def test_nothing_is_written_into_the_source(source, tmp_path, capsys, out):
  os.symlink(source, tmp_path / "link")
  before = sorted(os.listdir(source))
  assert run(source, tmp_path / out) == 2
  error = capsys.readouterr().err
  assert error.count("\n") == 1 and f"lies in folder:{source}" in error
  assert sorted(os.listdir(source)) == before


def aged(path):
  """Rewrites a dataset.json or job.json as the version before wrote it."""
  info = json.loads(path.read_text())
  del info["format"]
  info["piece_seconds"] = info.pop("chunk_seconds")
  info["rules"]["near"] = info["rules"].pop("phash_distance")
  path.write_text(json.dumps(info))


def test_a_finished_set_of_an_older_version_is_left_alone(source, tmp_path,
                                                          capsys):
  out = tmp_path / "out"
  assert run(source, out) == 0
  aged(out / "dataset.json")
  digest = manifest_lib.open_manifest(out).digest
  state = {n: os.stat(out / n).st_mtime_ns for n in os.listdir(out)}
  assert run(source, out) == 0
  assert state == {n: os.stat(out / n).st_mtime_ns for n in os.listdir(out)}
  assert manifest_lib.open_manifest(out).digest == digest
  assert main.main(["prepare", f"folder:{source}", f"--out={out}", "--shard=3",
                    "--workers=0", "--phash_distance=2"]) == 2
  assert "holds another data set (rules" in capsys.readouterr().err


def test_a_stopped_run_of_an_older_version_goes_on(source, tmp_path,
                                                   monkeypatch):
  out, parts = tmp_path / "out", tmp_path / "out" / "parts"
  stopped(lambda: run(source, out), monkeypatch, shards, "write_shard", 2)
  aged(parts / "job.json")
  for path in parts.glob("scan*"):  # other names, and lines of other fields
    path.rename(parts / path.name.replace("scan", "survey"))
  (parts / "survey-00000.jsonl").write_text('{"item": 0, "look": "00"}\n')
  written = []
  monkeypatch.setattr(shards, "write_shard", lambda *a, true=shards.write_shard:
                      written.append(a[2]) or true(*a))
  assert run(source, out) == 0 and len(written) == 3  # of five
  assert run(source, tmp_path / "fresh") == 0
  assert captions(out) == captions(tmp_path / "fresh")


@pytest.mark.parametrize("old, new", [
    ("--near=3", "--phash_distance"), ("--piece_seconds=5", "--chunk_seconds")])
def test_flags_of_an_older_version_are_refused_with_the_new_name(
    source, tmp_path, capsys, old, new):
  assert main.main(["prepare", f"folder:{source}", f"--out={tmp_path}/out",
                    old]) == 2
  error = capsys.readouterr().err
  assert error.count("\n") == 1 and new in error

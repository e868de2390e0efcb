"""A model folder or a request that cannot be right is one line, told early."""


import errno
import os
import pathlib
import shutil

import experiment
import numpy as np
import pytest
import safetensors.numpy
import tiny_model

from sora_jax import files
from sora_jax import main
from sora_jax.formats import pretrained
from sora_jax.formats import weight_files
from sora_jax.formats import writing
from sora_jax.generation import pipeline
from sora_jax.generation import sampler

EDITS = experiment.load("faults/models")


@pytest.fixture(name="folder", scope="module")
def _folder(tmp_path_factory):
  at = tmp_path_factory.mktemp("model")
  writing.save(str(at / "m"), tiny_model.make(at), np.float32)
  return at / "m"


@pytest.fixture(name="drawn")
def _drawn(monkeypatch):
  """What is drawn; nothing should be."""
  seen = []
  monkeypatch.setattr(sampler, "sample", lambda *a: seen.append(a))
  return seen


def refused(capsys, *argv):
  code = main.main([str(a) for a in argv])
  error = capsys.readouterr().err.strip()
  assert code == 2 and "\n" not in error, error
  return error


def test_all_bad_lines_are_told_before_the_first_is_drawn(folder, tmp_path, capsys,
                                                          drawn):
  lines = ['{"prompt": "a"}', '{"prompt": "b", "size": "4x4"}', "[" * 99,
           '{"prompt": "c", "frames": 0}', '{"prompt": "d", "size": "x"}',
           '{"prompt": "e", "frames": 1000000000}', '{"prompt": "f", "fps": 0}']
  (tmp_path / "p.jsonl").write_text("\n".join(lines))
  argv = ["generate", f"--model={folder}", f"--prompts={tmp_path}/p.jsonl",
          f"--out={tmp_path}/out"]
  error = refused(capsys, *argv)
  assert "p.jsonl:3: is JSON nested" in error and "; 7: fps" in error
  del lines[6], lines[2]
  (tmp_path / "p.jsonl").write_text("\n".join(lines))
  error = refused(capsys, *argv)
  assert all(f"{i}: " in error for i in (2, 3, 4, 5)) and "; 1: " not in error
  assert not drawn and not (tmp_path / "out").exists()


@pytest.mark.parametrize("flags, said", [
    (["--frames=1000000000", "--out=x.mp4"], "GB of memory and this machine has"),
    (["--out=adir.png"], "adir.png is a folder: name a file"),
    (["--out=adir.png/"], "name a file that ends in")])
def test_what_cannot_be_written_or_held_is_told_first(folder, tmp_path, capsys,
                                                      drawn, monkeypatch, flags,
                                                      said):
  monkeypatch.chdir(tmp_path)
  (tmp_path / "adir.png").mkdir()
  error = refused(capsys, "generate", f"--model={folder}", "--prompt=a", *flags)
  assert said in error and not drawn


@pytest.mark.slow
def test_a_longer_video_is_refused_before_it_is_held(folder):
  model = pipeline.load(str(folder))
  video = np.zeros((5, 32, 32, 3), np.uint8)
  for ask in (lambda n: model.requests.extend(video, "a", frames=n),
              lambda n: model.requests.animate(video[0], "a", frames=n)):
    with pytest.raises(ValueError, match="GB of memory"):
      ask(10**10)


@pytest.mark.slow
def test_edited_folders_are_read_or_one_line(folder, tmp_path):
  """A sample of experiments/faults/models.py, which edits 200."""
  cases = EDITS.cases(folder)
  assert len(cases) == EDITS.CASES
  kinds = {}
  for i, case in enumerate([*cases[:77:11], *cases[77::25]]):
    kind, said = EDITS.judge(folder, case, tmp_path / str(i))
    assert kind != "BAD", (case, said)
    kinds.setdefault(kind, []).append(said)
  assert len(kinds["one line"]) > 5


@pytest.mark.parametrize("name, said", [
    ("/dev/zero", "lies outside"), ("vae/../../x", "lies outside"),
    ("pipe", "pipe is no regular file"), ("gone", "gone is missing")])
def test_sums_that_leave_the_folder(folder, tmp_path, name, said):
  at = tmp_path / "m"
  shutil.copytree(folder, at)
  os.mkfifo(at / "pipe")
  with open(at / "SHA256SUMS", "a") as file:
    file.write(f"{'0' * 64}  {name}\n")
  with pytest.raises(ValueError, match=said):
    pretrained.load(str(at))


def test_sums_that_lack_a_file_prove_nothing(folder, tmp_path):
  for name in ("model_index.json", "vae/config.json", "tokenizer/tokenizer.model",
               "scheduler/scheduler_config.json",
               "transformer/diffusion_pytorch_model.safetensors"):
    at = tmp_path / name.replace("/", "-")
    shutil.copytree(folder, at)
    sums = at / "SHA256SUMS"
    sums.write_text("".join(line for line in sums.read_text().splitlines(True)
                            if not line.endswith(f"  {name}\n")))
    with pytest.raises(ValueError, match=f"{name} is read and SHA256SUMS does not"):
      pretrained.load(str(at))
  (at / "notes.json").write_text("{}")  # nobody reads it
  weight_files.write_sums(at)
  pretrained.load(str(at), components=("vae",))


def test_weights_of_no_numbers_are_refused(folder, tmp_path):
  at = tmp_path / "m"
  shutil.copytree(folder, at)
  path = at / "transformer" / "diffusion_pytorch_model.safetensors"
  tensors = safetensors.numpy.load_file(path)
  name = sorted(tensors)[0]
  tensors[name] = tensors[name].astype(np.int8)
  safetensors.numpy.save_file(tensors, path)
  (at / "SHA256SUMS").unlink()
  with pytest.raises(ValueError, match=f"tensor {name} of .* is of dtype I8"):
    pretrained.load(str(at))


@pytest.mark.parametrize("at", range(5))
def test_a_full_disk_leaves_the_old_folder_and_no_half(folder, tmp_path, monkeypatch,
                                                       at):
  """Whichever file of the export does not fit."""
  shutil.copytree(folder, tmp_path / "m")
  model = pretrained.load(str(folder))
  names = [(weight_files.safetensors.numpy, "save_file"), (files, "write_json"),
           (files, "write_bytes"), (weight_files, "write_sums"),
           (writing, "_replace")]

  def full(*args, **named):
    raise (weight_files.safetensors.SafetensorError("no space left") if at == 0
           else OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))

  monkeypatch.setattr(*names[at], full)
  with pytest.raises(OSError, match="(?i)no space left"):
    writing.save(str(tmp_path / "m"), model)
  monkeypatch.undo()
  assert sorted(os.listdir(tmp_path)) == ["m"]
  assert pretrained.load(str(tmp_path / "m")).digest == model.digest


def test_nobody_can_plant_the_name_of_a_temporary_file(tmp_path, monkeypatch):
  victim = tmp_path / "victim"
  victim.write_text("mine")
  tokens = iter(["aa", "aa", "bb"])
  monkeypatch.setattr(files.secrets, "token_hex", lambda n: next(tokens))
  os.symlink(victim, tmp_path / "x.aa.tmp")
  files.write_text(tmp_path / "x", "new")
  assert victim.read_text() == "mine" and (tmp_path / "x").read_text() == "new"
  assert sorted(os.listdir(tmp_path)) == ["victim", "x", "x.aa.tmp"]
  os.umask(mask := os.umask(0))
  assert (tmp_path / "x").stat().st_mode & 0o777 == 0o666 & ~mask


def test_others_may_read_the_files_of_a_model_as_any_new_file(folder):
  os.umask(mask := os.umask(0))
  files_of_it = [p for p in pathlib.Path(folder).rglob("*") if p.is_file()]
  assert {p.stat().st_mode & 0o777 for p in files_of_it} == {0o666 & ~mask}


def test_an_export_does_not_write_through_a_planted_link(folder, tmp_path):
  (tmp_path / "away").mkdir()
  os.symlink(tmp_path / "away", tmp_path / "m.writing")
  with pytest.raises(OSError):
    writing.save(str(tmp_path / "m"), pretrained.load(str(folder)))
  assert not os.listdir(tmp_path / "away")

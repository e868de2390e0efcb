"""The notebook: paired with its text, and its cells run from an empty folder.

experiments/notebook/stranger.py runs them in an environment of their own; here
the model is one that answers at once, with the signatures of the real one.
"""

import importlib.util
import inspect
import pathlib
import subprocess
import sys
import types

import numpy as np
import pytest

import bad_files
import sora_jax
from sora_jax.generation import pipeline
from sora_jax.media import videos

ROOT = pathlib.Path(__file__).parent.parent
TEXT = (ROOT / "colab" / "first_video.py").read_text("utf-8")


def load(path):
  spec = importlib.util.spec_from_file_location(path.stem, path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


CELLS = load(ROOT / "experiments" / "notebook" / "cells.py")


class Answers:
  """A model of which every verb gives a moving square, if it can be asked so."""

  def __init__(self):
    self.asked = []

  def __getattr__(self, verb):
    signature = inspect.signature(getattr(pipeline.Pipeline, verb))

    def answer(*args, **named):
      asked = signature.bind(self, *args, **named).arguments
      self.asked.append((verb, asked))
      width, height = asked.get("size") or (64, 64)
      return videos.of(bad_files.moving(asked.get("frames") or 9, height, width),
                       8., {"prompt": asked.get("prompt", "")})

    return answer


@pytest.fixture
def model(monkeypatch, tmp_path):
  """The answering model, in an empty folder."""
  found = Answers()
  monkeypatch.setattr(sora_jax, "load", lambda name: found)
  (tmp_path / "empty").mkdir()
  monkeypatch.chdir(tmp_path / "empty")
  return found


def run(forms=None):
  """Runs all cells; what each shows."""
  names = {}
  return [CELLS.run(CELLS.filled(cell, forms or {}), names)
          for cell in CELLS.cells_of(TEXT)]


def test_the_notebook_is_the_text():
  pair = load(ROOT / "colab" / "pair.py")
  assert (ROOT / "colab" / "first_video.ipynb").read_text(
      "utf-8") == pair.notebook_of(TEXT)
  code = [source for kind, source in pair.cells_of(TEXT) if kind == "code"]
  assert code == [cell.strip("\n") for cell in CELLS.cells_of(TEXT)]
  assert len(code) == 10


def test_all_cells_run_in_an_empty_folder(model, capsys):
  shown = [x for x in run() if isinstance(x, np.ndarray)]
  assert len(shown) == 6  # five verbs, and what they go on from
  for video in shown:  # large enough to see, and each pixel a square
    width = int(video._repr_html_().split('width="')[1].split('"')[0])
    assert width >= 256 and width % video.shape[-2] == 0
  assert [verb for verb, _ in model.asked] == [
      "generate", "animate", "extend", "loop", "edit"]
  for name in ("video", "animated", "extended", "looped", "edited"):
    assert sora_jax.load_video(f"{name}.mp4").fps == 8
  assert "written: video.mp4" in capsys.readouterr().out


def test_a_clip_of_ones_own_goes_through_all_and_to_the_drive(
    model, tmp_path, monkeypatch):
  sora_jax.save_video(tmp_path / "mine.mp4", bad_files.moving(5, 40, 56), 8)
  asked = []
  colab = types.ModuleType("google.colab")
  colab.files = types.SimpleNamespace(
      upload=lambda: {str(tmp_path / "mine.mp4"): b""}, download=asked.append)
  colab.drive = types.SimpleNamespace(mount=asked.append)
  monkeypatch.setitem(sys.modules, "google", types.ModuleType("google"))
  monkeypatch.setitem(sys.modules, "google.colab", colab)
  run({"own": True, "download": True, "drive_folder": str(tmp_path / "drive"),
       "width": 72, "prompt_edit": "a cat"})
  given = dict(model.asked)
  assert given["extend"]["video"].shape == (5, 40, 56, 3)
  assert given["animate"]["image"].shape == (40, 56, 3)
  assert all(given[v]["size"] == (72, 64) for v in ("animate", "loop", "edit"))
  assert given["edit"]["prompt"] == "a cat"
  assert len(asked) == 6 and "/content/drive" in asked
  assert len(list((tmp_path / "drive").iterdir())) == 5


@pytest.mark.parametrize("source, target", [
    ("https://github.com/a/b", "git+https://github.com/a/b"),
    ("https://host/sora_jax-1-py3-none-any.whl", None),
    ("/content/sora_jax-1-py3-none-any.whl", None)])
def test_the_installation_leaves_jax_alone(source, target, monkeypatch):
  calls = []

  def pip(argv, **how):
    kept = pathlib.Path(argv[argv.index("-c") + 1]).read_text().split()
    calls.append((argv[-1], kept))
    return types.SimpleNamespace(returncode=0, stderr="")

  names = {}
  CELLS.run(CELLS.cells_of(TEXT)[1], names)
  monkeypatch.setattr(subprocess, "run", pip)
  names["install"](source)
  (asked, kept), = calls
  assert asked == (target or source)
  import jax
  assert {f"jax=={jax.__version__}", f"numpy=={np.__version__}"} <= set(kept)
  monkeypatch.setattr(subprocess, "run", lambda *a, **k: types.SimpleNamespace(
      returncode=1, stderr="ERROR: cannot install jax>=99"))
  with pytest.raises(RuntimeError, match="(?s)jax>=99.*a newer runtime"):
    names["install"](source)


def test_without_colab_nothing_is_uploaded():
  names = {}
  CELLS.run(CELLS.cells_of(TEXT)[1], names)
  with pytest.raises(RuntimeError, match="only Colab uploads"):
    names["upload"]()

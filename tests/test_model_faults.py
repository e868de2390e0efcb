"""A model folder or a request that cannot be right is one line, told early."""


import numpy as np
import pytest
import tiny_model

from sora_jax import main
from sora_jax.formats import pretrained
from sora_jax.generation import pipeline
from sora_jax.generation import sampler


@pytest.fixture(name="folder", scope="module")
def _folder(tmp_path_factory):
  at = tmp_path_factory.mktemp("model")
  pretrained.save(str(at / "m"), tiny_model.make(at), np.float32)
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


def test_a_longer_video_is_refused_before_it_is_held(folder):
  model = pipeline.load(str(folder))
  video = np.zeros((5, 32, 32, 3), np.uint8)
  for ask in (lambda n: model.requests.extend(video, "a", frames=n),
              lambda n: model.requests.animate(video[0], "a", frames=n)):
    with pytest.raises(ValueError, match="GB of memory"):
      ask(10**10)

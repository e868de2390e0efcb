"""An address of a bucket or of the web is refused where a path is wanted."""

import numpy as np
import pytest

import sora_jax
from sora_jax import files
from sora_jax import main
from sora_jax.cli import options
from sora_jax.data.prepare import prepare


@pytest.mark.parametrize("argv", [
    "train --config=configs/dit.py:test --data=x --workdir=gs://b/run",
    "train --config=configs/dit.py:test --data gs://b/d --workdir=run",
    "train --config=configs/dit.py:test --config.init_from=s3://b/m --data=x",
    "train --config=gs://b/dit.py:test --data=x --workdir=run",
    "prepare folder:clips --out=s3://b/data",
    "prepare world:balls 2.5*tar:https://host/a-{000..127}.tar --out=d",
    "prepare folder:gs://b/clips --out=d", "prepare tfds:gs://b/d --out=d",
    "plan-data --config=configs/vae.py:test --data=az://b/d",
    "plan --config=configs/dit.py:b --json=gs://b/x.json",
    "encode --vae=hdfs://m --data=d --out=z", "encode --vae=m --data=d --out gs://z",
    "export --workdir=gs://b/run --out=m",
    "generate --prompt=x --out=gs://b/x.mp4",
    "generate --prompts=http://host/p.jsonl --out=d",
    "generate --model=https://huggingface.co/a/b --prompt=x --out=x.mp4",
    "animate http://host/ball.png --out=x.mp4", "extend -model file:///m x.mp4",
    "loop gs://b/x.mp4 --out=y.mp4", "evaluate --out=gs://b/s",
    "evaluate --suite=vae --real=gs://b/d --out=s"])
def test_an_address_is_refused_in_one_line_before_anything(argv, tmp_path,
                                                           monkeypatch, capsys):
  monkeypatch.chdir(tmp_path)
  assert main.main(argv.split()) == 2
  error = capsys.readouterr().err
  assert error.count("\n") == 1 and "is an address" in error
  assert not list(tmp_path.iterdir())


def test_texts_and_paths_are_none():
  options.refuse_addresses([
      "--prompt=http://a is on a sign", "--prompt", "gs://x", "--negative=s3://",
      "--beam=--output=gs://b", "C:/clips", "folder:a//b", "world:balls,occluder",
      "3*folder:clips", "org/name", "--config=configs/dit.py:tiny",
      "--processes=0/2@host:1234", "--config.preview.prompts=('http://x',)"])
  files.refuse_address(None)


def test_the_same_from_python(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(ValueError, match="workdir gs://b/run is an address"):
    sora_jax.train("configs/dit.py:test", "data", "gs://b/run")
  with pytest.raises(ValueError, match="out s3://b is an address"):
    prepare.prepare("world:balls", "s3://b")
  with pytest.raises(ValueError, match="folder:gs://b is an address"):
    prepare.prepare(["world:balls", "folder:gs://b"], "out")
  for load in (sora_jax.load_video, sora_jax.load_image):
    with pytest.raises(ValueError, match="^http://host/a.mp4 is an address"):
      load("http://host/a.mp4")
  with pytest.raises(ValueError, match="^s3://b/a.png is an address"):
    sora_jax.save_video("s3://b/a.png", np.zeros((1, 8, 8, 3), np.uint8))
  assert not list(tmp_path.iterdir())

"""Lines that a user reads: names, numbers, what was meant, how a run ended."""

import os
import re
import signal
import types

import pytest

import sora_jax
from sora_jax import main
from sora_jax import messages
from sora_jax import ranges
from sora_jax.cli import config as config_lib
from sora_jax.cli import generate
from sora_jax.cli import options
from sora_jax.cli import prepare
from sora_jax.cli import sampling
from sora_jax.cli import train
from sora_jax.generation import requests
from sora_jax.tasks import build
from sora_jax.training import hooks as hooks_lib
from sora_jax.training import stopping
import toy_run

DIT = "configs/dit.py:tiny"


def test_the_version(capsys):
  assert main.main(["--version"]) == 0
  assert re.fullmatch(rf"sora_jax {sora_jax.__version__}, jax [\d.]+, Python "
                      r"3\.[\d.]+\n", capsys.readouterr().out)


SPELLED = {
    ("prepare", "--dry-run"): ("dry_run", True),
    ("prepare", "--dry_run"): ("dry_run", True),
    ("prepare", "--nodry-run"): ("dry_run", False),
    ("prepare", "--no-dry-run"): ("dry_run", False),
    ("prepare", "--max-seconds=3"): ("max_seconds", 3),
    ("prepare", "-min-frames", "5"): ("min_frames", 5),
    ("generate", "--prompt=a-b --max-seconds"): ("prompt", "a-b --max-seconds"),
    ("generate", "--negative", "-x"): ("negative", "-x"),
}


@pytest.mark.parametrize("argv", SPELLED, ids=" ".join)
def test_a_dash_in_a_name_is_an_underscore(argv):
  f = (prepare._flags() if argv[0] == "prepare" else
       sampling.define(requests.Requests.generate))
  name, value = SPELLED[argv]
  assert f(argv) == [argv[0]] and f[name].value == value


@pytest.mark.parametrize("key, value", [
    ("optimizer.learning-rate", 0.5), ("data.cache-bytes", 7),
    ("text-encoder.layers", 3)])
def test_so_it_is_in_a_config(key, value):
  f = options.Flags()
  argv = config_lib.define(f, [
      "train", f"--config={DIT}", f"--config.{key}={value}"])
  f(argv)
  found = f.config
  for part in key.replace("-", "_").split("."):
    found = found[part]
  assert found == value


@pytest.mark.parametrize("old", ["--piece-seconds=1", "--piece_seconds=1"])
def test_an_old_name_with_dashes_names_the_new_one(capsys, old):
  assert main.main(["prepare", "world:balls", old]) == 2
  assert "--piece_seconds is called --chunk_seconds" in capsys.readouterr().err


KEYS = {
    "optimizer.lr": "the nearest is 'optimizer.learning_rate'",
    "optimizer.wd": "the nearest is 'optimizer.weight_decay'",
    "learning_rate": "the nearest is 'optimizer.learning_rate'",
    "transformer.num_heads": "the nearest is 'transformer.heads'",
    "data.sahpes": "the nearest is 'data.shapes'",
    "optimizer.warmup_steps": "the nearest is 'optimizer.warmup'",
    "optimizer.beta2": "there are optimizer.clip, optimizer.decay",
}


@pytest.mark.parametrize("key", KEYS)
def test_an_unknown_key_names_the_one_that_was_meant(capsys, key):
  assert main.main(["plan-data", f"--config={DIT}", f"--config.{key}=1",
                    "--data=/nowhere"]) == 2
  assert KEYS[key] in capsys.readouterr().err


def test_so_it_does_in_python():
  with pytest.raises(ValueError, match="lr, the nearest is learning_rate"):
    ranges.check_known("optimizer", ["lr"], ["clip", "learning_rate"])
  with pytest.raises(ValueError, match="it has clip, decay"):
    ranges.check_known("optimizer", ["xyz"], ["clip", "decay"])
  assert messages.nearest("x", []) is None


@pytest.mark.parametrize("number, text", [
    (0, "0 frames"), (1, "1 frame"), (2, "2 frames"), (1200, "1,200 frames")])
def test_things_are_counted_as_people_do(number, text):
  assert messages.count(number, "frame", ",") == text


LINES = {
    ("connect", "a.mp4", "--out=x.mp4"):
        "1 input given (a.mp4): write sora-jax connect A B --FLAG=VALUE ..",
    ("animate", "--out=x.mp4"):
        "no input is given: write sora-jax animate IMAGE --FLAG=VALUE ..",
    ("extend", "a", "b", "--out=x.mp4"): "2 inputs given (a b): write",
    ("generate", "--prompt=a"): "--out=FILE is needed, which ends in .mp4",
    ("loop", "a.mp4"): "--out=FILE is needed",
    ("inpaint", "a.mp4", "--out=x.mp4"): "--region=x,y,w,h or",
    ("upscale", "a.mp4", "--out=x.mp4"): "--size=WxH is needed",
    ("generate", "--prompt=a", "--out=x.mp4", "--model=none"):
        "or the name of a model of this package: tiny, worlds/captioner",
    ("generate", "--prompt=a", "--out=x.mp4", "--fsdp=9"): "this machine has ",
    ("caption", "--data=/nowhere"): "/nowhere holds no finished data set",
    ("encode", "--vae=tiny", "--data=/nowhere", "--out=x"):
        "/nowhere holds no finished data set",
    ("plan", f"--config={DIT}", "--what=decode"): "--topology=KIND:AxBxC is needed",
}


@pytest.mark.parametrize("argv", LINES, ids=" ".join)
def test_a_mistake_reads_well(capsys, argv):
  assert main.main([*argv]) == 2
  error = capsys.readouterr().err
  assert LINES[argv] in error and error.count("\n") == 1
  assert "None" not in error and "1 inputs" not in error


def test_latents_of_no_vae_are_named(monkeypatch):
  vae = types.SimpleNamespace(digest="0123")
  monkeypatch.setattr(build.pretrained, "load", lambda *_, **__: vae)
  monkeypatch.setattr(build.find, "find", lambda name: name)
  manifest = types.SimpleNamespace(root="data/mine", info={})
  with pytest.raises(ValueError, match="data/mine names no VAE"):
    build.vae_of_latents(manifest, "x")


@pytest.mark.parametrize("number, reason, code", [
    (signal.SIGINT, "interrupt", 130), (signal.SIGTERM, "signal", 0)])
def test_ctrl_c_saves_and_ends_with_130(tmp_path, number, reason, code):
  found = []

  def work():
    hook = hooks_lib.Hook(2, lambda step, state: os.kill(os.getpid(), number))
    found.append(toy_run.train(tmp_path, 9, hooks=[hook]))
    return found[0].reason

  assert train.together("", work) == code
  assert found[0].reason == reason
  assert os.listdir(tmp_path / "checkpoints")
  assert stopping.reason_of({"signal", "interrupt"}) == "interrupt"


def test_a_file_of_one_prompt(tmp_path, capsys, monkeypatch):
  (tmp_path / "p.jsonl").write_text('{"prompt": "a red ball"}\n')
  monkeypatch.setattr(generate.sampling, "load", lambda f: types.SimpleNamespace(
      model=types.SimpleNamespace(digest="d")))
  monkeypatch.setattr(generate.os.path, "exists", lambda path: True)
  assert generate.run(["generate", f"--prompts={tmp_path}/p.jsonl",
                       f"--out={tmp_path}"]) == 0
  assert "1 prompt, 1 of them there already" in capsys.readouterr().out

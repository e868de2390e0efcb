"""The whole path by its commands: clips to a model folder to a video file.

Every step is the real command in a real process or in this one; the runs are
the `test` variants of the committed configs.
"""

import dataclasses
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

import sora_jax
from sora_jax import main
from sora_jax.data.store import manifest
from sora_jax.formats import pretrained
from sora_jax.formats import writing
from sora_jax.media import video_io
from sora_jax.text import tokenizer
from sora_jax.training import checkpoint

ROOT = pathlib.Path(__file__).parent.parent
# One program to compile instead of two.
VAE = (f"--config={ROOT}/configs/vae.py:test",
       "--config.data.buckets=((5, 16, 16, 2, 1.0),)")
DIT = (f"--config={ROOT}/configs/dit.py:test",
       "--config.data.shapes=((4, 64),)", "--config.loop.preview_every=0")

pytestmark = pytest.mark.quick_compile


def command(*argv, code=0):
  """Runs a verb in this process."""
  assert main.main([str(a) for a in argv]) == code


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
  """A folder with data, latents and a model made by the test configs."""
  at = tmp_path_factory.mktemp("chain")
  command("prepare", "world:balls", f"--out={at}/data", "--count=96",
          "--size=32x32:2,48x32", "--frames=1,5:3,9", "--plain=1",
          "--workers=1", "--test_share=0.1")
  command("train", *VAE, f"--data={at}/data", f"--workdir={at}/vae_run")
  command("export", f"--workdir={at}/vae_run", f"--out={at}/vae")
  command("encode", f"--vae={at}/vae", f"--data={at}/data",
          f"--out={at}/latents")
  train(at, "dit_run").wait()
  command("export", f"--workdir={at}/dit_run", f"--out={at}/model")
  return at


def train(at, workdir):
  """Starts the transformer's training in a process of its own."""
  return subprocess.Popen(
      [sys.executable, "-m", "sora_jax", "train", *DIT, f"--data={at}/latents",
       f"--vae={at}/vae", f"--workdir={at}/{workdir}"], cwd=ROOT,
      stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)


def metrics(folder):
  """The lines of metrics.jsonl without what depends on the clock."""
  lines = (folder / "metrics.jsonl").read_text().splitlines()
  return [{k: v for k, v in json.loads(line).items() if k != "timing"}
          for line in lines]


def leaves(folder, step):
  """Digest of every leaf of a checkpoint, as it was written."""
  file, = (folder / "checkpoints" / str(step) / "meta").glob("*metadata*")
  return json.loads(file.read_text())["leaves"]


@pytest.mark.slow
def test_a_run_that_was_killed_equals_one_that_was_not(chain):
  process = train(chain, "killed")
  log = chain / "killed" / "metrics.jsonl"
  start = time.monotonic()
  while not log.exists() or len(log.read_text().splitlines()) < 13:
    assert process.poll() is None, "it ended before it could be killed"
    assert time.monotonic() - start < 600
    time.sleep(0.05)
  process.send_signal(signal.SIGKILL)
  assert process.wait() == -signal.SIGKILL
  again = train(chain, "killed")
  assert again.wait() == 0
  assert metrics(chain / "killed") == metrics(chain / "dit_run")
  assert [m["step"] for m in metrics(chain / "killed")] == list(range(1, 21))
  whole = leaves(chain / "dit_run", 20)
  assert leaves(chain / "killed", 20) == whole and len(whole) > 50


@pytest.mark.slow
def test_the_model_folder_holds_the_averaged_weights(chain):
  params, _, step = checkpoint.load_ema(chain / "dit_run")
  model = pretrained.load(str(chain / "model"))
  assert step == 20
  # Latents name the VAE: it is the same in whatever folder it lies.
  assert model.vae_digest == pretrained.load(str(chain / "vae")).vae_digest
  for name in ("transformer", "text_encoder"):
    ours, theirs = params[name], getattr(model, name).params
    for a, b in zip(*(map(np.asarray, jax.tree.leaves(t))
                      for t in (ours, theirs))):
      np.testing.assert_allclose(a, b, atol=2e-3)


@pytest.mark.slow
def test_encoding_in_shares_equals_encoding_at_once(chain, tmp_path):
  encode = ["encode", f"--vae={chain}/vae", f"--data={chain}/data",
            f"--out={tmp_path}/z"]
  for share in ("2/2", "1/2"):
    command(*encode, f"--part={share}")
    assert not (tmp_path / "z" / "dataset.json").exists()
  command(*encode)
  command(*encode[:-1], f"--out={tmp_path}/y", "--part=3/2", code=2)
  for split in ("train", "test"):
    shares, whole = (manifest.open_manifest(at, split)
                     for at in (tmp_path / "z", chain / "latents"))
    assert shares.info == whole.info
    np.testing.assert_array_equal(shares.entries, whole.entries)
    assert all(shares.record(i) == whole.record(i) for i in range(len(whole)))


@pytest.mark.slow
def test_a_decoder_goes_on_alone(chain, tmp_path, capsys):
  command("train", *VAE, f"--data={chain}/data", f"--workdir={tmp_path}/run",
          f"--config.init_from={chain}/vae", "--config.steps=3",
          "--config.objective.decoder_only=True",
          "--config.optimizer.frozen=/(encoder|quant_conv)/",
          "--config.loop.preview_every=99")
  command("export", f"--workdir={tmp_path}/run", f"--out={tmp_path}/vae")
  old, new = (pretrained.load(str(at)) for at in (chain / "vae",
                                                  tmp_path / "vae"))
  np.testing.assert_array_equal(old.latent_mean, new.latent_mean)
  for name, params in old.vae.params.items():
    same = [np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, (
        params, new.vae.params[name])))]
    assert all(same) == (name in ("encoder", "quant_conv")), name
  command("export", f"--model={chain}/model", f"--vae={tmp_path}/vae",
          f"--out={tmp_path}/model")
  both = pretrained.load(str(tmp_path / "model"))
  for a, b in zip(jax.tree.leaves(both.vae.params), jax.tree.leaves(new.vae.params)):
    np.testing.assert_array_equal(a, b)
  other = dataclasses.replace(old, vae=dataclasses.replace(
      old.vae, params=old.vae.params | {"encoder": jax.tree.map(
          lambda x: 2 * np.asarray(x), old.vae.params["encoder"])}))
  writing.save(str(tmp_path / "other"), other, np.float32)
  command("export", f"--model={chain}/model", f"--vae={tmp_path}/other",
          f"--out={tmp_path}/no", code=2)
  assert "makes other latents" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("out, frames, size", [
    ("v.mp4", 5, "32x32"), ("v.gif", 6, "41x37"), ("v.webp", 2, "48x32"),
    ("v.png", 1, "32x64")])
def test_a_prompt_becomes_a_file(chain, tmp_path, out, frames, size):
  command("generate", "--prompt=a red ball moves to the right",
          f"--model={chain}/model", f"--frames={frames}", f"--size={size}",
          f"--out={tmp_path}/{out}")
  video, _ = video_io.read(str(tmp_path / out))
  width, height = map(int, size.split("x"))
  assert video.shape == (frames, height, width, 3)


@pytest.mark.slow
def test_python_and_command_make_the_same_video(chain, tmp_path):
  model = sora_jax.load(str(chain / "model"))
  one = model.generate("a blue square", size=(32, 32), frames=5, seed=3)
  two = model.generate("a blue square", size=(32, 32), frames=5, seed=3)
  assert one.dtype == np.uint8 and one.shape == (5, 32, 32, 3)
  np.testing.assert_array_equal(one, two)
  other = model.generate("a blue square", size=(32, 32), frames=5, seed=4)
  assert (one != other).any()
  both = model.generate_batch(["a red disc", "a blue square"], (32, 32), 5,
                              seeds=[8, 3])
  assert np.abs(both[1].astype(int) - one).max() <= 1


@pytest.mark.slow
@pytest.mark.parametrize("argv, what", [
    (["--size=8x64"], "below one patch"), (["--frames=0"], "frames 0"),
    (["--size=4096x4096", "--frames=241"], "tokens"),
    (["--prompt= "], "prompt is empty"), (["--fps=0"], "fps"),
    (["--out=x.avi"], "ends in"), (["--sise=64x64"], "size"),
    (["--model=nothing"], "no model")])
def test_a_mistake_is_one_line(chain, tmp_path, capsys, argv, what):
  base = [f"--model={chain}/model", "--prompt=a red ball",
          f"--out={tmp_path}/x.mp4"]
  names = {a.split("=")[0] for a in argv}
  base = [a for a in base if a.split("=")[0] not in names]
  command("generate", *base, *argv, code=2)
  error = capsys.readouterr().err.strip()
  assert what in error and "\n" not in error
  assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_another_config_is_refused_and_nothing_lost(chain, capsys):
  before = sorted(os.listdir(chain / "dit_run" / "checkpoints"))
  command("train", *DIT, "--config.transformer.layers=3",
          f"--data={chain}/latents", f"--vae={chain}/vae",
          f"--workdir={chain}/dit_run", code=2)
  assert "transformer.layers: 2 -> 3" in capsys.readouterr().err
  assert sorted(os.listdir(chain / "dit_run" / "checkpoints")) == before


@pytest.mark.slow
def test_damaged_weights_are_seen(chain, tmp_path, capsys):
  folder = tmp_path / "model"
  shutil.copytree(chain / "model", folder)
  file = next(folder.glob("transformer/*.safetensors"))
  data = bytearray(file.read_bytes())
  data[-100] ^= 1
  file.write_bytes(data)
  command("generate", f"--model={folder}", "--prompt=a red ball",
          f"--out={tmp_path}/x.mp4", code=2)
  assert "damaged" in capsys.readouterr().err


@pytest.mark.slow
def test_latents_of_another_vae_are_refused(chain, tmp_path, capsys):
  folder = tmp_path / "vae"
  shutil.copytree(chain / "vae", folder)
  model = pretrained.load(str(folder))
  writing.save(str(folder), model, np.float32)
  command("train", *DIT, f"--data={chain}/latents", f"--vae={folder}",
          f"--workdir={tmp_path}/w", code=2)
  assert "latents of the VAE" in capsys.readouterr().err


@pytest.mark.slow
def test_a_model_that_reads_otherwise_is_refused(chain, tmp_path, capsys):
  model = shutil.copytree(chain / "model", tmp_path / "model")
  tokenizer.train(["another text", "and one more of them"],
                  str(model / "tokenizer" / "tokenizer.model"), 40)
  (model / "SHA256SUMS").unlink()
  command("train", *DIT, f"--data={chain}/latents", f"--vae={chain}/vae",
          f"--config.init_from={model}", f"--workdir={tmp_path}/run", code=2)
  assert "has another tokenizer" in capsys.readouterr().err

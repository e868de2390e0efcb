"""Training from Python, a kind of config of one's own, and older runs."""

import pathlib
import sys
import tarfile
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import test_closures

import sora_jax
from sora_jax import main
from sora_jax import mesh as mesh_lib
from sora_jax.data.pixels import buckets
from sora_jax.tasks import config
from sora_jax.tasks import task
from sora_jax.training import checkpoint
from sora_jax.training import loop
from sora_jax.training import metrics
from sora_jax.training import optimizer
from sora_jax.training import state
from sora_jax.training import stopping
import toy_run

ROOT = pathlib.Path(__file__).parent.parent
STORED = ROOT / "tests" / "stored" / "run.tar.xz"
LINE = '''
import ml_collections

def get_config(variant=""):
  return ml_collections.ConfigDict(dict(
      kind="line", seed=0, steps=4, mesh=dict(data=1), optimizer=dict(warmup=0),
      data=dict(buckets=((1, 16, 16, 4, 1.0),)),
      loop=dict(log_every=1, save_every=2, preview_every=0)))
'''


def line_task():
  """Maps each pixel to itself: the least that a task can be."""

  def objective(params, batch, key, step):
    del key, step
    x = batch.video / 255.

    def loss(params):
      return jnp.mean((x @ params["line"]["kernel"] - x) ** 2)

    value, grads = jax.value_and_grad(loss)(params)
    return grads, {"loss": value}

  return task.Task(
      lambda cfg, manifest: buckets.pixel_plan(
          manifest, buckets.PixelConfig(**config.section(cfg.data))),
      lambda run: task.Recipe(
          objective, lambda key: {"line": {"kernel": jnp.zeros((3, 3))}}))


@pytest.fixture(scope="module")
def data(pixels):
  return pixels.root


@pytest.mark.slow
def test_training_from_python_is_resumed_and_equals_a_whole_run(
    data, tmp_path, monkeypatch):
  cfg = config.load(f"{ROOT}/configs/vae.py:test")
  cfg.steps = 4
  cfg.vae.update(base=4, mults=(1,), temporal=(), z=2)
  cfg.optimizer.name = "adamw"
  cfg.data.buckets = ((1, 16, 16, 4, 1.0),)
  cfg.loop.preview_every = 0
  whole = sora_jax.train(cfg, data, tmp_path / "whole")
  log = tmp_path / "run" / metrics.METRICS
  with monkeypatch.context() as patch:
    patch.setattr(stopping.Stop, "wish", lambda self, reserve=0.0: (
        stopping.SIGNAL if log.exists() and log.read_text() else ""))
    first = sora_jax.train(cfg, data, tmp_path / "run")
  assert first.reason == "signal" and 0 < int(first.state.step) < 4
  again = sora_jax.train(cfg, str(data), str(tmp_path / "run"))
  assert again.reason == whole.reason == "done"
  assert int(again.state.step) == 4
  toy_run.same(again.state, whole.state)


def test_a_kind_of_ones_own_is_a_task_and_a_line(data, tmp_path, monkeypatch,
                                                 capsys):
  module = types.ModuleType("line_task")
  module.TASK = line_task()
  monkeypatch.setitem(sys.modules, "line_task", module)
  monkeypatch.setitem(task.TASKS, "line", "line_task")
  file = tmp_path / "line.py"
  file.write_text(LINE)
  run = lambda *argv: main.main([str(a) for a in argv])
  asked = f"--config={file}"
  assert run("train", asked, f"--data={data}", f"--workdir={tmp_path}/run") == 0
  params, _, step = checkpoint.load_ema(tmp_path / "run")
  assert step == 4 and np.abs(params["line"]["kernel"]).max() > 0
  capsys.readouterr()
  assert run("plan-data", asked, f"--data={data}") == 0
  assert "40 clips" in capsys.readouterr().out
  assert run("export", f"--workdir={tmp_path}/run", f"--out={tmp_path}/m") == 2
  assert "kind line cannot be exported" in capsys.readouterr().err


def test_a_kind_that_there_is_not_is_refused(tmp_path):
  with pytest.raises(ValueError, match="'nothing', it must be one of vae, dit"):
    task.find("nothing")
  cfg = config.load(f"{ROOT}/configs/vae.py:test")
  cfg.kind = "nothing"
  with pytest.raises(ValueError, match="kind is 'nothing'"):
    sora_jax.train(cfg, tmp_path, tmp_path)


def test_a_config_without_a_section_is_refused_by_its_name(tmp_path):
  cfg = {"kind": "vae", "seed": 0, "steps": 1, "mesh": {}, "data": {}}
  with pytest.raises(ValueError, match="the key optimizer is missing"):
    sora_jax.train(cfg, tmp_path, tmp_path)


@pytest.mark.parametrize("old, new", config.RENAMED_KEYS.items())
def test_the_old_name_of_a_key_is_refused_with_the_new_one(old, new, tmp_path,
                                                           capsys):
  told = f"the config key {old} is called {new} now"
  asked = ["plan-data", "--data=/nowhere"]
  assert main.main([*asked, f"--config={ROOT}/configs/vae.py:base",
                    f"--config.{old}=4"]) == 2
  assert told in capsys.readouterr().err
  *path, last = old.split(".")
  file = tmp_path / "mine.py"
  file.write_text("import ml_collections\n\ndef get_config():\n"
                  "  return ml_collections.ConfigDict({'kind': 'vae', "
                  + "".join(f"'{p}': {{" for p in path) + f"'{last}': 4"
                  + "}" * len(path) + "})\n")
  assert main.main([*asked, f"--config={file}"]) == 2
  error = capsys.readouterr().err
  assert told in error and error.count("\n") == 1


def old_run():
  """The program, batches and config of tests/stored/run.tar.xz, in new names."""

  def objective(params, batch, key, step):
    def loss(p):
      y = batch["x"] @ p["vae"]["kernel"] + p["vae"]["bias"]
      z = batch["x"] @ p["discriminator"]["kernel"]
      return jnp.mean((y - 1) ** 2) + jnp.mean(z ** 2)

    value, grads = jax.value_and_grad(loss)(params)
    return grads, {"loss": value, "clips": jnp.float32(4)}

  def init(key):
    return {"vae": {"kernel": jnp.eye(3), "bias": jnp.zeros(3)},
            "discriminator": {"kernel": jnp.ones((3, 2))}}

  def batches(start):
    for step in range(start, 99):
      yield step, {"x": jnp.full((4, 3), np.nan if step == 3 else 1. + step)}

  program = state.program(
      objective, init, optimizer.Optimizer(learning_rate=.01, warmup=0, steps=6),
      mesh_lib.make_mesh(devices=jax.devices()[:1]), {}, jax.random.key(0))
  return program, batches, {
      "vae_config": "configs/vae.py:base", "steps": 6,
      "objective": {"adversarial": 1.0, "discriminator_width": 4}}


@pytest.mark.slow
def test_a_work_folder_of_an_older_version_goes_on(tmp_path):
  with tarfile.open(STORED) as file:
    file.extractall(tmp_path / "old", filter="data")
  program, batches, cfg = old_run()
  train = lambda at, steps: loop.train(
      program, batches, steps=steps, workdir=tmp_path / at, config=cfg,
      key=jax.random.key(0), with_new_names=config.with_new_names)
  restored, fresh = train("old", 4).state, train("new", 4).state
  assert int(restored.consecutive_skips) == 1
  toy_run.same(restored, fresh)
  params, saved, step = checkpoint.load_ema(tmp_path / "old")
  assert step == 4 and set(params) == {"vae", "discriminator"}
  assert config.with_new_names(saved) == cfg
  toy_run.same(train("old", 6).state, train("new", 6).state)
  other = cfg | {"objective": {"adversarial": 1.0, "discriminator_width": 8}}
  with pytest.raises(ValueError, match="discriminator_width: 4 -> 8"):
    loop.train(program, batches, steps=6, workdir=tmp_path / "old", config=other,
               key=jax.random.key(0), with_new_names=config.with_new_names)


@pytest.mark.slow
def test_training_from_latents_loads_no_video_reader(cached):
  """Up to a batch; previews alone need generation, and it video codecs."""
  found = test_closures.loaded(
      "from sora_jax.cli import train\n"
      "from sora_jax.data.store import manifest\n"
      "from sora_jax.tasks import config, task\n"
      "cfg = config.load('configs/dit.py:test')\n"
      "cfg.data.shapes = ((4, 64), (2, 128))\n"
      "plan = task.find(cfg.kind).plan(cfg, manifest.open_manifest(sys.argv[1]))\n"
      "assert plan.batch(0).tokens.x.shape[0] in (2, 4)", str(cached.root))
  assert "optax" in found and not {"av", "tensorflow_datasets"} & found
  training = test_closures.closure(["sora_jax.cli.train", "sora_jax.tasks.dit"],
                                   False)
  others = {m for name in ("encoding", "generation", "media")
            for m in test_closures.room(name)}
  assert "sora_jax.training.loop" in training and not training & others

"""A data set that is damaged or gone is told of, and nothing is trained on it."""

import json
import os
import shutil
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from sora_jax import stations
from sora_jax.data.loading import clips
from sora_jax.data.loading import losses as losses_lib
from sora_jax.data.pixels import crops
from sora_jax.data.store import manifest as manifest_lib
from sora_jax.data.store import records
from sora_jax.encoding import dataset
from sora_jax.tasks import dit
from sora_jax.tasks import task
from sora_jax.tasks import vae
from sora_jax.training import metrics
import toy_run


def copied(data, at):
  shutil.copytree(data.root, at)
  return at


def shards_of(folder):
  return sorted(folder.glob("sora-train*"))


@pytest.mark.parametrize("verify, kind", [(clips.verify, "cached"),
                                          (crops.verify, "pixels")])
def test_shards_are_opened_before_a_run(verify, kind, tmp_path, request):
  data = request.getfixturevalue(kind)
  verify(manifest_lib.open_manifest(data.root))
  out = copied(data, tmp_path / "out")
  open_again = lambda: manifest_lib.open_manifest(out)
  name = shards_of(out)[-1]
  os.rename(name, tmp_path / "away")
  with pytest.raises(ValueError, match=f"{name.name} is missing"):
    verify(open_again())
  os.mkfifo(name)
  with pytest.raises(ValueError, match=f"{name.name} is missing"):
    verify(open_again())
  name.unlink()
  os.rename(tmp_path / "away", name)
  verify(open_again())
  entries = np.load(out / "train.npy")
  more = entries.copy()
  more["record"][-1] = 2**31 - 1
  np.save(out / "train.npy", more)
  with pytest.raises(ValueError, match=f"{name.name} has .* names"):
    verify(open_again())
  more = entries.copy()
  more["t" if kind == "cached" else "frames"] += 1
  np.save(out / "train.npy", more)
  with pytest.raises(ValueError, match="record 0 .*entry in the manifest says"):
    verify(open_again())
  assert not list((tmp_path).glob("*.tmp"))


def test_both_tasks_open_the_shards(cached, pixels, tmp_path):
  for kind, data in ((dit, cached), (vae, pixels)):
    out = copied(data, tmp_path / kind.__name__)
    shards_of(out)[0].unlink()
    run = task.Run(None, manifest_lib.open_manifest(out), None, None)
    with pytest.raises(ValueError, match="is missing"):
      kind.recipe(run)


INFOS = [
    (dict(shards=3), "key shards is missing"),
    (dict(shards={"train": -1}), "shards.train is -1"),
    (dict(shards={"train": "x"}), "shards.train is 'x'"),
    (dict(clips={"train": 7}), "lists 40 clips and dataset.json says 7"),
    (dict(clips={}), "shards names train and clips"),
    (dict(patch=[1, 0, 2]), "patch is"), (dict(patch="x"), "patch is 'x'"),
    (dict(stride=[4, 8]), "stride is"), (dict(channels=None), "channels is None"),
]


@pytest.mark.parametrize("change, said", INFOS, ids=lambda x: str(x))
def test_a_malformed_dataset_is_one_line_with_its_key(change, said, cached,
                                                      tmp_path):
  out = copied(cached, tmp_path / "out")
  info = json.loads((out / "dataset.json").read_text())
  (out / "dataset.json").write_text(json.dumps({**info, **change}))
  with pytest.raises(ValueError, match=said) as e:
    manifest_lib.open_manifest(out)
  assert str(out) in str(e.value) and "\n" not in str(e.value)


@pytest.mark.parametrize("name, value", [
    ("shard", 9), ("shard", -1), ("record", -1), ("t", 0), ("h", -4),
    ("frames", 0), ("fps", 0), ("fps", np.nan)])
def test_a_malformed_manifest_is_one_line_with_its_entry(name, value, cached,
                                                         tmp_path):
  out = copied(cached, tmp_path / "out")
  entries = np.load(out / "train.npy")
  entries[name][5] = value
  np.save(out / "train.npy", entries)
  with pytest.raises(ValueError, match=f"train.npy is damaged: entry .*{name} "):
    manifest_lib.open_manifest(out)


def test_latents_are_not_encoded_again(cached, tmp_path):
  with pytest.raises(ValueError, match="holds no pixels but latents"):
    dataset.encode(None, cached.root, tmp_path / "out")
  assert not (tmp_path / "out").exists()


def test_a_batch_without_a_token_changes_nothing(tmp_path, capsys):

  def objective(params, batch, key, step):
    grads, found = toy_run.objective(params, batch, key, step)
    return grads, found | {"weight": jnp.where(step == 2, 0., 1.)}

  seen = {}
  program = toy_run.program(objective, weight_decay=.5)
  state = program.create()
  for n in range(4):
    state, _ = program.step(state, toy_run.batch_at(n), toy_run.KEY, program.phases)
    seen[n] = (toy_run.values(state.params), toy_run.values(state.opt_state))
  toy_run.same(seen[2], seen[1])
  assert int(state.skipped) == 1
  with pytest.raises(AssertionError):
    toy_run.same(seen[3], seen[2])
  toy_run.train(tmp_path, 4, program)
  assert "step 3 skipped: its batch has no token" in capsys.readouterr().err


def losing(lost):
  """Batches of the toy run that lose clips at steps, and their losses."""
  losses = losses_lib.Losses()

  def from_step(step):
    for n, batch in toy_run.batches()(step):
      for place in range(lost.get(n, 0)):
        losses.explain(place, "data", "is cut short")
        losses.add(n, place, place)
      yield n, batch

  return from_step, losses


def test_a_run_counts_what_it_cannot_read(tmp_path, capsys):
  lost = {0: 2, 3: 1, 5: 3}

  def train(at, steps, monkeypatch=None):
    batches, losses = losing(lost)
    return toy_run.loop.train(
        toy_run.program(), batches, steps=steps, workdir=at, log_every=4,
        config=toy_run.CONFIG, key=toy_run.KEY, save_every=5, losses=losses)

  train(tmp_path / "whole", 9)
  assert "0 skipped, 6 unreadable" in capsys.readouterr().err
  train(tmp_path / "run", 5)
  assert "3 unreadable" in capsys.readouterr().err
  train(tmp_path / "run", 9)
  assert "0 skipped, 6 unreadable" in capsys.readouterr().err
  read = lambda at: [(x["step"], x["unreadable"]) for x in map(json.loads, (
      tmp_path / at / "metrics.jsonl").read_text().splitlines())]
  assert read("whole") == read("run") == [(1, 2), (4, 3), (6, 6), (8, 6)]


def test_a_run_stops_where_much_cannot_be_read(tmp_path):
  def train(lost, steps=9):
    batches, losses = losing(lost)
    return toy_run.loop.train(
        toy_run.program(), batches, steps=steps, workdir=tmp_path,
        config=toy_run.CONFIG, key=toy_run.KEY, save_every=3, losses=losses)

  with pytest.raises(ValueError, match=r"12 clips of the last 8 steps .* 1% of "
                     r".*clip 0: is cut short; clip 1: .*last checkpoint"):
    train({1: 2, 7: 10, 8: 1})
  saved = sorted(p.name for p in (tmp_path / "checkpoints").iterdir()
                 if p.name.isdigit())
  assert saved == ["3", "6"]
  assert int(train({1: 2}).state.step) == 9  # mended


def test_damage_in_metrics_does_not_block_a_resume(tmp_path, capsys):
  toy_run.train(tmp_path, 5)
  path = tmp_path / metrics.METRICS
  lines = path.read_bytes().splitlines(keepends=True)
  path.write_bytes(lines[0] + b"\xff" + lines[1] + b"\0\0\n" + b"[" * 9999 + b"\n"
                   + b"".join(lines[2:]) + b'{"step": 6, "lo')
  capsys.readouterr()
  assert int(toy_run.train(tmp_path, 7).state.step) == 7
  assert "3 damaged lines are left out" in capsys.readouterr().err
  steps = [json.loads(line)["step"] for line in path.read_text().splitlines()]
  assert steps == [1, 3, 4, 5, 6, 7]


def test_a_pixel_plan_wants_pixels(cached):
  with pytest.raises(ValueError, match="holds no pixels but latents: give a "
                     "folder of sora-jax prepare"):
    vae.plan(None, cached)


def test_changed_data_is_said_in_words(tmp_path):
  config = toy_run.CONFIG | {"plan": "a" * 64}
  toy_run.train(tmp_path, 3, config=config)
  with pytest.raises(ValueError, match="the data changed since .* (digest a{12} "
                     "then, b{12} now)".replace("(", r"\(").replace(")", r"\)")):
    toy_run.train(tmp_path, 4, config=config | {"plan": "b" * 64})


def test_a_record_is_the_same_in_every_process():
  """Another process draws another order of what protobuf calls a map."""
  item = stations.Item(key="k", data=b"v", captions=("a", "b"), facts="", frames=3,
                       height=4, width=5, fps=6.)
  code = ("from sora_jax import stations; from sora_jax.data.store import records; "
          f"print(records.encode(stations.{item!r}).hex())")
  done = subprocess.run([sys.executable, "-c", code], capture_output=True,
                        text=True, check=True)
  assert done.stdout.strip() == records.encode(item).hex()
  assert records.decode(records.encode(item)) == item

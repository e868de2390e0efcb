"""Training survives: kills, damage, another config, a full disk."""

import gc
import json
import logging
import os
import pathlib
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sora_jax import files
from sora_jax.training import checkpoint
from sora_jax.training import digest
from sora_jax.training import hooks as hooks_lib
from sora_jax.training import hush
from sora_jax.training import lock
from sora_jax.training import metrics
import toy_run

pytestmark = pytest.mark.quick_compile

HERE = pathlib.Path(__file__).parent


@pytest.fixture(scope="module")
def prog():
  return toy_run.program()


@pytest.fixture(scope="module")
def whole(prog, tmp_path_factory):
  """An uninterrupted run of 10 steps: (state, its folder)."""
  workdir = tmp_path_factory.mktemp("whole")
  return toy_run.train(workdir, 10, prog).state, workdir


def lines(workdir):
  """The lines of metrics.jsonl without what depends on the clock."""
  text = (pathlib.Path(workdir) / metrics.METRICS).read_text()
  out = [json.loads(line) for line in text.splitlines()]
  assert all(line.pop("timing")["seconds"] > 0 for line in out)
  return out


def steps_in(workdir):
  return sorted(int(p.name) for p in (workdir / "checkpoints").iterdir()
                if p.name.isdigit())


def test_five_and_five_steps_equal_ten(prog, whole, tmp_path):
  toy_run.train(tmp_path, 5, prog)
  assert steps_in(tmp_path) == [5]
  state = toy_run.train(tmp_path, 10, toy_run.program()).state
  assert int(state.step) == 10 and int(state.clips) == 80
  toy_run.same(state, whole[0])
  assert lines(tmp_path) == lines(whole[1])
  assert [line["step"] for line in lines(tmp_path)] == list(range(1, 11))


@pytest.mark.slow
def test_a_run_with_its_optimizer_on_the_host_goes_on(whole, tmp_path):
  """And its moments are restored to the host."""
  toy_run.train(tmp_path, 5, toy_run.program(offload=True))
  state = toy_run.train(tmp_path, 10, toy_run.program(offload=True)).state
  kinds = {x.sharding.memory_kind for x in jax.tree.leaves(state.opt_state)}
  assert kinds == {"pinned_host"}
  toy_run.same(state, whole[0])


@pytest.mark.parametrize("number, reason", [
    (signal.SIGTERM, "signal"), (signal.SIGINT, "interrupt")])
def test_a_signal_saves_and_the_same_command_goes_on(prog, whole, tmp_path,
                                                     number, reason):
  before = signal.getsignal(number)
  hook = hooks_lib.Hook(7, lambda step, state: os.kill(os.getpid(), number))
  out = toy_run.train(tmp_path, 10, prog, hooks=[hook])
  assert out.reason == reason and steps_in(tmp_path) == [5, 8]
  assert signal.getsignal(number) is before
  toy_run.same(toy_run.train(tmp_path, 10, prog).state, whole[0])
  assert lines(tmp_path) == lines(whole[1])


def test_a_second_interrupt_does_not_wait(prog, tmp_path):
  def twice(step, state):
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGINT)

  with pytest.raises(KeyboardInterrupt):
    toy_run.train(tmp_path, 10, prog, hooks=[hooks_lib.Hook(3, twice)])


@pytest.mark.slow
def test_a_run_in_pieces_of_time(prog, whole, tmp_path):
  pieces = 0
  while toy_run.train(tmp_path, 10, prog, max_seconds=1e-9).reason == "time":
    pieces += 1
  assert pieces >= 5
  state = toy_run.train(tmp_path, 10, prog).state
  toy_run.same(state, whole[0])
  assert lines(tmp_path) == lines(whole[1])


@pytest.mark.slow
def test_kill_at_any_instant_of_saving(tmp_path):
  """20 times kill -9 of a process that saves 20 MB in a loop."""
  out = subprocess.run(
      [sys.executable, HERE / "toy_saver.py", tmp_path, "20"],
      env={**os.environ, "JAX_PLATFORMS": "cpu"}, check=True, text=True,
      stdout=subprocess.PIPE).stdout
  lives = [json.loads(line) for line in out.splitlines()]
  assert len(lives) == 20
  for life in lives:  # nothing that was on the disk did not verify
    assert life["step"] == max(life["there"], default=0), life
    assert not life["damaged"], life
  assert lives[-1]["step"] >= 10
  assert any(len(life["there"]) > 1 for life in lives)


@pytest.mark.slow
def test_a_killed_run_goes_on(whole, tmp_path):
  """kill -9 of a real process that saves every step; then it goes on."""
  run = subprocess.Popen(
      [sys.executable, HERE / "toy_run.py", tmp_path, "100000"],
      env={**os.environ, "JAX_PLATFORMS": "cpu"}, stderr=subprocess.PIPE,
      text=True)
  for line in run.stderr:  # by then the first save is whole
    if "step 3/" in line:
      break
  time.sleep(random.Random(0).uniform(0, 1))
  run.kill()
  run.stderr.read()
  run.wait()
  saves = checkpoint.open_checkpoints(tmp_path, toy_run.CONFIG)
  reached = int(saves.restore(toy_run.program().abstract).step)
  saves.close()
  assert reached >= 1 and not (tmp_path / "damaged").exists()
  resumed = toy_run.train(tmp_path, reached + 3).state
  straight = toy_run.train(tmp_path / "straight", reached + 3).state
  toy_run.same(resumed, straight)
  assert lines(tmp_path) == lines(tmp_path / "straight")


def flip(item, at=0.5):
  """Changes one bit of the largest file of arrays of a checkpoint's item."""
  path = max((p for p in item.rglob("*") if p.parent.name == "d"),
             key=lambda p: p.stat().st_size)
  raw = bytearray(path.read_bytes())
  raw[int(len(raw) * at)] ^= 4
  path.write_bytes(raw)


@pytest.mark.parametrize("item", ["state", "ema", "meta"])
def test_damage_is_seen_and_the_step_before_is_used(prog, whole, tmp_path,
                                                    caplog, item):
  toy_run.train(tmp_path, 10, prog)
  folder = tmp_path / "checkpoints" / "10" / item
  if item == "meta":
    (folder / "metadata").write_text("{")
  else:
    flip(folder)
  with caplog.at_level(logging.WARNING):
    if item == "ema":
      assert checkpoint.load_ema(tmp_path)[2] == 5
    state = toy_run.train(tmp_path, 10, prog).state
  assert "step 10 is damaged" in caplog.text
  assert (tmp_path / "damaged" / "10").is_dir()
  assert steps_in(tmp_path) == [5, 10]
  toy_run.same(state, whole[0])
  assert lines(tmp_path) == lines(whole[1])


def test_a_flipped_bit_is_seen_wherever_it_is(whole, tmp_path):
  seen = {"is not what was saved": 0, "": 0}  # by us; by Orbax as well
  for at in np.linspace(.1, .9, 9):
    folder = tmp_path / f"{at:.1f}"
    shutil.copytree(whole[1] / "checkpoints" / "10",
                    folder / "checkpoints" / "10")
    flip(folder / "checkpoints" / "10" / "ema", at)
    with pytest.raises(ValueError, match="step 10") as e:
      checkpoint.load_ema(folder)
    seen[next(text for text in seen if text in str(e.value))] += 1
  print("noticed by the digest only, and by Orbax:", *seen.values())


def test_a_flipped_bit_of_meta_is_damage(prog, whole, tmp_path, caplog):
  """Wherever it is: in a value, a key or the digest itself."""
  shutil.copytree(whole[1] / "checkpoints", tmp_path / "checkpoints")
  path = tmp_path / "checkpoints" / "10" / "meta" / "metadata"
  text = path.read_bytes()
  places = [*range(0, len(text), len(text) // 40), text.index(b'"digest": "') + 1,
            text.index(b'learning_rate": 0.01') + 18, text.index(b'"step": 10') + 9]
  for at in places:
    bad = bytearray(text)
    bad[at] ^= 1
    path.write_bytes(bad)
    assert checkpoint.load_ema(tmp_path)[2] == 5, bad[at - 20:at + 20]
  assert int(toy_run.train(tmp_path, 10, prog).state.step) == 10
  assert caplog.text.count("checkpoint of step 10 is damaged (meta: ") == 1
  assert (tmp_path / "damaged" / "10").is_dir()


def test_a_checkpoint_without_a_digest_is_read_as_unverified(prog, whole,
                                                             tmp_path, caplog):
  shutil.copytree(whole[1] / "checkpoints", tmp_path / "checkpoints")
  path = tmp_path / "checkpoints" / "10" / "meta" / "metadata"
  meta = json.loads(path.read_text())
  del meta["digest"]
  path.write_text(json.dumps(meta))
  toy_run.train(tmp_path, 10, prog)
  assert "step 10 is of an older version: its config is not" in caplog.text


RIVAL = """
import sys, time
sys.path.insert(0, "tests")
from sora_jax.training import lock
with lock.hold(sys.argv[1]):
  print("held", flush=True)
  time.sleep(600)
"""


def test_a_work_folder_has_one_run(prog, tmp_path, capsys):
  rival = subprocess.Popen([sys.executable, "-c", RIVAL, tmp_path], text=True,
                           cwd=HERE.parent, stdout=subprocess.PIPE)
  try:
    assert rival.stdout.readline() == "held\n"
    with pytest.raises(ValueError, match=f"in use by process {rival.pid} on "
                       f"{socket.gethostname()}: wait") as e:
      toy_run.train(tmp_path, 2, prog)
    assert not (tmp_path / "checkpoints").exists() and "\n" not in str(e.value)
  finally:
    rival.kill()
    rival.communicate()
  toy_run.train(tmp_path, 2, prog)
  assert f"process {rival.pid} on" in (err := capsys.readouterr().err)
  assert err.count("its lock is stale") == 1
  toy_run.train(tmp_path, 3, prog)
  assert "stale" not in capsys.readouterr().err


def test_a_lock_of_another_host_is_held_while_its_time_moves(prog, tmp_path,
                                                             monkeypatch):
  monkeypatch.setattr(lock, "GONE", .3)
  monkeypatch.setattr(lock, "POLL", .01)
  path = tmp_path / lock.NAME
  path.write_text('{"host": "elsewhere", "process": 7}')
  moves = threading.Event()

  def move():
    while not moves.wait(.02):
      os.utime(path)

  mover = threading.Thread(target=move)
  mover.start()
  try:
    with pytest.raises(ValueError, match="in use by process 7 on elsewhere"):
      toy_run.train(tmp_path, 2, prog)
  finally:
    moves.set()
    mover.join()
  assert int(toy_run.train(tmp_path, 2, prog).state.step) == 2
  path.unlink()
  os.symlink("/dev/zero", path)
  with pytest.raises(OSError):
    toy_run.train(tmp_path, 2, prog)


def test_no_whole_checkpoint_is_an_error(prog, tmp_path):
  toy_run.train(tmp_path, 5, prog)
  flip(tmp_path / "checkpoints" / "5" / "ema")
  with pytest.raises(ValueError, match=r"none of the checkpoints \[5\]"):
    toy_run.train(tmp_path, 10, prog)
  with pytest.raises(ValueError, match="step 5"):
    checkpoint.load_ema(tmp_path)


def test_every_changed_bit_changes_the_digest():
  for dtype in ("float32", "bfloat16", "int32", "bool", "uint8"):
    x = np.arange(24).reshape(2, 3, 4) % 2
    seen = {digest.digest(jnp.asarray(x, dtype))}
    for i in np.ndindex(x.shape):
      x[i] = 1 - x[i]
      seen.add(digest.digest(jnp.asarray(x, dtype)))
      x[i] = 1 - x[i]
    assert len(seen) == 25


def test_another_config_is_refused_by_name(prog, tmp_path):
  toy_run.train(tmp_path, 5, prog)
  other = json.loads(json.dumps(toy_run.CONFIG))
  other["optimizer"]["learning_rate"] = 0.02
  other["model"]["depth"] = 3
  with pytest.raises(ValueError) as e:
    toy_run.train(tmp_path, 10, prog, config=other)
  assert "optimizer.learning_rate: 0.01 -> 0.02" in str(e.value)
  assert "model.depth: absent -> 3" in str(e.value)
  assert "data.seed" not in str(e.value)
  free = {**toy_run.CONFIG, "steps": 99, "loop": {"log_every": 7}}
  assert int(toy_run.train(tmp_path, 6, prog, config=free).state.step) == 6


def test_another_dtype_is_refused(prog, tmp_path):
  toy_run.train(tmp_path, 5, prog)
  half = lambda key: {"model": {
      k: v.astype(jnp.bfloat16) for k, v in toy_run.init(key)["model"].items()}}
  with pytest.raises(ValueError, match=r"float32 \[48\].*bfloat16 \[48\]"):
    toy_run.train(tmp_path, 10, toy_run.program(params=half))


def test_a_failed_save_is_an_error_and_loses_nothing(prog, tmp_path):
  toy_run.train(tmp_path, 5, prog)
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

  def fill(step, state):  # no file may grow past 300 bytes: as on a full disk
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, hard))

  try:
    with pytest.raises(OSError, match="saving"):
      toy_run.train(tmp_path, 10, prog, hooks=[hooks_lib.Hook(9, fill)],
                    log_every=100)
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
  assert int(toy_run.train(tmp_path, 6, prog).state.step) == 6


def test_of_a_save_that_fails_in_many_leaves_one_error_is_told(
    whole, tmp_path, caplog, monkeypatch):
  hush.hush()
  monkeypatch.setattr(sys, "unraisablehook", (told := []).append)
  found = checkpoint.open_checkpoints(tmp_path, {})
  leaves = {f"{i}": jnp.full((40, 40), i, jnp.float32) for i in range(60)}
  saved = whole[0].replace(params=leaves, ema=leaves)
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  try:
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, hard))
    with pytest.raises(OSError, match="free some space") as e:
      found.save(saved, wait=True)
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
  gc.collect()  # asyncio tells of an error that nobody asked for when it goes
  assert "\n" not in str(e.value) and not told
  assert not [r for r in caplog.records if r.name == "asyncio"]
  sys.unraisablehook(other := types.SimpleNamespace(exc_value=RuntimeError("x")))
  assert told == [other]


def test_a_lock_that_does_not_fit_is_named(tmp_path):
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  try:
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    with pytest.raises(OSError) as e, lock.hold(tmp_path):
      pass
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
  assert e.value.errno in files.FULL and str(tmp_path / lock.NAME) in str(e.value)
  with lock.hold(tmp_path):
    pass


def test_a_disk_that_is_full_of_metrics_is_named_and_loses_nothing(prog, tmp_path):
  toy_run.train(tmp_path, 5, prog, log_every=1)
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  lines = tmp_path / "metrics.jsonl"

  def fill(step, state):
    resource.setrlimit(resource.RLIMIT_FSIZE, (lines.stat().st_size + 9, hard))

  try:
    with pytest.raises(OSError, match="metrics.jsonl"):
      toy_run.train(tmp_path, 10, prog, hooks=[hooks_lib.Hook(7, fill)], log_every=1)
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
  assert not lines.read_text().endswith("\n")  # half a line
  toy_run.train(tmp_path, 10, prog, log_every=1)
  assert [json.loads(line)["step"] for line in lines.read_text().splitlines()
          ] == list(range(1, 11))


def test_export_reads_the_average(whole):
  params, config, step = checkpoint.load_ema(whole[1])
  assert step == 10 and config == toy_run.CONFIG
  toy_run.same(params, whole[0].ema)
  assert not np.array_equal(params["model"]["kernel"],
                            whole[0].params["model"]["kernel"])


def test_export_of_nothing(tmp_path):
  with pytest.raises(ValueError, match="train first"):
    checkpoint.load_ema(tmp_path)


def test_the_journal_is_cut_back_to_the_restored_step(tmp_path):
  path = tmp_path / metrics.METRICS
  path.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"ste')
  metrics.open_writer(tmp_path, 2).close()
  assert path.read_text() == '{"step": 1}\n{"step": 2}\n'

"""How a run is timed, shown, stopped, saved and traced."""

import json
import threading
import time

import jax
import numpy as np
import pytest

from sora_jax import main
from sora_jax.mesh import chips
from sora_jax.models import flops
from sora_jax.training import checkpoint
from sora_jax.training import clock as clock_lib
from sora_jax.training import digest
from sora_jax.training import grace
from sora_jax.training import profile
from sora_jax.training import progress
from sora_jax.training import stopping
import toy_run


@pytest.fixture(name="now")
def _now(monkeypatch):
  """A clock that the test moves."""
  at = [1000.0]
  monkeypatch.setattr(time, "monotonic", lambda: at[0])
  return at


def test_every_second_belongs_to_one_phase(now):
  clock = clock_lib.Clock("tokens", steps=10, chips=4, peak=100.0)
  for phase, seconds in (("init", 2), ("compile", 30), ("data", 1)):
    now[0] += seconds
    clock.add(phase, seconds)
  for _ in range(5):
    now[0] += 3
    clock.tick(units=80, flops=2400)
  found = clock.timing(5)
  assert found["tokens_per_s"] == 400 / 16  # of the steps and their data
  assert found["tokens_per_s_per_chip"] == 400 / 16 / 4
  assert found["tflops_per_s_per_chip"] * 1e12 == pytest.approx(750, abs=1e6)
  assert found["mfu"] == pytest.approx(12_000 / 16 / 4 / 100)
  assert found["eta"] == pytest.approx(5 * 16 / 5)
  clock.lose(52)  # steps that an earlier run had made and not saved
  now[0] += 4
  clock.add("save", 4)
  total = clock.totals()
  assert total["seconds"] == 52 and total["step_seconds"] == 15
  assert total["restart_seconds"] == 52
  assert total["goodput"] == pytest.approx(15 / 104)
  spent = sum(total[f"{phase}_seconds"] for phase in clock_lib.PHASES)
  assert spent + total["step_seconds"] == total["seconds"] + 52
  assert "compile 30.0" in progress.totals_line(total)


def test_what_a_run_did_before_its_clock_takes_nothing_from_its_rates(now):
  begun = now[0]
  now[0] += 30  # reads its config and its data set
  clock = clock_lib.Clock("tokens", steps=10, start=begun)
  clock.add("init", 30)
  now[0] += 2
  clock.tick(units=80)
  assert clock.timing(1)["tokens_per_s"] == 40


@pytest.mark.slow
def test_a_run_counts_the_steps_that_it_makes_again(tmp_path, monkeypatch):
  toy_run.train(tmp_path, 10, save_every=100)  # the last step is saved
  lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
  more = json.loads(lines[-1]) | {"step": 14}
  more["timing"]["seconds"] += 500.0
  with open(tmp_path / "metrics.jsonl", "a") as file:
    file.write(json.dumps(more) + "\n")
  toy_run.train(tmp_path, 12)
  last = (tmp_path / "metrics.jsonl").read_text().splitlines()[-1]
  timing = json.loads(last)["timing"]
  assert timing["restart_seconds"] > 499 and timing["goodput"] < .5


def test_a_compiler_does_not_hold_up_a_stop(now):
  """The thread ends when it likes; a run that is not asked waits for it."""
  release = threading.Event()

  class Step:
    """A jitted step that compiles for ever."""

    def lower(self, *args):
      return self

    def compile(self):
      assert release.wait(60)

  stop = stopping.Stop(threading.Event(), deadline=1030.0, undo=lambda: None)
  assert stop.wish() == "" and stop.wish(reserve=31) == stopping.TIME
  now[0] = 1031
  assert stopping.compile_step(Step(), (), "", stop) == stopping.TIME
  assert stopping.compiles()
  stop.asked.set()
  assert stopping.compile_step(Step(), (), "", stop) == stopping.SIGNAL
  release.set()
  free = stopping.Stop(threading.Event(), 2000.0, lambda: None)
  assert stopping.compile_step(Step(), (), "", free) == ""
  with pytest.raises(AttributeError):  # an error of the compiler comes through
    stopping.compile_step(None, (), "", free)


def test_the_step_is_compiled_once(tmp_path):
  program = toy_run.program(steps=11)
  toy_run.train(tmp_path, 3, program)
  assert program.step._cache_size() == 1  # pylint: disable=protected-access


def test_minutes_save_as_well_as_steps(tmp_path):
  saved = lambda at: sorted(int(p.name) for p in (
      tmp_path / at / "checkpoints").iterdir() if p.name.isdigit())
  toy_run.train(tmp_path / "a", 6, save_every=100, save_minutes=1e-9, keep=9)
  toy_run.train(tmp_path / "b", 6, save_every=4, save_minutes=60, keep=9)
  assert saved("a") == [1, 2, 3, 4, 5, 6] and saved("b") == [4, 6]


def test_a_save_whose_digests_fail_is_no_save(tmp_path, monkeypatch):
  toy_run.train(tmp_path, 5)

  describe = digest.describe_leaves

  def fail(leaves, channel=""):
    if channel:  # of the thread that saves
      raise RuntimeError("no digest today")
    return describe(leaves)

  with monkeypatch.context() as patch:
    patch.setattr(digest, "describe_leaves", fail)
    with pytest.raises(OSError, match="no digest today"):
      toy_run.train(tmp_path, 6)
  assert not (tmp_path / "checkpoints" / "6").exists()
  assert int(toy_run.train(tmp_path, 6).state.step) == 6


def test_a_digest_is_the_sum_that_its_page_states():
  x = np.random.default_rng(0).normal(size=(3, 1, 4, 5)).astype(np.float32)
  words = x.view(np.uint32).ravel()
  want = sum(int(w) * (2 * i + 1) for i, w in enumerate(words)) % 2**64
  assert digest.digest(x) == want
  part = digest._part(x[1:, :, 2:], (1, 0, 2, 0), x.shape)
  inside = np.zeros(x.shape, bool)
  inside[1:, :, 2:] = True
  assert part == sum(int(w) * (2 * i + 1) for i, w in enumerate(words)
                     if inside.ravel()[i]) % 2**64
  tree = {"a": jax.numpy.asarray(x), "b": jax.numpy.float32(3)}
  assert digest.describe_leaves(digest.snapshot(tree)) == digest.describe(tree)


def test_a_save_that_is_too_slow_for_a_signal_is_announced(
    tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(grace, "ASSUMED", 100.0)
  toy_run.train(tmp_path / "a", 1)
  assert "must be written at" in capsys.readouterr().err
  monkeypatch.undo()
  monkeypatch.setattr(grace, "GRACE", 1e-9)
  monkeypatch.setattr(grace, "ASSUMED", 1e30)
  toy_run.train(tmp_path / "b", 12)
  err = capsys.readouterr().err
  assert "more than the" in err and "save_minutes=10" in err
  assert err.count("more than the") == 1


@pytest.mark.slow
def test_some_steps_are_traced(tmp_path, capsys):
  toy_run.train(tmp_path, 4, profile=(2, 3))
  assert list((tmp_path / "profile").rglob("*.xplane.pb"))
  assert "the trace is in" in capsys.readouterr().err


@pytest.mark.parametrize("text, found", [
    ("", None), ("10:12", (10, 12)), ("3:3", (3, 3))])
def test_the_steps_to_trace(text, found):
  assert profile.parse(text) == found


@pytest.mark.parametrize("text", ["3", "5:4", "0:2", "a:b"])
def test_steps_that_cannot_be_traced(text, capsys):
  assert main.main(["train", "--config=configs/dit.py:test", "--data=x",
                    "--workdir=y", f"--profile={text}"]) == 2
  assert f"--profile={text}: give FROM:TO" in capsys.readouterr().err


def test_a_terminal_has_a_live_line_and_a_file_has_not(
    tmp_path, monkeypatch, capsys):
  toy_run.train(tmp_path / "a", 4, log_every=4)
  file = capsys.readouterr().err
  assert "step 3/" not in file and "\r" not in file
  assert "step 1: compiling" in file.split("step 4/4")[0]
  assert "MFU" in file and "TFLOP/s/chip" in file and "goodput" in file
  monkeypatch.setattr(progress, "terminal", lambda: True)
  toy_run.train(tmp_path / "b", 4, log_every=4)
  live = capsys.readouterr().err
  assert "\r\x1b[Kstep 3/4 loss" in live and "\nstep 3/4" not in live


@pytest.mark.parametrize("kind, flops_of_it", [
    ("TPU v4", 275e12), ("TPU v5 lite", 197e12), ("TPU v5", 459e12),
    ("TPU v5p", 459e12), ("TPU v6 lite", 918e12), ("NVIDIA H200", 989e12),
    ("NVIDIA H100 80GB HBM3", 989e12), ("NVIDIA H100 PCIe", 756e12),
    ("NVIDIA A100-SXM4-40GB", 312e12), ("Tesla T4", 65e12),
    ("NVIDIA L4", 121e12), ("NVIDIA L40S", 362e12), ("cpu", 0),
    ("NVIDIA GeForce GTX 970", 0), ("TPU v9", 0)])
def test_the_peak_of_a_chip(kind, flops_of_it):
  assert chips.peak_flops(kind) == flops_of_it


def test_the_clips_of_packed_rows_are_counted():
  seg = np.array([[1, 1, 1, 2, 0], [1, 2, 2, 3, 3]], np.int32)
  text = np.array([[1, 2, 2, 0], [1, 2, 0, 0]], np.int32)
  assert flops.packed_segments(seg, text).tolist() == [
      [3, 1], [1, 2], [1, 1], [2, 1], [2, 0]]


def test_the_average_of_a_run_is_read_while_nothing_is_saved(tmp_path):
  toy_run.train(tmp_path, 5)
  saves = checkpoint.open_checkpoints(tmp_path, toy_run.CONFIG)
  assert saves.check() and saves.check(wait=True)
  saves.close()

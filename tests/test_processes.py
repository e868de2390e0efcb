"""A run over several real processes: as on one, stopped, killed, gone on with.

One story told by a tiny model, `toy_hosts.py`: four processes, whose devices lie
as on the hosts of a v5p slice and one of which gets SIGTERM; two, one of which
is killed; two again, the first of which is killed; and this process alone, to
the end. Each goes on from the checkpoint of the last.
"""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from sora_jax import main
from sora_jax.mesh import multihost
from sora_jax.training import digest
from sora_jax.training import metrics
import toy_run

pytestmark = pytest.mark.quick_compile

HERE = pathlib.Path(__file__).parent
FOREVER = 100_000


def lines(workdir):
  """The lines of metrics.jsonl without what depends on the clock."""
  path = workdir / metrics.METRICS
  text = path.read_text() if path.exists() else ""
  return [{k: v for k, v in json.loads(line).items() if k != "timing"}
          for line in text.splitlines() if line.endswith("}")]


def free_address():
  with socket.socket() as s:
    s.bind(("127.0.0.1", 0))
    return f"127.0.0.1:{s.getsockname()[1]}"


def start(*argv, devices=1):
  """A Python process on CPU devices."""
  env = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS":
         os.environ["XLA_FLAGS"]
         + f" --xla_force_host_platform_device_count={devices}"}
  return subprocess.Popen([sys.executable, *map(str, argv)], env=env, text=True,
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def together(workdir, count, number, to, *axes, devices=1):
  """Runs `count` processes, signals process `to` after some steps.

  Returns:
    For each process (exit code, stderr), and the seconds that all took to end.
  """
  had, address = len(lines(workdir)), free_address()
  runs = [start(HERE / "toy_hosts.py", workdir, FOREVER, f"{i}/{count}@{address}",
                5, *axes, devices=devices) for i in range(count)]
  try:
    begun = time.monotonic()
    while len(lines(workdir)) < max(had, 5) + 6:
      assert time.monotonic() - begun < 600
      assert all(r.poll() is None for r in runs), [
          r.stderr.read() for r in runs if r.poll() is not None]
      time.sleep(.02)
    runs[to].send_signal(number)
    begun = time.monotonic()
    out = [(r.wait(2 * multihost.HEARTBEAT + 60), r.stderr.read())
           for r in runs]
    return out, time.monotonic() - begun
  finally:
    for r in runs:
      r.kill()


def steps_in(workdir):
  return sorted(int(p.name) for p in (workdir / "checkpoints").iterdir()
                if p.name.isdigit())


def one_line(stderr):
  """The story of process 0 is left out."""
  found = [line for line in stderr.splitlines() if line and not
           line.startswith(("step ", "going on", "a new run"))]
  assert len(found) == 1, stderr
  return found[0]


@pytest.mark.slow
def test_a_run_moves_over_processes_and_loses_nothing(tmp_path):
  workdir = tmp_path / "run"
  out, _ = together(workdir, 4, signal.SIGTERM, 2, "v5p:2x2x4", "data=2",
                    "fsdp=4", "context=2", devices=4)
  assert [code for code, _ in out] == [0] * 4, out
  stopped = steps_in(workdir)[-1]
  assert f"stopped at step {stopped} (signal), saved" in out[0][1]
  assert [stderr.strip() for _, stderr in out[1:]] == [
      "", "stopping after this step", ""]
  assert len(lines(workdir)) == stopped

  for killed in (1, 0):
    out, seconds = together(workdir, 2, signal.SIGKILL, killed, "fsdp=2")
    assert out[killed][0] == -signal.SIGKILL
    code, stderr = out[1 - killed]
    assert code == 1 and seconds < multihost.HEARTBEAT + 15
    assert "another process of this run ended" in one_line(stderr)
    if killed == 1:
      assert f"going on from step {stopped} in" in stderr
    print(f"process {killed} killed: noticed after {seconds:.1f} s")

  end = len(lines(workdir)) + 3
  again = toy_run.train(workdir, end, toy_run.program(steps=40),
                        config=toy_run.CONFIG | {"mesh": {}}, free=("mesh",))
  alone = toy_run.train(tmp_path / "alone", end, toy_run.program(steps=40))
  assert int(again.state.step) == end
  assert not (workdir / "damaged").exists()
  run, whole = lines(workdir), lines(tmp_path / "alone")
  assert [m["step"] for m in run] == list(range(1, end + 1)) and end >= 20
  for a, b in zip(run, whole):
    assert a["clips"] == b["clips"]
    # Rounding of sums in another order, which training carries on.
    rtol = 5e-7 if a["step"] <= stopped else 2e-6
    np.testing.assert_allclose(a["loss"], b["loss"], rtol=rtol)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(
      a, b, rtol=1e-4, atol=1e-5), again.state.params, alone.state.params)


MEETING = """
import sys, time
from sora_jax.cli import train
from sora_jax.mesh import multihost
multihost.START = multihost.PATIENCE = 5
def work():
  multihost.exchange()
  time.sleep(60 * int(sys.argv[2]))
  multihost.exchange()
train.together(sys.argv[1], work)
"""


@pytest.mark.slow
def test_nobody_waits_for_ever():
  """Neither for one that never comes, nor for one that lives and is late."""
  first, second, both = (free_address() for _ in range(3))
  runs = [start("-c", MEETING, f"0/2@{first}", 0),
          start("-c", MEETING, f"1/2@{second}", 0),
          start("-c", MEETING, f"0/2@{both}", 0),
          start("-c", MEETING, f"1/2@{both}", 1)]
  try:
    for run, text in zip(runs, ("did not find each other", "did not find each "
                                "other", "did not come to the next step")):
      assert run.wait(300) == 1
      assert text in one_line(run.stderr.read())
  finally:
    for run in runs:
      run.kill()


TRAIN = ("train", f"--config={HERE.parent}/configs/vae.py:test", "--data=d",
         "--workdir=w")


@pytest.mark.parametrize("where", ["2/2@h:1", "0/2", "0/2@h", "all"])
def test_what_says_no_processes_is_refused(where, capsys):
  assert main.main([*TRAIN, f"--processes={where}"]) == 2
  assert "INDEX/COUNT@HOST:PORT" in capsys.readouterr().err


@pytest.mark.slow
def test_auto_where_there_is_nothing_to_be_found_is_refused():
  run = start("-m", "sora_jax", *TRAIN, "--processes=auto")
  assert run.wait(300) == 2
  assert "finds no TPU slice" in one_line(run.stderr.read())


def test_a_host_of_a_slice_alone_is_refused(monkeypatch):
  multihost.check_joined()
  # As on a slice, whose devices tell the number of hosts.
  monkeypatch.setattr(jax, "process_count", lambda: 16)
  with pytest.raises(ValueError, match="16 processes: give --processes=auto"):
    multihost.check_joined()


def test_one_process_exchanges_with_nobody():
  assert multihost.first() and multihost.count() == 1
  assert multihost.exchange("x") == ["x"] and multihost.exchange() == []
  x = jax.numpy.arange(3.)
  np.testing.assert_array_equal(multihost.gather({"a": x})["a"], x)
  assert set(digest.describe({"a": x})) == {"a"}


def test_the_error_of_a_lost_process_is_told_from_others():
  lost = ValueError("UNKNOWN: Gloo AllGather failed: Connection closed by peer")
  assert "another process" in str(multihost.explain(lost))
  other = ValueError("a batch of 3 rows does not divide")
  assert multihost.explain(other) is other

"""Saves a state of 20 MB without a model in a loop, killed at random instants.

  python toy_saver.py WORKDIR KILLS

Each life is a fork of this process, which never starts jax itself: it restores
the newest step that verifies, checks every value, and saves every step from
there on, until it is killed with -9: after one to three saves, and a random part
of the time that the last one took. One line of JSON for each: that part, the
steps that were on the disk, and the step that the next life restored.
"""

import json
import os
import pathlib
import random
import signal
import sys
import time
import warnings

import jax
import numpy as np

from sora_jax import mesh as mesh_lib
from sora_jax.training import checkpoint
from sora_jax.training import state as state_lib

SIZE = 5 * 2**18  # values of 4 bytes in each of four arrays


def live(workdir, tell):
  """Restores, tells the step, and saves for ever, telling each."""
  device = mesh_lib.replicated(mesh_lib.make_mesh(devices=jax.devices()[:1]))
  base = np.arange(SIZE, dtype=np.float32)

  def at(step):
    """The state of a step: every value is a function of it."""
    arrays = lambda k: {"a": base + (k + step), "b": base * (k + step)}
    scalar = np.int32(0)
    return jax.device_put(state_lib.TrainState(
        step=np.int32(step), params=arrays(1), opt_state=(), ema=arrays(2),
        skipped=scalar, consecutive_skips=scalar, clips=scalar,
        norm_mean=np.float32(0), norm_var=np.float32(0)), device)

  saves = checkpoint.open_checkpoints(workdir, {})
  abstract = jax.tree.map(lambda x: jax.ShapeDtypeStruct(
      x.shape, x.dtype, sharding=device), at(0))
  state = saves.restore(abstract)
  step = 0 if state is None else int(state.step)
  if state is not None:
    jax.tree.map(np.testing.assert_array_equal, state, at(step))
  os.write(tell, f"{step}\n".encode())
  while True:
    step += 1
    saves.save(at(step))
    os.write(tell, f"{step}\n".encode())


def born(workdir):
  """(process, what it tells, the step that it restored) of a new life."""
  hear, tell = os.pipe()
  with warnings.catch_warnings():
    warnings.simplefilter("ignore", RuntimeWarning)  # jax has not started yet
    process = os.fork()
  if process == 0:
    try:
      live(workdir, tell)
    finally:
      os._exit(3)
  os.close(tell)
  told = os.fdopen(hear)
  first = told.readline()
  assert first, "a life ended by itself"
  return process, told, int(first)


def main(workdir, kills):
  rng = random.Random(0)
  process, told, _ = born(workdir)
  for _ in range(kills):
    for _ in range(rng.randint(1, 3)):
      begun = time.monotonic()
      told.readline()
    instant = rng.random()
    time.sleep(instant * (time.monotonic() - begun))
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    told.close()
    there = sorted(int(p.name) for p in (workdir / "checkpoints").iterdir()
                   if p.name.isdigit())
    process, told, step = born(workdir)
    print(json.dumps({"instant": instant, "there": there, "step": step,
                      "damaged": (workdir / "damaged").exists()}), flush=True)
  os.kill(process, signal.SIGKILL)


if __name__ == "__main__":
  main(pathlib.Path(sys.argv[1]), int(sys.argv[2]))

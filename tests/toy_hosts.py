"""A tiny run over several processes, for the tests of them; not a test.

  python toy_hosts.py WORKDIR STEPS PROCESSES SAVE_EVERY [MESH AXIS=SIZE ..]

The data are those of toy_run, of which every process makes its own rows; kernels
lie along fsdp. The hook of every fourth step gathers the average on every
process.
"""

import sys

import numpy as np

from sora_jax import mesh as mesh_lib
from sora_jax.cli import train as verb
from sora_jax.mesh import multihost
from sora_jax.training import checkpoint
from sora_jax.training import loop
from sora_jax.training import optimizer
from sora_jax.training import state

RULES = {"model": ((r"kernel$", (None, "fsdp")), (r"bias$", ()))}
FREE = (*checkpoint.FREE, "mesh")


def share(batch, host):
  """The rows of a host."""
  index, count = host
  return {k: np.split(x, count)[index] for k, x in batch.items()}


def train(workdir, steps, save_every, **axes):
  import toy_run  # it asks for devices, which comes after multihost.init
  mesh = mesh_lib.make_mesh(**axes)
  host = mesh_lib.host(mesh)

  def batches(start):
    for step in range(start, steps):
      yield step, share(toy_run.batch_at(step), host)

  def look(step, current):
    kernel = multihost.gather(current.ema)["model"]["kernel"]
    assert kernel.shape == (toy_run.WIDTH, toy_run.WIDTH)

  program = state.program(
      toy_run.objective, toy_run.init,
      optimizer.Optimizer(learning_rate=.01, warmup=3, steps=40), mesh, RULES,
      toy_run.KEY)
  return loop.train(
      program, batches, steps=steps, workdir=workdir,
      config=toy_run.CONFIG | {"mesh": axes}, key=toy_run.KEY, free=FREE,
      hooks=[loop.Hook(4, look)], place=lambda b: mesh_lib.to_global(mesh, b),
      log_every=1, save_every=save_every)


if __name__ == "__main__":
  workdir, steps, where, save_every, *axes = sys.argv[1:]
  sizes = {a.split("=")[0]: int(a.split("=")[1]) for a in axes}
  sys.exit(verb.together(where, lambda: train(
      workdir, int(steps), int(save_every), **sizes)))

"""A tiny run over several processes, for the tests of them; not a test.

  python toy_hosts.py WORKDIR STEPS PROCESSES SAVE_EVERY [LAYOUT] [AXIS=SIZE ..]

The data are those of toy_run, of which every process makes its own rows; kernels
lie along fsdp. The hook of every fourth step gathers the average on every
process. With a layout such as v5p:2x2x4 the devices of the processes lie in the
mesh as the chips of its hosts do.
"""

import sys

import jax
import layouts

from sora_jax import mesh as mesh_lib
from sora_jax.cli import train as verb
from sora_jax.mesh import multihost
from sora_jax.training import config_changes
from sora_jax.training import hooks as hooks_lib
from sora_jax.training import loop
from sora_jax.training import optimizer
from sora_jax.training import state

RULES = {"model": ((r"kernel$", (None, "fsdp")), (r"bias$", ()))}
FREE = (*config_changes.FREE, "mesh")


def train(workdir, steps, save_every, layout, **axes):
  import toy_run  # it asks for devices, which comes after multihost.init
  devices = layouts.as_on(layout, jax.devices(), axes) if layout else None
  mesh = mesh_lib.make_mesh(devices, **axes)
  share = mesh_lib.host(mesh)

  def batches(start):
    for step in range(start, steps):
      batch = toy_run.batch_at(step)
      mine = share.rows(len(batch["x"]))
      yield step, {k: x[mine] for k, x in batch.items()}

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
      hooks=[hooks_lib.Hook(4, look)], place=lambda b: mesh_lib.to_global(mesh, b),
      log_every=1, save_every=save_every)


if __name__ == "__main__":
  workdir, steps, where, save_every, *rest = sys.argv[1:]
  layout = "".join(a for a in rest if "=" not in a)
  sizes = {a.split("=")[0]: int(a.split("=")[1]) for a in rest if "=" in a}
  sys.exit(verb.together(where, lambda: train(
      workdir, int(steps), int(save_every), layout, **sizes)))

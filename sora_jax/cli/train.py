"""`sora-jax train`: trains the VAE or the diffusion transformer.

The same command goes on where a run was stopped, by a signal, by --max_seconds
or by a crash. On several hosts every host runs it, with --processes.
"""

from collections.abc import Callable
import importlib
import os
import sys
import traceback

from absl import flags
import jax

from sora_jax import mesh as mesh_lib
from sora_jax.cli import config as config_lib
from sora_jax.cli import errors
from sora_jax.cli import options
from sora_jax.data.loading import pipeline
from sora_jax.data.store import manifest as manifest_lib
from sora_jax.mesh import multihost
from sora_jax.tasks import build
from sora_jax.training import checkpoint
from sora_jax.training import loop
from sora_jax.training import state as state_lib

TASKS = {"vae": "sora_jax.tasks.vae", "dit": "sora_jax.tasks.dit"}
# What a later call of the same run may change.
FREE = (*checkpoint.FREE, "mesh", "sampling", "sources", "init_from",
        "data.cache_bytes")


def run(argv: list[str]) -> int:
  """Runs the verb."""
  f = options.Flags()
  argv = config_lib.define(f, argv)
  text = lambda *a: flags.DEFINE_string(*a, flag_values=f)
  text("data", None, "A data set: of `prepare` for the VAE, of `encode` for the "
       "transformer.")
  text("workdir", None, "The folder of the run.")
  text("vae", None, "The model folder whose VAE made the latents.")
  flags.DEFINE_float("max_seconds", 0, "Save and stop after so long; the same "
                     "command goes on.", lower_bound=0, flag_values=f)
  flags.DEFINE_bool("tensorboard", False, "Also write TensorBoard events (needs "
                    "the extra log).", flag_values=f)
  text("processes", "", "Of a run on several hosts: auto on TPU slices, GKE, "
       "SLURM and Open MPI, elsewhere INDEX/COUNT@HOST:PORT, with an address of "
       "process 0.")
  f.read(argv)
  for name in ("data", "workdir"):
    if not f[name].value:
      raise ValueError(f"--{name}=DIR is needed")
  return together(f.processes, lambda: train(f))


def together(where: str, work: Callable[[], object]) -> int:
  """Does `work` as one of several processes, `where` as in processes.begin.

  Whatever ends one of several ends it here and at once: the usual exit of jax
  would wait for the others.
  """
  multihost.init(where)
  try:
    work()
  except BaseException as error:
    if multihost.count() == 1:
      raise
    error = multihost.explain(error)
    if os.environ.get("SORA_JAX_TRACEBACK"):
      traceback.print_exception(error)
    code = errors.report("train", error)
    sys.stderr.flush()
    os._exit(code)
  return 0


def train(f: flags.FlagValues) -> None:
  """Trains by the flags of the verb."""
  cfg = f.config
  manifest = manifest_lib.open_manifest(f.data)
  multihost.check_joined()
  mesh = mesh_lib.make_mesh(**cfg.mesh)
  task = importlib.import_module(TASKS[cfg.kind]).make(
      cfg, manifest, f.workdir, f.vae, mesh)
  key = jax.random.key(cfg.seed)
  program = state_lib.program(task.objective, task.init,
                              build.optimizer_of(cfg), mesh, task.rules, key,
                              task.given)
  record = config_lib.to_json(cfg) | {
      "plan": task.plan.digest,
      "sources": {"data": os.path.abspath(f.data),
                  "vae": os.path.abspath(f.vae) if os.path.isdir(f.vae or "")
                         else f.vae}}  # the name of a model stays one
  host = mesh_lib.host(mesh)
  threads = max(1, min(8, (os.cpu_count() or 1) // 2))
  loop.train(
      program, lambda start: pipeline.batches(task.plan, start, host, threads),
      steps=cfg.steps, workdir=f.workdir, config=record, key=key,
      hooks=[loop.Hook(cfg.loop.preview_every, task.preview)],
      place=lambda batch: task.prepare(mesh_lib.to_global(mesh, batch)),
      count=task.count, unit=task.unit, log_every=cfg.loop.log_every,
      save_every=cfg.loop.save_every, free=FREE, max_seconds=f.max_seconds,
      tensorboard=f.tensorboard)

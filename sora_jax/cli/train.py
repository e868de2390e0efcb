"""`sora-jax train`: trains what a config says: the VAE or the transformer.

The same command goes on where a run was stopped, by a signal, by --max_seconds
or by a crash. On several hosts every host runs it, with --processes.
"""

from collections.abc import Callable
import os
import sys
import traceback

from absl import flags

from sora_jax.cli import config as config_lib
from sora_jax.cli import errors
from sora_jax.cli import options
from sora_jax.mesh import multihost
from sora_jax.tasks import train
from sora_jax.training import profile
from sora_jax.training import stopping


def run(argv: list[str]) -> int:
  """Runs the verb."""
  f = options.Flags()
  argv = config_lib.define(f, argv)
  text = lambda *a: flags.DEFINE_string(*a, flag_values=f)
  text("data", None, "The data set: one of `prepare` for the VAE, one of `encode` "
       "for the transformer.")
  text("workdir", None, "The folder of the run: checkpoints, metrics, previews.")
  text("vae", None, "The model whose VAE made the latents; for the transformer.")
  flags.DEFINE_float("max_seconds", 0, "Save and stop so early that the run ends "
                     "within so many seconds; the same command goes on. 0 is no "
                     "limit.", lower_bound=0, flag_values=f)
  flags.DEFINE_bool("tensorboard", False, "Also write TensorBoard events (needs "
                    "the extra log).", flag_values=f)
  text("profile", "", "FROM:TO, steps to trace into profile/ of the work folder, "
       "such as 10:12; xprof shows them.")
  text("processes", "", "For a run on several hosts: auto on TPU slices, GKE, "
       "SLURM and Open MPI; elsewhere INDEX/COUNT@HOST:PORT, the address of "
       "process 0.")
  f.read(argv)
  for name in ("data", "workdir"):
    if not f[name].value:
      raise ValueError(f"--{name}=DIR is needed")
  steps = profile.parse(f.profile)
  return together(f.processes, lambda: train.train(
      f.config, f.data, f.workdir, f.vae, max_seconds=f.max_seconds,
      tensorboard=f.tensorboard, profile=steps).reason)


def together(where: str, work: Callable[[], str]) -> int:
  """Does `work` as one of several processes.

  An error in one of several processes ends that process here and at once: the
  usual exit of jax would wait for the others.

  Args:
    where: as in multihost.init.
    work: gives the reason why it ended.

  Returns:
    The exit code: 130 where Ctrl-C ended it, which has saved all the same.
  """
  multihost.init(where)
  try:
    reason = work()
  except BaseException as error:
    if multihost.count() == 1:
      raise
    error = multihost.explain(error)
    if os.environ.get("SORA_JAX_TRACEBACK"):
      traceback.print_exception(error)
    code = errors.report("train", error)
    sys.stderr.flush()
    os._exit(code)
  return errors.INTERRUPTED if reason == stopping.INTERRUPT else 0

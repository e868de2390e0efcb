"""Several processes that run one program: how they meet, agree and end.

Every host runs the same command, and `init` joins them through
jax.distributed. Process 0 holds the coordination service, through which all
`exchange` a few words before each step: that is how they agree to stop at the
same step, and how one that is late or gone is noticed. With one process all of
this is nothing.

A process that ends is noticed after HEARTBEAT seconds at the latest, one that is
alive and does not come to the next step after PATIENCE.
"""

import ctypes
import itertools
import os
import re
import signal
import sys
import tempfile

import jax
from jax._src import distributed  # jax has no public barrier with a time limit
from jax.experimental import multihost_utils
import numpy as np

START = 300  # seconds until all must have met
HEARTBEAT = 30
PATIENCE = 600

# What jax says of a peer that is gone, by way of its collectives or its service.
_GONE = re.compile("gloo|nccl|coordination|heartbeat|barrier|socket closed",
                   re.IGNORECASE)
_rounds = itertools.count()
_kept = []  # what must live as long as the process


def init(where: str) -> None:
  """Joins this process to the others; before jax has looked for devices.

  Args:
    where: "" for one process alone; "auto" where jax.distributed finds the
      others by itself: TPU slices, GKE, SLURM, Open MPI; or INDEX/COUNT@HOST:PORT,
      this process of so many, and an address of process 0 that all can reach.

  Raises:
    ValueError: anything else, or "auto" where there is nothing to be found.
  """
  if not where:
    return
  given = {}
  if where != "auto":
    match = re.fullmatch(r"(\d+)/(\d+)@([^\s/@]+:\d+)", where)
    if not match or int(match[1]) >= int(match[2]):
      raise ValueError(f"--processes={where} is neither auto nor "
                       "INDEX/COUNT@HOST:PORT with INDEX from 0 to COUNT - 1, "
                       "such as 0/2@10.0.0.1:8476")
    given = dict(process_id=int(match[1]), num_processes=int(match[2]),
                 coordinator_address=match[3],
                 cluster_detection_method="deactivate")
  # Its handler of SIGTERM would take the place of the training loop's.
  jax.config.update("jax_enable_preemption_service", False)
  told = ["the processes of this run did not find each other within "
          f"{START} s: start the same command on every host"]
  if not os.environ.get("SORA_JAX_TRACEBACK"):
    _one_line_on_abort(told)
  try:
    jax.distributed.initialize(
        initialization_timeout=START, heartbeat_timeout_seconds=HEARTBEAT,
        shutdown_timeout_seconds=PATIENCE, **given)
  except ValueError as e:
    raise ValueError("--processes=auto finds no TPU slice, GKE, SLURM or Open MPI "
                     f"here ({e}): give INDEX/COUNT@HOST:PORT") from e
  told[0] = gone()


def check_joined() -> None:
  """Raises ValueError if the devices belong to more processes than were joined."""
  if jax.process_count() != count():
    raise ValueError(
        f"the devices here belong to {jax.process_count()} processes: give "
        "--processes=auto, and the same command on every host")


def gone() -> str:
  """What a process says that lost another."""
  return ("another process of this run ended or cannot be reached, so this one "
          "stops too: see what the others say; the same command on every host "
          "goes on from the last checkpoint")


def explain(error: BaseException) -> BaseException:
  """The error, or what it means if it comes of a process that is gone."""
  if _GONE.search(str(error)):
    lost = RuntimeError(gone())
    lost.__cause__ = error
    return lost
  return error


def count() -> int:
  """How many processes run this program."""
  return distributed.global_state.num_processes if _client() else 1


def first() -> bool:
  """Whether this is the process that writes and prints for all."""
  return not _client() or distributed.global_state.process_id == 0


def exchange(text: str = "") -> list[str]:
  """What the processes say, in their order; those that say "" are left out.

  Every process calls it as often and in the same order.

  Raises:
    RuntimeError: a process is gone, or late by more than PATIENCE.
  """
  client = _client()
  if not client:
    return [text] if text else []
  at, index = next(_rounds), distributed.global_state.process_id
  folder = lambda n: f"sora_jax/{n}/"
  if text:
    client.key_value_set(f"{folder(at)}{index:06d}", text)
  try:
    client.wait_at_barrier("sora_jax", PATIENCE * 1000)
    found = sorted(client.key_value_dir_get(folder(at)))
  except jax.errors.JaxRuntimeError as e:
    if "DEADLINE_EXCEEDED" in str(e):
      raise RuntimeError(
          f"another process of this run did not come to the next step within "
          f"{PATIENCE} s, so this one stops: see what the others say; the same "
          "command on every host goes on from the last checkpoint") from e
    raise RuntimeError(gone()) from e
  if index == 0 and at:  # who is here has read what was said before
    client.key_value_delete(folder(at - 1))
  return [said for _, said in found]


def gather(tree):
  """A tree of arrays as numpy, on every process."""
  return jax.tree.map(
      lambda x: np.asarray(x) if getattr(x, "is_fully_addressable", True)
      else multihost_utils.process_allgather(x, tiled=True), tree)


def stderr() -> int:
  """The descriptor of what the user sees as stderr."""
  return _kept[0].fileno() if _kept else 2


def _client():
  return distributed.global_state.client


def _one_line_on_abort(told: list[str]) -> None:
  """Makes of the abort of jax's coordination client one line and exit code 1.

  That client ends a process that lost the service or was told of a lost peer,
  by a report and abort(), and takes no handler of ours. So the libraries' stderr
  becomes a file, and SIGABRT has a handler, which shows this file if the abort
  was another one.
  """
  seen = os.fdopen(os.dup(2), "w", buffering=1)
  log = tempfile.TemporaryFile()  # noqa: SIM115
  sys.stderr.flush()
  os.dup2(log.fileno(), 2)
  sys.stderr = seen

  def handle(number):
    report = os.pread(log.fileno(), 2**20, 0)
    if b"distributed service detected fatal" in report:
      report = f"sora-jax: {told[0]}\n".encode()
    os.write(seen.fileno(), report)
    os._exit(1)

  handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(handle)
  ctypes.CDLL(None).signal(signal.SIGABRT, handler)
  _kept.extend((seen, log, handler))

"""Several processes that run one program: how they meet, agree and end.

Every host runs the same command, and `init` joins them through
jax.distributed. Process 0 runs the coordination service, through which all
`exchange` a few words before each step. So they agree to stop at the same step,
and notice a process that is late or gone. One process alone needs none of this.

A process that ended is noticed within HEARTBEAT seconds, one that lives but
does not reach the next step within PATIENCE.
"""

import collections
from collections.abc import Iterator
import ctypes
import itertools
import os
import re
import signal
import sys
import tempfile
from typing import Any

import jax
from jax.experimental import multihost_utils
import numpy as np

from sora_jax import types

try:  # jax has no public barrier with a time limit
  from jax._src.distributed import global_state as _state
except ImportError:
  _state = None

START = 300  # seconds until all must have met
HEARTBEAT = 30
PATIENCE = 600

# What jax's collectives and its service say of a process that is gone.
_GONE = re.compile("gloo|nccl|coordination|heartbeat|barrier|socket closed",
                   re.IGNORECASE)
# The rounds of every channel; threads that exchange have channels of their own.
_rounds: dict[str, Iterator[int]] = collections.defaultdict(itertools.count)
_kept: list[Any] = []  # what must live as long as the process


def init(where: str) -> None:
  """Joins this process to the others; call it before jax looks for devices.

  Args:
    where: "" for one process alone; "auto" where jax.distributed finds the
      others by itself: TPU slices, GKE, SLURM, Open MPI; or
      INDEX/COUNT@HOST:PORT: this process, how many there are, and an address of
      process 0 that all can reach.

  Raises:
    ValueError: anything else, or "auto" where jax.distributed finds nothing.
    RuntimeError: a jax without what this file uses of it.
  """
  if not where:
    return
  if _state is None:
    raise RuntimeError(
        f"jax {jax.__version__} has no jax._src.distributed.global_state, "
        "which --processes needs: 0.10.2 and 0.12, which were tested, have it")
  given: dict[str, Any] = {}
  if where != "auto":
    match = re.fullmatch(r"(\d+)/(\d+)@([^\s/@]+:\d+)", where)
    if not match or int(match[1]) >= int(match[2]):
      raise ValueError(f"--processes={where} is neither auto nor "
                       "INDEX/COUNT@HOST:PORT with INDEX from 0 to COUNT - 1, "
                       "such as 0/2@10.0.0.1:8476")
    given = dict(process_id=int(match[1]), num_processes=int(match[2]),
                 coordinator_address=match[3],
                 cluster_detection_method="deactivate")
  # jax's handler of SIGTERM would replace the training loop's.
  jax.config.update("jax_enable_preemption_service", False)
  report = ["the processes of this run did not find each other within "
            f"{START} s: start the same command on every host"]
  if not os.environ.get("SORA_JAX_TRACEBACK"):
    _one_line_on_abort(report)
  try:
    jax.distributed.initialize(
        initialization_timeout=START, heartbeat_timeout_seconds=HEARTBEAT,
        shutdown_timeout_seconds=PATIENCE, **given)
  except ValueError as e:
    raise ValueError("--processes=auto finds no TPU slice, GKE, SLURM or Open "
                     f"MPI here ({e}): give INDEX/COUNT@HOST:PORT") from e
  report[0] = gone()


def leave() -> None:
  """Waits for the others at the end of a run, and parts from them."""
  if _client():
    jax.distributed.shutdown()


def check_joined() -> None:
  """Raises ValueError if devices belong to processes that have not joined."""
  if jax.process_count() != count():
    raise ValueError(
        f"the devices here belong to {jax.process_count()} processes: give "
        "--processes=auto, and the same command on every host")


def gone() -> str:
  """What a process reports when it has lost another."""
  return ("another process of this run ended or cannot be reached, so this one "
          "stops too: see what the others say; the same command on every host "
          "goes on from the last checkpoint")


def explain(error: BaseException) -> BaseException:
  """The error, or a plain one if a process that is gone caused it."""
  if _GONE.search(str(error)):
    lost = RuntimeError(gone())
    lost.__cause__ = error
    return lost
  return error


def count() -> int:
  """How many processes run this program."""
  return _state.num_processes if _client() else 1


def place() -> tuple[int, int]:
  """(this process, how many there are), of what they share among them."""
  return (_state.process_id if _client() else 0), count()


def first() -> bool:
  """Whether this is the process that writes and prints for all."""
  return not _client() or _state.process_id == 0


def exchange(text: str = "", channel: str = "") -> list[str]:
  """What all processes say, in their order, without those that say "".

  Every process must make the same calls in the same order. A thread beside the
  main one exchanges in a channel of its own.

  Raises:
    RuntimeError: a process is gone, or late by more than PATIENCE.
  """
  client = _client()
  if not client:
    return [text] if text else []
  turn, index = next(_rounds[channel]), _state.process_id
  name = f"sora_jax{channel and '-'}{channel}"
  folder = lambda n: f"{name}/{n}/"
  if text:
    client.key_value_set(f"{folder(turn)}{index:06d}", text)
  try:
    client.wait_at_barrier(name, PATIENCE * 1000)
    found = sorted(client.key_value_dir_get(folder(turn)))
  except jax.errors.JaxRuntimeError as e:
    if "DEADLINE_EXCEEDED" in str(e):
      raise RuntimeError(
          f"another process of this run did not come to the next step within "
          f"{PATIENCE} s, so this one stops: see what the others say; the same "
          "command on every host goes on from the last checkpoint") from e
    raise RuntimeError(gone()) from e
  if index == 0 and turn:  # all that are here have read the turn before
    client.key_value_delete(folder(turn - 1))
  return [value for _, value in found]


def gather(tree: types.PyTree) -> types.PyTree:
  """A tree of arrays as whole numpy arrays, on every process."""
  return jax.tree.map(
      lambda x: np.asarray(x) if getattr(x, "is_fully_addressable", True)
      else multihost_utils.process_allgather(x, tiled=True), tree)


def stderr() -> int:
  """The file descriptor that the user sees as stderr."""
  return _kept[0].fileno() if _kept else 2


def _client():
  return _state and _state.client


def _one_line_on_abort(report: list[str]) -> None:
  """Turns the abort of jax's coordination client into one line and exit code 1.

  That client ends a process that lost the service or another process, by a
  report and abort(), and accepts no handler of ours. So the libraries' stderr
  becomes a file, and a handler of SIGABRT prints report[0] instead, or the file
  if the abort had another cause.
  """
  seen = os.fdopen(os.dup(2), "w", buffering=1)
  log = tempfile.TemporaryFile()  # noqa: SIM115
  sys.stderr.flush()
  os.dup2(log.fileno(), 2)
  sys.stderr = seen

  def handle(number):
    text = os.pread(log.fileno(), 2**20, 0)
    if b"distributed service detected fatal" in text:
      text = f"sora-jax: {report[0]}\n".encode()
    os.write(seen.fileno(), text)
    os._exit(1)

  handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(handle)
  ctypes.CDLL(None).signal(signal.SIGABRT, handler)
  _kept.extend((seen, log, handler))

"""One run in a work folder at a time.

A second run would delete the save that the first is writing. The file `lock` of
the folder is held by the kernel's flock, which ends with the process, however
it ends. It names the process and its host. A lock of another host, where flock
may not reach, is held while its time moves: the holder renews it.
"""

from collections.abc import Callable, Iterator
import contextlib
import fcntl
import functools
import json
import os
import pathlib
import socket
import threading
import time
from typing import cast, ParamSpec, TypeVar

from sora_jax import files
from sora_jax.mesh import multihost
from sora_jax.training import progress

NAME = "lock"
RENEW = 15.0  # seconds between two times of a lock that is held
GONE = 60.0  # seconds after which a lock whose time stands still is stale
POLL = 1.0

P = ParamSpec("P")
T = TypeVar("T")


@contextlib.contextmanager
def hold(workdir: str | os.PathLike) -> Iterator[None]:
  """Holds the work folder for all processes of a run.

  Raises:
    ValueError: another run works in it; the message names it.
  """
  fault, held = "", None
  if multihost.first():
    try:
      held = _take(pathlib.Path(workdir))
    except ValueError as e:
      fault = str(e)
  if faults := multihost.exchange(fault, NAME):
    raise ValueError(faults[0])
  ended = threading.Event()
  if held is not None:
    threading.Thread(target=_renew, args=(held, ended), daemon=True).start()
  try:
    yield
  finally:
    ended.set()
    if held is not None:
      os.ftruncate(held, 0)  # free; a file that stays cannot be taken twice
      os.close(held)


def holding(run: Callable[P, T]) -> Callable[P, T]:
  """`run`, which has an argument `workdir` by name, while it holds that."""

  @functools.wraps(run)
  def held(*args: P.args, **named: P.kwargs) -> T:
    with hold(cast(str, named["workdir"])):
      return run(*args, **named)

  return held


def _take(workdir: pathlib.Path) -> int:
  """The file descriptor of the lock, which names this process now."""
  workdir.mkdir(parents=True, exist_ok=True)
  path = workdir / NAME
  flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
  lock = os.open(path, flags, 0o644)
  try:
    try:
      fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      raise ValueError(_in_use(workdir, _holder(lock))) from None
    host, process = _holder(lock)
    if host not in ("", socket.gethostname()) and _moves(lock, path):
      raise ValueError(_in_use(workdir, (host, process)))
    if host:
      progress.log(f"{path}: process {process} on {host} is gone, its lock is "
                   "stale")
    os.ftruncate(lock, 0)
    with files.full_disk_named(path):
      os.pwrite(lock, json.dumps({"host": socket.gethostname(),
                                  "process": os.getpid()}).encode(), 0)
  except BaseException:
    os.close(lock)
    raise
  return lock


def _holder(lock: int) -> tuple[str, int]:
  """(host, process) that a lock names; ("", 0) where it is free."""
  text = os.pread(lock, 4096, 0)
  if not text:
    return "", 0
  try:
    found = json.loads(text)
    return str(found["host"]), int(found["process"])
  except (ValueError, KeyError, TypeError):
    return "an unknown host", 0


def _moves(lock: int, path: pathlib.Path) -> bool:
  """Whether the time of a lock moves within GONE seconds."""
  first = os.fstat(lock).st_mtime_ns
  progress.log(f"{path} is of another host: looking whether its run lives, "
               f"{GONE:.0f} s")
  end = time.monotonic() + GONE
  while time.monotonic() < end:
    time.sleep(POLL)
    if os.fstat(lock).st_mtime_ns != first:
      return True
  return False


def _renew(lock: int, ended: threading.Event) -> None:
  while not ended.wait(RENEW):
    with contextlib.suppress(OSError):
      os.utime(lock)


def _in_use(workdir: pathlib.Path, holder: tuple[str, int]) -> str:
  host, process = holder
  return (f"{workdir} is in use by process {process} on {host}: wait until it "
          "has ended, or give another workdir")

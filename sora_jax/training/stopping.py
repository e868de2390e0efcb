"""Why a run stops before its last step, and what it does meanwhile.

A signal or the end of the time that was asked for. The compiler cannot be
interrupted, so it works in a thread of its own: a run that has to stop does not
wait for it. All processes agree: what one of them wishes, all do.
"""

from collections.abc import Callable
import dataclasses
import math
import os
import signal
import threading
import time
from typing import Any

from sora_jax.mesh import multihost
from sora_jax.training import progress

INTERRUPT, SIGNAL, TIME, SAVE = "interrupt", "signal", "time", "save"
LATE = "late"  # too late for previews and evaluation
LOST = "lost="  # and a place in the batch whose clip cannot be read
COMPILING = "compiling"
THREAD = "sora_jax compiles"
POLL = 0.5  # seconds between two looks at the thread of the compiler


@dataclasses.dataclass(frozen=True)
class Stop:
  """What may stop a run; made by `watch`.

  Attributes:
    asked: set by SIGTERM and SIGINT.
    deadline: of time.monotonic(); infinite without a limit.
    undo: puts the handlers of the signals back.
    interrupted: set by SIGINT alone.
  """

  asked: threading.Event
  deadline: float
  undo: Callable[[], object]
  interrupted: threading.Event = dataclasses.field(
      default_factory=threading.Event)

  def wish(self, reserve: float = 0.0) -> str:
    """INTERRUPT, SIGNAL, TIME where `reserve` seconds are not left, or ""."""
    if self.interrupted.is_set():
      return INTERRUPT
    if self.asked.is_set():
      return SIGNAL
    return TIME if time.monotonic() + reserve > self.deadline else ""

  def fits(self, seconds: float) -> bool:
    """Whether so many seconds are left."""
    return time.monotonic() + seconds <= self.deadline


def watch(start: float, max_seconds: float) -> Stop:
  """Handles signals from now on; `max_seconds` after `start`, 0 is no limit."""
  asked, interrupted = threading.Event(), threading.Event()
  deadline = start + max_seconds if max_seconds else math.inf
  if threading.current_thread() is not threading.main_thread():
    return Stop(asked, deadline, lambda: None)
  before = {s: signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT)}
  stderr = multihost.stderr()

  def handle(number, _):
    if number == signal.SIGINT:
      interrupted.set()
    asked.set()
    os.write(stderr, b"\nstopping after this step\n")
    if number == signal.SIGINT:
      signal.signal(signal.SIGINT, signal.default_int_handler)

  for s in before:
    signal.signal(s, handle)
  return Stop(asked, deadline,
              lambda: [signal.signal(s, h) for s, h in before.items()],
              interrupted)


def agree(*wishes: str) -> set[str]:
  """What any of the processes wishes; every process must ask."""
  found = multihost.exchange(" ".join(filter(None, wishes)))
  return {wish for text in found for wish in text.split()}


def reason_of(wishes: set[str]) -> str:
  """INTERRUPT, SIGNAL or TIME where one is wished, else ""."""
  return next((w for w in (INTERRUPT, SIGNAL, TIME) if w in wishes), "")


def compile_step(step: Any, args: tuple, what: str, stop: Stop) -> str:
  """Compiles a jitted step for arguments, so that its call finds it done.

  Args:
    step: of jax.jit.
    args: of its call to come.
    what: is compiled, for the line that is shown.
    stop: of `watch`.

  Returns:
    "", or why the run stops while the compiler still works.
  """
  done, errors = threading.Event(), list[BaseException]()

  def work():
    try:
      step.lower(*args).compile()
    except BaseException as error:  # pylint: disable=broad-except
      errors.append(error)
    finally:
      done.set()

  start = time.monotonic()
  threading.Thread(target=work, name=THREAD, daemon=True).start()
  while True:
    done.wait(POLL)
    if errors:
      raise errors[0]
    busy = not done.is_set()
    wishes = agree(COMPILING if busy else "", stop.wish() if busy else "")
    if reason := reason_of(wishes):
      return reason
    if COMPILING not in wishes:
      return ""
    progress.live(f"{what}, {time.monotonic() - start:.0f} s")


def compiles() -> bool:
  """Whether the compiler still works for a run that has stopped."""
  return any(t.name == THREAD for t in threading.enumerate())

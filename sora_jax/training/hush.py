"""What Orbax, asyncio and TensorStore print of a save that fails: nothing.

Orbax raises one error, which becomes one line. It logs pages about it as well;
asyncio logs the errors of the other leaves, which nobody asks for; and of writes
that end after all is over, TensorStore tells that their event loop is closed.
"""

from collections.abc import Callable
import functools
import logging
import os
import sys
import traceback
from typing import Any

ORBAX = f"{os.sep}orbax{os.sep}"


def hush() -> None:
  """Lets nothing of a failed save through but what is raised."""
  for name in ("absl", "asyncio"):
    logging.getLogger(name).addFilter(_not_of_orbax)
  hook = sys.unraisablehook
  if getattr(hook, "func", None) is not _unraisable:
    sys.unraisablehook = functools.partial(_unraisable, hook)


def _not_of_orbax(record: logging.LogRecord) -> bool:
  """Whether a line of a log is of others, and its error too."""
  places = [record.pathname]
  if record.exc_info and record.exc_info[2]:
    places += [frame.filename
               for frame in traceback.extract_tb(record.exc_info[2])]
  return not any(ORBAX in place for place in places)


def _unraisable(others: Callable[[Any], Any], told: Any) -> None:
  """An error in a thread that nobody waits for; `others` tells of all but one."""
  if not (isinstance(told.exc_value, RuntimeError)
          and str(told.exc_value) == "Event loop is closed"):
    others(told)

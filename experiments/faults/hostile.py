"""What the sweeps of edited files share: the damage, the clock and the verdict.

Good is what works, or one line that names the folder, within SECONDS and MEGABYTES.
"""

import collections
from collections.abc import Callable, Iterator
import contextlib
import os
import pathlib
import random
import resource
import shutil
import signal

SECONDS, MEGABYTES = 20, 2048
SHARE = 6


class TooLate(BaseException):
  """What nothing in between catches, as it would an error."""


@contextlib.contextmanager
def in_time() -> Iterator[None]:
  """Raises TooLate in a block that takes more than SECONDS of processor time.

  Or of SHARE times as much by the clock, which is left to others on a busy
  machine, and which alone runs where something waits for ever.
  """

  def late(*_):
    raise TooLate(f"more than {SECONDS} s")

  clocks = ((signal.SIGALRM, signal.ITIMER_REAL, SHARE * SECONDS),
            (signal.SIGPROF, signal.ITIMER_PROF, SECONDS))
  for number, clock, seconds in clocks:
    signal.signal(number, late)
    signal.setitimer(clock, seconds)
  try:
    yield
  finally:
    for _, clock, _ in clocks:
      signal.setitimer(clock, 0)


def damage(path: pathlib.Path, what: str) -> None:
  """Puts something else in the place of a file; "gone" puts nothing there."""
  data = path.read_bytes()
  path.unlink()
  if what == "zero":
    path.symlink_to("/dev/zero")
  elif what == "outside":
    path.symlink_to("/etc/passwd")
  elif what == "pipe":
    os.mkfifo(path)
  elif what == "folder":
    path.mkdir()
  elif what != "gone":
    path.write_bytes({"empty": b"", "half": data[:len(data) // 2],
                      "noise": random.Random(1).randbytes(len(data)),
                      "deep": b"[" * 30_000}[what])


def judge(folder: pathlib.Path, at: pathlib.Path,
          edit: Callable[[pathlib.Path], None],
          use: Callable[[pathlib.Path], str]) -> tuple[str, str]:
  """("taken", "one line" or "BAD", what is said) of an edited copy of a folder.

  Args:
    folder: which stays as it is.
    at: where its copy lies meanwhile.
    edit: does the edit in the copy.
    use: what is said of a folder: "taken" in front where it works. A ValueError
      or an OSError is said too, any other error is bad.
  """
  shutil.copytree(folder, at)
  edit(at)
  try:
    with in_time():
      said = use(at)
    verdict = "taken" if said.startswith("taken") else "BAD"
  except (ValueError, OSError) as e:
    said = str(e)
    verdict = "one line" if "\n" not in said and str(at) in said else "BAD"
  except (Exception, TooLate) as e:  # pylint: disable=broad-except
    verdict, said = "BAD", f"{type(e).__name__}: {e}"
  finally:
    shutil.rmtree(at, ignore_errors=True)
  return verdict, said.replace(str(at), "DIR")


def tell(verdict: str, case: tuple, said: str) -> None:
  """Prints the line of a case."""
  print(f"{verdict:8} {' '.join(map(str, case))[:60]}: {said[:150]}")


def conclude(counts: collections.Counter, what: str) -> int:
  """Prints the counts of all cases and the memory; 0 where the claim holds."""
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
  good = not counts["BAD"] and peak < MEGABYTES
  print(f"memory: {peak} MB at most")
  print(f"{sum(counts.values())} {what}: {counts['taken']} taken, "
        f"{counts['one line']} refused in one line, {counts['BAD']} otherwise: the "
        f"claim {'holds' if good else 'does not hold'}")
  return int(not good)

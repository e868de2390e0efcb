"""Runs a function over tasks: in this process, on all cores, or on Beam.

A task is one part of the work, such as a shard: whatever stopped, the tasks
that are left are run again, and a finished one is never repeated.
"""

from collections.abc import Callable
from concurrent import futures
from concurrent.futures import process
import multiprocessing
from multiprocessing import connection
import os
import threading
from typing import Any

from sora_jax.data.prepare import beam_runner

DEATHS = 100  # of worker processes, after which the run gives up


def run(call: Callable[[Any], int], tasks: list, workers: int | None,
        report: Callable[[int | None], object],
        beam: tuple[str, ...] | None = None) -> None:
  """Calls `call(task)` for every task.

  Args:
    call: picklable; gives the number of clips done. It must be able to run a
      task again that a dying process left half done.
    tasks: picklable.
    workers: processes; 0 works in this one; None is all cores.
    report: called with the result of each task; of Beam once, with None.
    beam: flags of Apache Beam, which then runs the tasks; None is off.

  Raises:
    RuntimeError: worker processes die again and again.
  """
  if beam is not None:
    beam_runner.run(call, tasks, beam)
    report(None)
    return
  workers = (os.cpu_count() or 1) if workers is None else workers
  if workers == 0 or not tasks:
    for task in tasks:
      report(call(task))
    return
  deaths, alone = 0, False
  while tasks:
    # After a death the tasks that were under way run one by one, so that only
    # what killed its process is held responsible.
    first = tasks[:2 * workers] if alone else tasks
    left = _pool(call, first, 1 if alone else workers, report)
    tasks, alone = left + tasks[len(first):], bool(left)
    deaths += alone
    if deaths == DEATHS:
      raise RuntimeError(f"worker processes died {DEATHS} times: is there "
                         "enough memory? Give fewer --workers")


def _pool(call: Callable[[Any], int], tasks: list, workers: int,
          report: Callable[[int | None], object]) -> list:
  """Runs tasks in processes; those that are left when one of them dies."""
  context = multiprocessing.get_context("spawn")
  with futures.ProcessPoolExecutor(min(workers, len(tasks)), context,
                                   _end_with_parent) as pool:
    jobs = {pool.submit(call, task): i for i, task in enumerate(tasks)}
    done = set()
    try:
      for job in futures.as_completed(jobs):
        try:
          report(job.result())
          done.add(jobs[job])
        except process.BrokenProcessPool:
          continue
    except BaseException:
      pool.shutdown(wait=False, cancel_futures=True)
      raise
  return [task for i, task in enumerate(tasks) if i not in done]


def _end_with_parent() -> None:
  """Ends this worker when its parent dies of a signal and cannot tell it to."""
  def wait() -> None:
    if parent := multiprocessing.parent_process():
      connection.wait([parent.sentinel])
      os._exit(1)

  threading.Thread(target=wait, daemon=True).start()

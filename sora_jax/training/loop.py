"""The training loop, in four acts, the same for any model.

The host never waits for the current step: it dispatches step n, then reads the
metrics of step n - 1. Randomness is fold_in(key, step) and the data is a function
of the step, so an interrupted run equals one that was not interrupted. After
every step the processes agree whether one of them was asked to stop, so that all
save the same step.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
import dataclasses
import os
import pathlib
import signal
import threading
import time
from typing import Any

import jax

from sora_jax.mesh import multihost
from sora_jax.training import checkpoint
from sora_jax.training import metrics as metrics_lib
from sora_jax.training import state as state_lib


@dataclasses.dataclass(frozen=True)
class Hook:
  """Something done every `every` steps, and at the end: previews, evaluation.

  Attributes:
    every: steps between two calls; 0 is never.
    run: (step, state) -> None. It must not keep `state`, whose buffers the next
      step takes over. Every process runs it.
  """

  every: int
  run: Callable[[int, state_lib.TrainState], None]


@dataclasses.dataclass(frozen=True)
class Outcome:
  """How a run ended: its state, and "done", "signal" or "time"."""

  state: state_lib.TrainState
  reason: str


def train(program: state_lib.Program,
          batches: Callable[[int], Iterable[tuple[int, Any]]], *, steps: int,
          workdir: str | os.PathLike, config: dict, key: jax.Array,
          hooks: Sequence[Hook] = (),
          place: Callable[[Any], Any] = lambda batch: batch,
          count: Callable[[Any], int] = lambda batch: 0, unit: str = "tokens",
          log_every: int = 10, save_every: int = 1000, keep: int = 2,
          free: tuple[str, ...] = checkpoint.FREE, max_seconds: float = 0,
          skip_limit: int = 20, tensorboard: bool = False,
          with_new_names: Callable[[dict], dict] = dict) -> Outcome:
  """Trains to `steps`, from the newest checkpoint in `workdir` if there is one.

  Args:
    program: of `state.program`.
    batches: start step -> iterator of (step, batch), each a function of step.
    steps: the step to reach.
    workdir: folder of checkpoints/ and metrics.jsonl.
    config: the resolved config; JSON-able.
    key: the run's key.
    hooks: called between steps.
    place: puts a host's batch on the mesh.
    count: units in a batch, for the rate.
    unit: their name.
    log_every: steps between lines of metrics.jsonl; a skipped step always has
      one.
    save_every: steps between checkpoints; the last step is always saved.
    keep: checkpoints kept.
    free: config keys that may differ from the checkpoint's.
    max_seconds: save and stop after so long, to go on by the same command; 0
      is no limit.
    skip_limit: stop after so many skipped steps in a row.
    tensorboard: also write TensorBoard events.
    with_new_names: the config of an older checkpoint -> the same under the names
      that `config` uses.

  Returns:
    The outcome. SIGTERM and SIGINT, at any of the processes, save and return; a
    second SIGINT interrupts.

  Raises:
    ValueError: a checkpoint of another config, or damaged beyond use.
    OSError: a save failed.
    FloatingPointError: too many steps in a row were skipped.
    RuntimeError: another process of the run is gone, or too late.
  """
  start = time.monotonic()

  # ----------------------------------------------------- act 1: where we are
  saves = checkpoint.open_checkpoints(workdir, config, free, keep,
                                      with_new_names)
  state = saves.restore(program.abstract)
  if state is None:
    metrics_lib.log(f"a new run in {pathlib.Path(workdir)}")
    state = program.create()
  else:
    metrics_lib.log(f"going on from step {int(state.step)} in {pathlib.Path(workdir)}")
  step = int(state.step)
  writer = metrics_lib.open_writer(workdir, step, tensorboard)
  clock = metrics_lib.Clock(unit, steps)
  stop, undo = _signals()
  shapes, skips, consecutive, reason = set(), [], 0, "done"

  def write(last):
    """Writes the metrics of the last step; returns its consecutive skips."""
    n, values = last
    values = {k: float(v) for k, v in jax.device_get(values).items()}
    consecutive = int(values.pop("consecutive_skips"))
    if consecutive:
      skips.append(n)
      metrics_lib.log(f"step {n} skipped: loss {values['loss']:.4g}, gradient norm "
          f"{values['grad_norm']:.4g}")
    if n % log_every == 0 or consecutive:
      timing = clock.timing(n)
      writer.write(n, values, timing)
      metrics_lib.log_progress(n, steps, values, timing, unit)
    return consecutive

  try:
    # ------------------------------------------------------- act 2: the steps
    last = None
    source = iter(batches(step)) if step < steps else iter(())
    while step < steps:
      asked = time.monotonic()
      batch = _next(source, step)
      units = count(batch)
      batch = place(batch)
      got = time.monotonic()
      shape = tuple((x.shape, str(x.dtype)) for x in jax.tree.leaves(batch))
      state, metrics = program.step(state, batch, key)
      if last is not None:
        consecutive = write(last)
      step += 1
      last = (step, metrics)
      clock.tick(units, got - asked)
      if shape not in shapes:
        shapes.add(shape)
        jax.block_until_ready(metrics)
        clock.leave_out(time.monotonic() - got)
        metrics_lib.log(f"step {step}: first of shape {shape[0][0]}, "
            f"{time.monotonic() - got:.1f} s with compilation")

      # ------------------------------------------- act 3: saves and previews
      wish = ("signal" if stop.is_set() else "time" if max_seconds and
              time.monotonic() - start > max_seconds else "")
      reason = next(iter(multihost.exchange(wish)), "done")
      if consecutive >= skip_limit:
        reason, bad = "skips", skips[-skip_limit:]
      ending = reason != "done" or step == steps
      due = [h for h in hooks if h.every and (
          step % h.every == 0 or step == steps)]
      if ending or step % save_every == 0 or due:
        consecutive, last = write(last), None
      paused = time.monotonic()
      if ending or step % save_every == 0:
        saves.save(state, wait=ending)
      if reason == "done":
        for hook in due:
          hook.run(step, state)
      clock.leave_out(time.monotonic() - paused)
      saves.check()
      if ending:
        break

    # --------------------------------------------------------- act 4: the end
    if reason == "skips":
      raise FloatingPointError(
          f"{skip_limit} steps in a row had no usable gradient (steps "
          f"{', '.join(map(str, bad))}): the parameters are as they were before "
          "them; look at the data of these steps or lower the learning rate")
    if reason == "done":
      metrics_lib.log(f"done: {step} steps, {int(state.clips):,} clips, "
                      f"{int(state.skipped)} skipped")
    else:
      metrics_lib.log(f"stopped at step {step} ({reason}), saved; the same "
                      "command goes on")
    return Outcome(state, reason)
  finally:
    undo()
    writer.close()
    saves.close()


def _next(source: Iterator, step: int):
  """The batch of `step`."""
  try:
    found, batch = next(source)
  except StopIteration:
    raise ValueError(f"the data ended at step {step}") from None
  if found != step:
    raise ValueError(f"the data is at step {found} and the run at {step}")
  return batch


def _signals():
  """(event set by SIGTERM or SIGINT, function that puts the handlers back)."""
  stop = threading.Event()
  if threading.current_thread() is not threading.main_thread():
    return stop, lambda: None
  before = {s: signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT)}
  stderr = multihost.stderr()

  def handle(number, _):
    stop.set()
    os.write(stderr, b"\nstopping after this step\n")
    if number == signal.SIGINT:
      signal.signal(signal.SIGINT, signal.default_int_handler)

  for s in before:
    signal.signal(s, handle)
  return stop, lambda: [signal.signal(s, h) for s, h in before.items()]

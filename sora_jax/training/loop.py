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
import time
from typing import Any

import jax

from sora_jax import messages
from sora_jax.data.loading import losses as losses_lib
from sora_jax.mesh import multihost
from sora_jax.training import checkpoint
from sora_jax.training import clock as clock_lib
from sora_jax.training import config_changes
from sora_jax.training import grace
from sora_jax.training import hooks as hooks_lib
from sora_jax.training import lock
from sora_jax.training import metrics as metrics_lib
from sora_jax.training import profile as profile_lib
from sora_jax.training import progress
from sora_jax.training import report
from sora_jax.training import state as state_lib
from sora_jax.training import stopping

NO_RATES = clock_lib.Rates()
# A run stops where more than this share of its clips cannot be read, and more
# than this share of LEAST.
LOST_SHARE = 0.01
LEAST = 1000  # clips


@dataclasses.dataclass(frozen=True)
class Outcome:
  """How a run ended: its state, and "done" or a reason of `stopping`."""

  state: state_lib.TrainState = dataclasses.field(repr=False)
  reason: str


@lock.holding
def train(program: state_lib.Program,
          batches: Callable[[int], Iterable[tuple[int, Any]]], *, steps: int,
          workdir: str | os.PathLike, config: dict, key: jax.Array,
          hooks: Sequence[hooks_lib.Hook] = (),
          validations: Sequence[hooks_lib.Validation] = (),
          place: Callable[[Any], Any] = lambda batch: batch,
          losses: losses_lib.Losses | None = None,
          rates: clock_lib.Rates = NO_RATES, log_every: int = 10,
          save_every: int = 1000,
          save_minutes: float = 0, keep: int = 2,
          free: tuple[str, ...] = config_changes.FREE, max_seconds: float = 0,
          skip_limit: int = 20, tensorboard: bool = False,
          profile: tuple[int, int] | None = None, start: float | None = None,
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
    validations: measured between steps.
    place: puts a host's batch on the mesh.
    losses: where the batches note the clips that cannot be read.
    rates: what speed is measured by.
    log_every: steps between lines of metrics.jsonl; a step that is skipped or
      loses a clip always has one.
    save_every: steps between checkpoints; the last step is always saved.
    save_minutes: minutes after which a checkpoint is saved as well; 0 is never.
    keep: checkpoints kept.
    free: config keys that may differ from the checkpoint's.
    max_seconds: save and stop so early that the run ends within so long, to go
      on by the same command; 0 is no limit. One step is always done,
      unless the time is over while it is compiled.
    skip_limit: stop after so many skipped steps in a row.
    tensorboard: also write TensorBoard events.
    profile: (first, last) of the steps that are traced into profile/.
    start: when the run began, of time.monotonic(); now if None.
    with_new_names: the config of an older checkpoint -> the same under the names
      that `config` uses.

  Returns:
    The outcome. SIGTERM and SIGINT, at any of the processes, save and return; a
    second SIGINT interrupts.

  Raises:
    ValueError: another run works in `workdir`; a checkpoint of another config,
      or damaged beyond use; or more than LOST_SHARE of the clips cannot be read.
    OSError: a save failed.
    FloatingPointError: too many steps in a row were skipped.
    RuntimeError: another process of the run is gone, or too late.
  """
  start = time.monotonic() if start is None else start
  losses = losses or losses_lib.Losses()
  clock = clock_lib.Clock(rates.unit, steps, rates.chips, rates.peak, start)

  # ----------------------------------------------------- act 1: where we are
  begun = time.monotonic()
  clock.add("init", begun - start)
  saves = checkpoint.open_checkpoints(workdir, config, free, keep,
                                      with_new_names)
  state = saves.restore(program.abstract)
  if state is None:
    progress.log(f"a new run in {pathlib.Path(workdir)}")
    state = program.create()
    clock.add("init", time.monotonic() - begun)
  else:
    progress.log(f"going on from step {int(state.step)} in "
                 f"{pathlib.Path(workdir)}")
    clock.add("restart", time.monotonic() - begun)
  first = step = int(state.step)
  writer = metrics_lib.open_writer(workdir, step, tensorboard)
  clock.lose(writer.lost)
  stop = stopping.watch(start, max_seconds)
  saving = grace.Saving(saves, state, save_every, save_minutes)
  tracer = profile_lib.Tracer(workdir, profile)
  clips = int(state.clips)
  told = report.Report(writer, clock, log_every, clips)
  shapes, consecutive, reason = set(), 0, "done"
  # Clips that could not be read, in all and in this call.
  unreadable, lost_here = writer.unreadable, 0
  ending, hooks_take = False, 0.0

  try:
    # ------------------------------------------------------- act 2: the steps
    last = None
    for missed in hooks if step else ():
      if missed.due(step, steps) and multihost.exchange(
          "lacks" if multihost.first() and missed.lacks(step) else ""):
        with clock.phase("evaluation"):
          missed.run(step, state)
    source = iter(batches(step)) if step < steps else iter(())
    while step < steps:
      asked = time.monotonic()
      local = _next(source, step)
      batch = place(local)
      # What is counted is of this host's rows; all are as many times as much.
      share = _rows(batch) / max(_rows(local), 1)
      units, flops = share * rates.count(local), share * rates.flops(local)
      got = time.monotonic()
      clock.add("data", got - asked)
      shape = tuple((x.shape, str(x.dtype)) for x in jax.tree.leaves(batch))
      if shape not in shapes:
        shapes.add(shape)
        what = f"step {step + 1}: compiling for the shape {shape[0][0]}"
        progress.log(what)
        with clock.phase("compile"):
          reason = stopping.compile_step(program.step,
                                         (state, batch, key, program.phases),
                                         what, stop) or "done"
        if reason != "done":
          break
        progress.log(f"step {step + 1}: compiled in "
                     f"{time.monotonic() - got:.1f} s")
      tracer.before(step + 1)
      state, metrics = program.step(state, batch, key, program.phases)
      if last is not None:
        consecutive = told.write(last)
      step += 1
      clock.tick(units, flops)
      tracer.after(step, metrics)

      # ------------------------------------------- act 3: saves and previews
      every: list[hooks_lib.Hook | hooks_lib.Validation] = [*hooks, *validations]
      due = [h for h in every if h.due(step, steps)]
      reserve = saving.seconds + clock.seconds_a_step()
      wishes = stopping.agree(
          stop.wish(reserve), saving.wish(step),
          stopping.LATE if due and not stop.fits(hooks_take + reserve) else "",
          *(stopping.LOST + place for place in losses.take(step - 1)))
      lost = sum(wish.startswith(stopping.LOST) for wish in wishes)
      unreadable, lost_here = unreadable + lost, lost_here + lost
      last = report.Step(step, metrics, lost, unreadable)
      reason = stopping.reason_of(wishes) or "done"
      if consecutive >= skip_limit:
        reason, bad = "skips", told.skips[-skip_limit:]
      tried = told.clips - clips + lost_here
      if lost and lost_here > LOST_SHARE * max(tried, LEAST):
        reason = "unreadable"
      ending = reason != "done" or step == steps
      if stopping.LATE in wishes:
        due = []
      save = reason != "unreadable" and (ending or stopping.SAVE in wishes)
      begun = time.monotonic()
      checks = [v for v in due if isinstance(v, hooks_lib.Validation)]
      if reason == "done" and checks:
        for check in checks:
          metrics = metrics | check.measure(state)
        last = report.Step(step, metrics, lost, unreadable, measured=True)
        clock.add("evaluation", time.monotonic() - begun)
      measuring = time.monotonic() - begun
      if save or due:
        consecutive, last = told.write(last), None
      if save:
        with clock.phase("save"):
          saving.save(state, ending, clock.seconds_a_step())
      if reason == "done" and due:
        begun = time.monotonic()
        for hook in due:
          if isinstance(hook, hooks_lib.Hook):
            hook.run(step, state)
        clock.add("evaluation", time.monotonic() - begun)
        hooks_take = measuring + time.monotonic() - begun
      saving.check(clock.seconds_a_step())
      if ending:
        break

    # --------------------------------------------------------- act 4: the end
    if not ending and step > first:  # stopped while a shape was compiled
      if last is not None:
        told.write(last)
      with clock.phase("save"):
        saving.save(state, True, clock.seconds_a_step())
    progress.log(progress.totals_line(clock.totals()))
    if reason == "unreadable":
      named = "; ".join(multihost.exchange("; ".join(losses.named())))
      raise ValueError(
          f"{lost_here} clips of the last {step - first} steps cannot be read, "
          f"more than {LOST_SHARE:.0%} of {tried:,.0f}: {named}. Nothing "
          "is saved of the steps since the last checkpoint: mend the data, and "
          "the same command goes on")
    if reason == "skips":
      raise FloatingPointError(
          f"{skip_limit} steps in a row had no usable gradient (steps "
          f"{', '.join(map(str, bad))}): the parameters are as they were before "
          "them; look at the data of these steps or lower the learning rate")
    if reason == "done":
      progress.log(f"done: {messages.count(step, 'step')}, "
                   f"{messages.count(int(state.clips), 'clip', ',')}, "
                   f"{int(state.skipped)} skipped, {unreadable} unreadable")
    else:
      progress.log(f"stopped at step {step} ({reason}), "
                   + ("saved; " if step > first else "where it began; ")
                   + f"{unreadable} unreadable clips; the same command goes on")
    return Outcome(state, reason)
  finally:
    stop.undo()
    tracer.close()
    writer.close()
    saves.close()


def _rows(batch: Any) -> int:
  """The rows of a batch."""
  leaves = jax.tree.leaves(batch)
  return leaves[0].shape[0] if leaves and leaves[0].ndim else 1


def _next(source: Iterator, step: int):
  """The batch of `step`."""
  try:
    found, batch = next(source)
  except StopIteration:
    raise ValueError(f"the data ended at step {step}") from None
  if found != step:
    raise ValueError(f"the data is at step {found} and the run at {step}")
  return batch

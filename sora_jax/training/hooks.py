"""What is done between the steps of a run: hooks and validations."""

from collections.abc import Callable
import dataclasses

from sora_jax.training import state as state_lib


@dataclasses.dataclass(frozen=True)
class Hook:
  """Something done every `every` steps, and at the end: previews, evaluation.

  Attributes:
    every: steps between two calls; 0 is never.
    run: (step, state) -> None. It must not keep `state`, whose buffers the next
      step takes over. Every process runs it.
    lacks: step -> whether that step has no result, as a run was killed or stopped
      behind its save: a run that goes on from there makes it first. The first
      process answers.
  """

  every: int
  run: Callable[[int, state_lib.TrainState], None]
  lacks: Callable[[int], bool] = lambda step: False

  def due(self, step: int, steps: int) -> bool:
    """Whether it is to run at `step` of `steps`."""
    return _due(self.every, step, steps)


@dataclasses.dataclass(frozen=True)
class Validation:
  """What a model is measured by, every `every` steps and at the end.

  Attributes:
    every: steps between two calls; 0 is never.
    measure: state -> metrics, such as a loss on held-out data, which stand in the
      line of the step. Every process calls it.
  """

  every: int
  measure: Callable[[state_lib.TrainState], dict[str, float]]

  def due(self, step: int, steps: int) -> bool:
    """Whether it is to run at `step` of `steps`."""
    return _due(self.every, step, steps)


def _due(every: int, step: int, steps: int) -> bool:
  """Whether `step` is one of every `every`, or the last; 0 is never."""
  return bool(every) and (step % every == 0 or step == steps)

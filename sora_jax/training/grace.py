"""When a checkpoint is saved, and whether one fits into the grace of a SIGTERM.

Kubernetes leaves a process 30 s between SIGTERM and SIGKILL, and so do most who
take a machine away. A step and a save must end within them; a run says when
they would not, so that nobody learns it from a lost hour.
"""

import dataclasses
import time
from typing import Any

import jax

from sora_jax.mesh import multihost
from sora_jax.training import checkpoint
from sora_jax.training import progress
from sora_jax.training import stopping

GRACE = 30.0  # seconds; terminationGracePeriodSeconds of Kubernetes
# Bytes a second that a host writes until a save has been timed: a slow bucket.
ASSUMED = 0.25e9


@dataclasses.dataclass
class Saving:
  """Saves a run by steps and by minutes.

  Attributes:
    saves: the checkpoints.
    state: the state of the run, for its size.
    every: steps between two saves.
    minutes: after which a save is made as well; 0 is never.
    seconds: that a save takes from its beginning until it is on the disk: as
      measured, before that as expected of its size.
  """

  saves: checkpoint.Checkpoints
  state: dataclasses.InitVar[Any]
  every: int
  minutes: float = 0.0
  seconds: float = 0.0
  begun: float = dataclasses.field(default_factory=lambda: time.monotonic())
  under_way: bool = False
  warned: bool = False

  def __post_init__(self, state: Any):
    size = local_bytes(state)
    self.seconds = size / ASSUMED
    if self.seconds > GRACE:
      progress.log(
          f"a checkpoint is {size / 1e9:.1f} GB on this host: to be saved within "
          f"the {GRACE:.0f} s that SIGTERM often leaves, it must be written at "
          f"{size / 1e9 / GRACE:.2f} GB/s. {advice()}")

  def wish(self, step: int) -> str:
    """stopping.SAVE where a save is due after `step`, else ""."""
    late = self.minutes and multihost.first() and (
        time.monotonic() - self.begun > 60 * self.minutes)
    return stopping.SAVE if step % self.every == 0 or late else ""

  def save(self, state: Any, wait: bool, step_seconds: float) -> None:
    """Begins a save, and ends it if `wait`; see Checkpoints.save."""
    self.begun, self.under_way = time.monotonic(), True
    self.saves.save(state, wait)
    if wait:
      self._ended(step_seconds)

  def check(self, step_seconds: float) -> None:
    """Raises OSError if the save under way has failed; times one that ended."""
    if self.saves.check() and self.under_way:
      self._ended(step_seconds)

  def _ended(self, step_seconds: float) -> None:
    """Takes the time of a save, and says once if it is too long."""
    self.seconds, self.under_way = time.monotonic() - self.begun, False
    total = self.seconds + step_seconds
    if total > GRACE and not self.warned:
      self.warned = True
      progress.log(f"a step and a save take {total:.0f} s, more than the "
                   f"{GRACE:.0f} s that SIGTERM often leaves. {advice()}")


def local_bytes(state: Any) -> int:
  """Bytes of a state that this process writes."""
  return sum(shard.data.nbytes for x in jax.tree.leaves(state)
             for shard in x.addressable_shards if shard.replica_id == 0)


def advice() -> str:
  """What to do where a save does not fit into the grace."""
  return ("Give it more (terminationGracePeriodSeconds), or bound what is lost: "
          "--config.loop.save_minutes=10")

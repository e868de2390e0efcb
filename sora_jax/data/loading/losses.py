"""Which clips of which steps could not be read, by this host.

A clip that cannot be read leaves its place empty or goes to another. A run
counts them step by step, says how many, and stops where they are many.
"""

import dataclasses
import logging
import threading


@dataclasses.dataclass(frozen=True, eq=False)
class Losses:
  """What could not be read; threads note and take side by side.

  Attributes:
    steps: step -> the places in its batch that lost a clip, with the clip.
    reasons: clip -> why it cannot be read.
    lock: of the two.
  """

  steps: dict[int, list[str]] = dataclasses.field(default_factory=dict)
  reasons: dict[int, str] = dataclasses.field(default_factory=dict)
  lock: threading.Lock = dataclasses.field(default_factory=threading.Lock,
                                           repr=False)

  def explain(self, clip: int, root: str, reason: object) -> None:
    """Notes why a clip cannot be read; the first one is logged."""
    with self.lock:
      first = not self.reasons
      self.reasons[clip] = str(reason)
    if first:
      logging.warning("clip %d of %s cannot be read: %s", clip, root, reason)

  def add(self, step: int, place: int, clip: int) -> None:
    """Notes that a place in the batch of a step lost a clip."""
    with self.lock:
      self.steps.setdefault(step, []).append(f"{place}:{clip}")

  def take(self, step: int) -> list[str]:
    """What a step has lost, "PLACE:CLIP" each, and forgets it.

    Hosts that read the same place lose the same.
    """
    with self.lock:
      return self.steps.pop(step, [])

  def named(self, most: int = 3) -> list[str]:
    """The first clips that cannot be read, with the reason."""
    with self.lock:
      return [f"clip {clip}: {why}" for clip, why in
              sorted(self.reasons.items())[:most]]

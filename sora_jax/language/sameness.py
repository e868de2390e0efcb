"""Catches a captioner that says one sentence for many clips."""

import collections
from collections.abc import Sequence
import dataclasses

LEAST = 200  # clips that are looked at together, or all of a smaller set
FEW = 10  # a set of fewer clips is not looked at
WINDOW = 2_000  # clips after which counting begins anew


class Same(ValueError):
  """Too many clips were given one caption; the message shows it."""


@dataclasses.dataclass(frozen=True, eq=False)
class Sameness:
  """Counts captions as they are written.

  Attributes:
    most: the share of clips that may have the same caption, beyond the share
      that the originals of the same clips have in common.
    written, originals: how often each caption came, in this window.
    files: that were written in this window.
  """

  most: float
  written: collections.Counter[str] = dataclasses.field(
      default_factory=collections.Counter)
  originals: collections.Counter[str] = dataclasses.field(
      default_factory=collections.Counter)
  files: list[str] = dataclasses.field(default_factory=list)

  def add(self, written: Sequence[str], originals: Sequence[str]) -> None:
    """Counts the captions of some clips.

    Raises:
      Same: as `check`.
    """
    if self.written.total() >= WINDOW:
      self.written.clear()
      self.originals.clear()
      self.files.clear()
    self.written.update(written)
    self.originals.update(originals)
    self.check(LEAST)

  def check(self, least: int = FEW) -> None:
    """Refuses what was written of at least `least` clips.

    Raises:
      Same: too many of the captions are one.
    """
    count = self.written.total()
    if count < least:
      return
    text, times = self.written.most_common(1)[0]
    before = self.originals.most_common(1)[0][1] / count
    if times / count > self.most + before:
      raise Same(
          f"{times} of {count} clips were given the same caption, {text!r}; of the "
          f"originals {before:.0%} are the same: the captioner does not see these "
          "clips. --same=SHARE allows more")

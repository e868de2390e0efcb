"""Captions scored as facts: what a world reads in a text against what is true."""

from collections.abc import Iterable, Mapping
import dataclasses
from typing import Any

from sora_jax import worlds

# Of what captions tell (World.told), the lists of things that are there. Their
# order says nothing; other lists are told in order.
THINGS = ("objects", "solids", "balls")
UNORDERED = (*THINGS, "meet")
Atom = tuple[str, Any]


@dataclasses.dataclass(frozen=True)
class Counts:
  """Facts of one caption or of many.

  Attributes:
    captions: the captions.
    true: facts of their clips.
    told: facts that the captions tell.
    right: of these, those that are true.
    invented: things told that are not there.
    unreadable: captions in which the world of the clip reads nothing.
    exact: captions that tell all facts and no other.
  """

  captions: int = 0
  true: int = 0
  told: int = 0
  right: int = 0
  invented: int = 0
  unreadable: int = 0
  exact: int = 0

  def __add__(self, other: "Counts") -> "Counts":
    return Counts(*(a + b for a, b in zip(dataclasses.astuple(self),
                                          dataclasses.astuple(other))))

  @property
  def precision(self) -> float:
    """The share of told facts that are true."""
    return self.right / max(self.told, 1)

  @property
  def recall(self) -> float:
    """The share of true facts that are told."""
    return self.right / max(self.true, 1)


def atoms(told: Mapping[str, Any]) -> set[Atom]:
  """Single facts of what a caption tells; what is not so (False) is none."""
  found: set[Atom] = set()
  for name, value in told.items():
    if isinstance(value, tuple | list):
      found |= {(name, item) if name in UNORDERED else (f"{name}.{i}", item)
                for i, item in enumerate(value)}
    elif value is not False and value is not None:
      found.add((name, value))
  return found


def compare(name: str, true: Mapping[str, Any], text: str,
            kinds: Iterable[str] = ()) -> Counts:
  """Counts of one caption.

  Args:
    name: of the world of the clip.
    true: what its captions can tell (World.told).
    text: the caption.
    kinds: the ends of the names of the facts that count, such as "shape"; all
      by default.
  """
  kinds = tuple(kinds)
  chosen = lambda told: {a for a in atoms(told) if not kinds or a[0].split(
      ".")[-1] in kinds or a[0].split(".")[0] in kinds}
  unreadable = 0
  try:
    read = worlds.WORLDS[name].read(text)
  except ValueError:
    read, unreadable = {}, 1
  asked, said = chosen(true), chosen(read)
  return Counts(1, len(asked), len(said), len(asked & said),
                sum(atom[0] in THINGS for atom in said - asked), unreadable,
                int(asked == said))

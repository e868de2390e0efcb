"""Clips with one law broken, as two lawful clips that are joined in time.

The twin of a clip begins as the clip and ends as its counterpart, and the twin
of the counterpart the other way round. So in the four clips each frame is as
often lawful as not, and no single frame tells which is which.
"""

from collections.abc import Callable, Sequence
import dataclasses
from typing import Any

import numpy as np

# Colours in pairs: where a colour must not change, it changes to its partner.
PARTNERS = {"red": "blue", "blue": "red", "green": "purple", "purple": "green",
            "yellow": "cyan", "cyan": "yellow"}


def check(facts: Any, law: str, laws: Sequence[str]) -> None:
  """Refuses a law that a clip cannot break.

  Raises:
    ValueError: another law, an image, which shows none, or a clip without the
      object that would break it.
  """
  if law not in laws:
    raise ValueError(f"there is no law {law!r}; there are {', '.join(laws)}")
  if facts.frames < 2:
    raise ValueError(f"frames={facts.frames}: an image breaks no law; use 2 or "
                     "more")
  if getattr(facts, "empty", False) and law != "permanence":
    raise ValueError(f"empty=True: without an object only permanence can be "
                     f"broken, not {law}")


def broken(facts: Any, law: str, laws: Sequence[str]) -> Any:
  """The facts with a law marked as broken, after `check`."""
  check(facts, law, laws)
  return dataclasses.replace(facts, broken=law)


def render(facts: Any, draw: Callable[[Any], np.ndarray],
           counterpart: Callable[[Any, str], Any], when: int) -> np.ndarray:
  """The clip of facts whose law may be broken, from frame `when` on.

  Args:
    facts: of the clip.
    draw: draws lawful facts, uint8 [T, H, W, 3].
    counterpart: the lawful facts that the clip ends as.
    when: the first frame of the counterpart.
  """
  if not facts.broken:
    return draw(facts)
  lawful = dataclasses.replace(facts, broken="")
  other = counterpart(lawful, facts.broken)
  return np.concatenate([draw(lawful)[:when], draw(other)[when:]])


def recoloured(things: Sequence[Any]) -> tuple[Any, ...]:
  """Things whose first one has the colour of its partner.

  A thing that had that colour takes its own; orange has no partner. Twice gives
  the things back.
  """
  first = next(t.colour for t in things if t.colour in PARTNERS)
  other = PARTNERS[first]
  swap = {first: other, other: first}
  return tuple(dataclasses.replace(t, colour=swap.get(t.colour, t.colour))
               for t in things)

"""Objects of the worlds that have a scene: what they are, and their words.

No two objects of a clip have the same colour, or a colour and its partner, so
that a colour that changes is nobody else's.
"""

from collections.abc import Sequence
import dataclasses
from typing import Any, TypeVar

import numpy as np

from sora_jax.worlds import captions
from sora_jax.worlds import chinese
from sora_jax.worlds import facts as facts_lib
from sora_jax.worlds import lexicon
from sora_jax.worlds import paint
from sora_jax.worlds import twins

FactsT = TypeVar("FactsT")
COLOURS = tuple(twins.PARTNERS)
WORDS: dict[str, dict[str, lexicon.Phrases]] = {
    "colour": {c: ((c,), (chinese.COLOURS[c],)) for c in COLOURS},
    "shape": {s: (captions.NOUNS[s], chinese.SHAPES[s])
              for s in facts_lib.SHAPES},
    "size": {"small": (("small",), ("小的",)), "large": (("large",), ("大的",))},
    "object": {"none": (("nothing",), ("什么也没有",))},
}


@dataclasses.dataclass(frozen=True)
class Thing:
  """An object.

  Attributes:
    colour: a name in COLOURS.
    shape: a name in facts.SHAPES.
    size: a name in facts.SIZES.
    x, y: its centre, in short sides.
  """

  colour: str
  shape: str
  size: str
  x: float
  y: float

  @property
  def diameter(self) -> float:
    """Width and height in short sides."""
    return facts_lib.SIZES[self.size]

  def part(self, moved: np.ndarray) -> paint.Part:
    """The object, moved to the right by `moved` [T]."""
    at = np.stack([self.x + moved, np.full_like(moved, self.y)], -1)
    return paint.thing(self.shape, at, self.diameter, self.colour)


def draw(rng: np.random.Generator, spots: Sequence[tuple[float, float, float]],
         direction: str, held_out: bool) -> tuple[Thing, ...]:
  """An object at each (x, y, diameter), on one side of the held-out rule."""
  things: tuple[Thing, ...] = ()
  names = {diameter: name for name, diameter in facts_lib.SIZES.items()}
  for x, y, diameter in spots:
    used = {c for t in things for c in (t.colour, twins.PARTNERS[t.colour])}
    left = [(c, s) for c in COLOURS for s in facts_lib.SHAPES if c not in used
            and facts_lib.is_held_out(c, s, direction) == held_out]
    colour, shape = facts_lib.pick(rng, left)
    things += (Thing(colour, shape, names[diameter], float(x), float(y)),)
  return things


def name(thing: Thing, words: lexicon.Lexicon, pick: lexicon.Pick, sized: bool,
         language: str = "en") -> str:
  """An object in words, such as "a small red ball"."""
  said = [words.say(k, getattr(thing, k), pick, language)
          for k in ("size",) * sized + ("colour", "shape")]
  if language == "zh":
    return "一个" + pick(("", "的")).join(said)
  return lexicon.article(" ".join(said))


def pairs(things: Sequence[Thing]) -> list[tuple[str, Any]]:
  """What captions tell of some objects, for lexicon.named."""
  if not things:
    return [("object", "none")]
  return [(k, getattr(t, k)) for t in things for k in ("size", "colour", "shape")]


def changed(facts: FactsT, i: int, **change: Any) -> FactsT:
  """Facts whose object `i` is changed."""
  some = list(facts.things)  # type: ignore[attr-defined]
  some[i] = dataclasses.replace(some[i], **change)
  return dataclasses.replace(facts, things=tuple(some))  # type: ignore[type-var]


def recoloured(facts: FactsT, rng: np.random.Generator) -> FactsT:
  """Facts whose last object has a colour that no other has."""
  things = facts.things  # type: ignore[attr-defined]
  used = {c for t in things for c in (t.colour, twins.PARTNERS[t.colour])}
  return changed(facts, len(things) - 1, colour=facts_lib.pick(
      rng, [c for c in COLOURS if c not in used]))

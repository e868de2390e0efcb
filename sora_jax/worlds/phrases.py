"""Small parts of captions in English and Chinese, and how they are found again."""

from collections.abc import Iterable, Mapping, Sequence
import re

from sora_jax.worlds import chinese
from sora_jax.worlds import facts as facts_lib

NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight",
           "nine")
CHINESE_NUMBERS = "零一两三四五六七八九"


def join(names: Sequence[str]) -> str:
  """"a, b and c"."""
  return ", ".join(names[:-1]) + " and " * (len(names) > 1) + names[-1]


def join_chinese(names: Sequence[str]) -> str:
  """The same in Chinese."""
  return "、".join(names[:-1]) + "和" * (len(names) > 1) + names[-1]


def any_of(words: Iterable[str]) -> str:
  """A pattern for any of some words, the longest first."""
  ordered = sorted(map(re.escape, words), key=len, reverse=True)
  return f"(?:{'|'.join(ordered)})"


def first(text: str, words: Mapping[str, str]) -> str | None:
  """The value of the pattern in `words` that is found first in a text."""
  found = [(m.start(), -len(m[0]), value) for pattern, value in words.items()
           if (m := re.search(pattern, text))]
  return min(found)[2] if found else None


def things(text: str, nouns: Mapping[str, str]) -> list[tuple[int, dict]]:
  """Coloured things that a text names, English or Chinese, in order.

  Args:
    text: in lower case.
    nouns: noun -> shape, of both languages.

  Returns:
    (where the name begins, {"colour", "shape", and "size" if it is told}) each.
  """
  found = []
  for m in re.finditer(
      rf"(?:\b({any_of(facts_lib.SIZES)}) )?\b({any_of(facts_lib.COLOURS)}) "
      rf"({any_of(nouns)})\b|({any_of(chinese.SIZES.values())})?的?"
      rf"({any_of(chinese.COLOURS.values())})的?({any_of(nouns)})", text):
    size, colour, noun = m[1] or m[4], m[2] or m[5], m[3] or m[6]
    thing = {"colour": chinese.NAMES.get(colour, colour), "shape": nouns[noun]}
    if size:
      thing["size"] = chinese.NAMES.get(size, size)
    found.append((m.start(), thing))
  return found


def named(kind: str, found: Iterable[dict]) -> dict:
  """What is told of things, by "COLOUR.attribute", with all colours by `kind`."""
  found = list(found)
  told = {kind: tuple(sorted({thing["colour"] for thing in found}))}
  for thing in found:
    told |= {f"{thing['colour']}.{k}": v for k, v in thing.items()
             if k != "colour"}
  return told

"""Closed sets of phrases, from which captions are made and read back.

A phrase tells one value of one name, in English or Chinese, and no other: so a
caption that is put together from phrases is read back exactly, whatever stands
between them.
"""

from collections.abc import Callable, Iterable, Mapping
import dataclasses
import re
from typing import Any

Phrases = tuple[tuple[str, ...], tuple[str, ...]]  # English, Chinese
Pick = Callable[[Iterable[Any]], Any]
LANGUAGES = ("en", "zh")


@dataclasses.dataclass(frozen=True)
class Lexicon:
  """The phrases of a world; made by `build`.

  Attributes:
    words: name -> value -> its English and its Chinese phrases.
    meaning: phrase -> (name, value).
    pattern: finds the phrases of a text, at each place the longest.
    example: an English phrase, for the error about a text without any.
  """

  words: Mapping[str, Mapping[Any, Phrases]]
  meaning: Mapping[str, tuple[str, Any]]
  pattern: re.Pattern
  example: str

  def say(self, name: str, value: Any, pick: Pick, language: str = "en") -> str:
    """One of the phrases for a value."""
    return pick(self.words[name][value][LANGUAGES.index(language)])

  def read(self, text: str) -> dict[str, Any]:
    """What a text tells, as `named` has it.

    Raises:
      ValueError: none of the phrases occurs.
    """
    text = text.lower()
    found = [self.meaning[m[0]] for m in self.pattern.finditer(text)]
    if not found:
      raise ValueError(f"{text[:80]!r} tells nothing of this world, such as "
                       f"{self.example!r}")
    return named(found)


def build(words: Mapping[str, Mapping[Any, Phrases]]) -> Lexicon:
  """The lexicon of some phrases.

  Raises:
    ValueError: a phrase with two meanings.
  """
  meaning: dict[str, tuple[str, Any]] = {}
  for name, values in words.items():
    for value, languages in values.items():
      for phrase in (p for phrases in languages for p in phrases):
        if meaning.setdefault(phrase, (name, value)) != (name, value):
          raise ValueError(f"{phrase!r} means {meaning[phrase]} and "
                           f"{(name, value)}")
  longest = sorted(meaning, key=len, reverse=True)
  pattern = re.compile(
      rf"(?<![a-z])(?:{'|'.join(map(re.escape, longest))})(?![a-z])")
  return Lexicon(words, meaning, pattern, next(iter(meaning)))


def named(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
  """{name: value}; of a name that is told several times, all values in order."""
  found: dict[str, list[Any]] = {}
  for name, value in pairs:
    found.setdefault(name, []).append(value)
  return {name: values[0] if len(values) == 1 else tuple(values)
          for name, values in found.items()}


def check(language: str) -> None:
  """Refuses a language that no captions are written in."""
  if language not in LANGUAGES:
    raise ValueError(f"language={language!r}: captions are written in "
                     f"{' and '.join(LANGUAGES)}")


def article(words: str) -> str:
  """Words with "a" or "an" before them."""
  return ("an " if words[0] in "aeiou" else "a ") + words

"""What the values of a config may be, said where its dataclass is made.

A frozen dataclass calls `check` in its __post_init__ with a Rule for each of
its fields. What breaks a rule is one line: the key, its value, what is allowed.
"""

from collections.abc import Callable, Iterable
import dataclasses
import math
import numbers
import re
from typing import Any

from sora_jax import messages


@dataclasses.dataclass(frozen=True)
class Rule:
  """What a value may be.

  Attributes:
    what: in words, after "it must be".
    holds: value -> whether it is that.
  """

  what: str
  holds: Callable[[Any], bool]


def check(section: str, values: Any, **rules: Rule) -> None:
  """Checks fields of a dataclass.

  Args:
    section: of the config, which the message names before the key.
    values: the dataclass.
    **rules: of its fields.

  Raises:
    ValueError: a field that is not what it must be.
  """
  for key, rule in rules.items():
    value = getattr(values, key)
    if not rule.holds(value):
      raise ValueError(f"{section}.{key} is {value!r}, it must be {rule.what}")


def whole(least: int = 0, most: int | None = None) -> Rule:
  """A whole number in least .. most; without a most up to 2^62."""
  top = 2 ** 62 if most is None else most
  what = f"a whole number from {least}" + ("" if most is None else f" to {most}")
  return Rule(what, lambda v: isinstance(v, numbers.Integral)
              and not isinstance(v, bool) and least <= int(v) <= top)


def even() -> Rule:
  """An even number from 2."""
  size = whole(2)
  return Rule("an even whole number from 2",
              lambda v: size.holds(v) and v % 2 == 0)


def number(least: float = -math.inf, most: float = math.inf) -> Rule:
  """A finite number, both ends allowed."""
  return Rule(_between("from", least, "to", most),
              lambda v: _finite(v) and least <= v <= most)


def above(least: float, below: float = math.inf) -> Rule:
  """A finite number, neither end allowed."""
  return Rule(_between("above", least, "below", below),
              lambda v: _finite(v) and least < v < below)


def share(whole_too: bool = True) -> Rule:
  """A number in [0, 1], or in [0, 1)."""
  if whole_too:
    return number(0, 1)
  return Rule("a number from 0 to below 1", lambda v: _finite(v) and 0 <= v < 1)


def one_of(*names: str) -> Rule:
  """One of some names."""
  return Rule("one of " + ", ".join(names),
              lambda v: isinstance(v, str) and v in names)


def text() -> Rule:
  """A text that is not empty."""
  return Rule("a text", lambda v: isinstance(v, str) and bool(v))


def flag() -> Rule:
  """True or False."""
  return Rule("True or False", lambda v: isinstance(v, bool))


def pattern() -> Rule:
  """A regular expression."""
  return Rule("a regular expression", _compiles)


def every(rule: Rule, count: int | None = None) -> Rule:
  """A list of `count` values, of any number from 1 if None."""
  size = "" if count is None else f" of {count} values"
  return Rule(f"a list{size}, each {rule.what}", lambda v: isinstance(
      v, (list, tuple)) and len(v) > 0 and count in (None, len(v)) and all(
          map(rule.holds, v)))


def rows(*columns: tuple[str, Rule]) -> Rule:
  """A list of tuples with these (name, rule) in their places."""
  names = ", ".join(f"{name} {rule.what}" for name, rule in columns)
  return Rule(f"a list of ({', '.join(n for n, _ in columns)}): {names}",
              lambda v: isinstance(v, (list, tuple)) and len(v) > 0 and all(
                  isinstance(row, (list, tuple)) and len(row) == len(columns)
                  and all(rule.holds(x) for x, (_, rule) in zip(row, columns))
                  for row in v))


def made(kind: Callable[..., Any], section: str, values: Any,
         **given: Any) -> Any:
  """The dataclass of a section of a config.

  Args:
    kind: the dataclass.
    section: its name, for messages.
    values: the keys of the section: a dict or a ConfigDict.
    **given: fields that the section does not hold, or that replace its own.

  Raises:
    ValueError: no section, a key that there is not, or one that is missing or
      has a value that is not allowed.
  """
  if not hasattr(values, "items"):
    raise ValueError(f"{section} is {values!r}, it must be a section of keys")
  fields = {f.name: f for f in dataclasses.fields(kind)  # type: ignore
            if f.init and not f.kw_only}  # those of a linen module are its own
  values = dict(values.items()) | given
  check_known(section, values, fields)
  for name, field in fields.items():
    if name not in values and field.default is dataclasses.MISSING and (
        field.default_factory is dataclasses.MISSING):
      raise ValueError(f"{section}.{name} is missing")
  return kind(**values)


def check_known(section: str, values: Iterable[str],
                known: Iterable[str]) -> None:
  """Refuses a key of a section that there is not.

  Raises:
    ValueError: it names the nearest one.
  """
  known = list(known)
  for name in values:
    if name not in known:
      near = messages.nearest(str(name), known)
      raise ValueError(f"{section}: there is no key {name}, " + (
          f"the nearest is {near}" if near else f"it has {', '.join(known)}"))


def _between(first: str, least: float, second: str, most: float) -> str:
  parts = [f"{word} {end:g}" for word, end in ((first, least), (second, most))
           if math.isfinite(end)]
  return " ".join(["a finite number", *parts])


def _finite(value: Any) -> bool:
  return (isinstance(value, numbers.Real) and not isinstance(value, bool)
          and math.isfinite(value))


def _compiles(value: Any) -> bool:
  try:
    re.compile(value)
  except (re.error, TypeError):
    return False
  return isinstance(value, str)

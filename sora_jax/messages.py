"""What messages are made of: counted things, and the name that was meant.

Every room may use it; it imports nothing of ours.
"""

from collections.abc import Iterable
import difflib
import re


def count(number: float, noun: str, form: str = "") -> str:
  """'1 frame', '0 frames', '1,200 frames'.

  Args:
    number: of things.
    noun: one of them; its plural ends in s.
    form: of the number, as in format(): "," for groups of three digits.
  """
  return f"{number:{form}} {noun}{'' if number == 1 else 's'}"


def nearest(name: str, names: Iterable[str]) -> str | None:
  """The one of `names` that `name` most likely stands for, None if none does.

  A name with dots is a section and a name in it, such as a config key: its last
  part counts first, then its section.

  Args:
    name: as it was written.
    names: that are known.
  """
  names = list(names)
  likely = max(names, key=lambda known: _likeness(name, known), default=None)
  return likely if likely and _likeness(name, likely)[0] > 0 else None


def _likeness(name: str, known: str) -> tuple[float, float]:
  """How near two names are: by their last parts, and as a whole."""
  whole = difflib.SequenceMatcher(None, name, known).ratio()
  section, _, last = name.rpartition(".")
  known_section, _, known_last = known.rpartition(".")
  if _short_for(last, known_last):
    near = 1.0
  else:
    near = difflib.SequenceMatcher(None, last, known_last).ratio()
    near *= near >= 0.6 and (section == known_section or not section)
  return near + (near > 0) * 0.3 * (section == known_section), whole


def _short_for(one: str, other: str) -> bool:
  """Whether one name is the other, its initials, its beginning or its words."""
  short, long = sorted((one, other), key=len)
  words = re.split(r"[_.-]", long)
  parts = re.split(r"[_.-]", short)
  return bool(short) and (
      short == "".join(word[:1] for word in words)
      or len(short) > 2 and long.startswith(short)
      or any(words[i:i + len(parts)] == parts for i in range(len(words))))

"""Facts back out of captions, as far as a caption tells them.

The grammar is that of captions.py, whatever the words that were picked. A
sentence of a person's own is read if it names each object by colour and noun
and then says what it does.
"""

import dataclasses
import re

from sora_jax.worlds import captions
from sora_jax.worlds import facts as facts_lib

SHAPES = {noun: shape for shape, nouns in captions.NOUNS.items()
          for noun in nouns}


@dataclasses.dataclass(frozen=True)
class ToldObject:
  """What is told of an object; None where nothing is.

  Attributes:
    colour, shape, motion: as in facts.Object.
    size, direction: the same, or None; an object that falls goes down.
  """

  colour: str
  shape: str
  motion: str
  size: str | None = None
  direction: str | None = None


@dataclasses.dataclass(frozen=True)
class ToldBackground:
  """What is told of the background, as in facts.Background."""

  kind: str
  colours: tuple[str, ...]
  axis: str | None = None


@dataclasses.dataclass(frozen=True)
class Told:
  """What a caption tells.

  Attributes:
    objects: in the order in which the caption says what they do.
    background: None if it is not told.
    wall: the colour of the wall, "" if there is one of a colour that is not
      told, None if there is none.
  """

  objects: tuple[ToldObject, ...]
  background: ToldBackground | None = None
  wall: str | None = None


def _any(words):
  return f"(?:{'|'.join(words)})"


_DULL = f"({_any(facts_lib.DULL)})"
_GROUND = "(?:background|backdrop)"
_BACKGROUNDS = {
    f"{_GROUND} that fades from {_DULL} to {_DULL}": "gradient",
    f"gradient {_GROUND} from {_DULL} to {_DULL}": "gradient",
    f"{_GROUND} of (vertical|horizontal) {_DULL} and {_DULL} stripes":
        "stripes",
    f"striped {_DULL} and {_DULL} {_GROUND}": "stripes",
    f"checked {_DULL} and {_DULL} {_GROUND}": "checks",
    f"{_DULL} and {_DULL} checkerboard {_GROUND}": "checks",
    f"{_DULL} {_GROUND}": "plain"}
_OBJECT = re.compile(
    rf"(?:\b({_any(facts_lib.SIZES)}) )?\b({_any(facts_lib.COLOURS)}) "
    rf"({_any(SHAPES)})\b")
_WALL = re.compile(rf"\b(?:a|the) (?:{_DULL} )?wall\b")
_WAY = re.compile(r"\bfrom (?:left|right) to (left|right)\b|"
                  r"\b(left|right|up|down)(?:wards?)?\b")
_MEET = re.compile(r"\bcollides?\b|\bbumps\b|\bhits (?!the edge)")
_MOTIONS = {r"\bbehind\b": "pass", r"\b(?:falls|drops)\b": "fall",
            r"\bbounces\b": "bounce", _WAY.pattern: "straight"}


def read(text: str) -> Told:
  """What a caption tells of a clip.

  Raises:
    ValueError: no object is named by colour and noun.
  """
  text = text.lower()
  background = _background(text)
  found = list(_OBJECT.finditer(text))
  if not found:
    raise ValueError(f"{text[:80]!r} names no object, such as 'a red ball'")
  sizes = {m[2]: m[1] for m in found if m[1]}
  # A descriptive caption may name all objects before it says what they do.
  last = sorted({m[2]: m for m in found}.values(), key=lambda m: m.start())
  ends = [m.start() for m in last[1:]] + [len(text)]
  does = [text[m.end():end] for m, end in zip(last, ends)]
  # The two that meet come first, and one of them has the verb.
  meeting = 2 * any(map(_MEET.search, does))
  things = []
  for i, (m, words) in enumerate(zip(last, does)):
    motion = next((name for pattern, name in _MOTIONS.items()
                   if re.search(pattern, words)), "still")
    way = _WAY.search(words)
    things.append(ToldObject(
        colour=m[2], shape=SHAPES[m[3]], size=sizes.get(m[2]),
        motion="collide" if i < meeting else motion,
        direction="down" if motion == "fall" else way and (way[1] or way[2])))
  wall = _WALL.search(text)
  return Told(tuple(things), background, wall and (wall[1] or ""))


def _background(text):
  """The background that a text tells, None if it tells none."""
  for pattern, kind in _BACKGROUNDS.items():
    if found := re.search(pattern, text):
      lie = {"vertical": "x", "horizontal": "y"}
      words = found.groups()
      return ToldBackground(kind, tuple(w for w in words if w not in lie),
                            next((lie[w] for w in words if w in lie), None))
  return None

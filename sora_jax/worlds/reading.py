"""Facts back out of captions, as far as a caption tells them.

The grammar is that of captions.py, whatever the words that were picked. A
sentence of a person's own is read if it names each object by colour and noun
and then says what it does.
"""

import re
from typing import Any

from sora_jax.worlds import captions
from sora_jax.worlds import chinese
from sora_jax.worlds import facts as facts_lib

SHAPES = {noun: shape for shape, nouns in captions.NOUNS.items()
          for noun in nouns}


def told(facts: facts_lib.Facts) -> dict[str, Any]:
  """What captions can tell of a clip, by name: see `read`."""
  ground = facts.background
  return _named(
      [{**{k: getattr(o, k) for k in ("colour", "shape", "size", "motion")},
        "direction": None if o.direction == "none" else o.direction}
       for o in facts.objects],
      {"kind": ground.kind, "colours": ground.colours, "axis": ground.axis
       if ground.kind == "stripes" else None},
      facts.wall and facts.wall.colour)


def told_background(ground: facts_lib.Background) -> dict[str, Any]:
  """What captions can tell of a background."""
  return {"background.kind": ground.kind, "background.colours": ground.colours,
          **({"background.axis": ground.axis} if ground.kind == "stripes"
             else {})}


def _named(things, ground, wall):
  """One flat mapping; what is not told has no name in it."""
  found = {"objects": tuple(sorted(o["colour"] for o in things)),
           "wall": wall is not None, "wall.colour": wall or None}
  for thing in things:
    for k in ("shape", "motion", "size", "direction"):
      found[f"{thing['colour']}.{k}"] = thing[k]
  found |= {f"background.{k}": v for k, v in (ground or {}).items()}
  return {k: v for k, v in found.items() if v is not None}


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


def read(text: str) -> dict[str, Any]:
  """What a caption tells of a clip, English or Chinese.

  Returns:
    objects, the colours of all objects in the order of the alphabet; of each
    COLOUR.shape, COLOUR.motion, COLOUR.size and COLOUR.direction; whether there
    is a wall, and wall.colour; background.kind, .colours and .axis (of
    stripes). What is not told is left out.

  Raises:
    ValueError: no object is named by colour and noun.
  """
  if chinese.is_chinese(text):
    things, wall = chinese.read(text)
    return _checked(text, things, None, wall)
  text = text.lower()
  found = list(_OBJECT.finditer(text))
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
    things.append({
        "colour": m[2], "shape": SHAPES[m[3]], "size": sizes.get(m[2]),
        "motion": "collide" if i < meeting else motion,
        "direction": "down" if motion == "fall" else way and (way[1] or way[2])})
  found_wall = _WALL.search(text)
  return _checked(text, things, background(text),
                  found_wall and (found_wall[1] or ""))


def _checked(text, things, ground, wall):
  if not things:
    raise ValueError(f"{text[:80]!r} names no object, such as 'a red ball'")
  return _named(things, ground, wall)


def background(text: str) -> dict[str, Any] | None:
  """The background that a text tells, None if it tells none."""
  for pattern, kind in _BACKGROUNDS.items():
    if found := re.search(pattern, text):
      lie = {"vertical": "x", "horizontal": "y"}
      words = found.groups()
      return {"kind": kind, "colours": tuple(w for w in words if w not in lie),
              "axis": next((lie[w] for w in words if w in lie), None)}
  return None

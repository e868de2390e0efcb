"""Captions of the world of collide, and the way back."""

import re
from typing import Any

import numpy as np

from sora_jax.worlds import captions
from sora_jax.worlds import chinese
from sora_jax.worlds import facts as facts_lib
from sora_jax.worlds import lexicon
from sora_jax.worlds import phrases
from sora_jax.worlds import reading

NOUNS = {"ball": "disc", "球": "disc"}
PULLS = {"none": ("without gravity", "in zero gravity"),
         "weak": ("under weak gravity",), "strong": ("under strong gravity",)}
KINDS = {"elastic": ("elastic", "bouncy"), "soft": ("soft",)}
MEETS = ("collide", "bump into each other", "bounce off each other")
_MEET = re.compile(rf"{phrases.any_of(MEETS)}|相撞|碰撞")
_WAY = re.compile(r"\b(right|left|up|down)\b|向([右左上下])")


def told(facts: Any) -> dict[str, Any]:
  """What captions can tell of a collide.Facts, by name: see `read`."""
  moves = facts.frames > 1
  found = phrases.named("balls", [
      {"colour": b.colour, "size": b.size} |
      ({"direction": b.direction} if moves else {}) for b in facts.balls])
  if moves:
    found |= {"gravity": facts.gravity, "bounce": facts.bounce,
              "meet": tuple(sorted(facts.meet))}
  return found | reading.told_background(facts.background)


def describe(facts: Any, key: np.random.Generator,
             language: str = "en") -> tuple[str, str]:
  """The short and the descriptive caption of a collide.Facts."""
  lexicon.check(language)
  pick = lambda words: facts_lib.pick(key, words)
  short = _clauses(facts, pick, False)
  if facts.frames > 1:
    short += pick(("", "", f" {pick(PULLS[facts.gravity])}"))
  where = captions.background(facts.background, pick, exact=True)
  count = phrases.NUMBERS[len(facts.balls)]
  if facts.frames > 1:
    long = (f"{count} {pick(KINDS[facts.bounce])} balls in a closed box "
            f"{pick(PULLS[facts.gravity])}, on {where}: "
            f"{_clauses(facts, pick, True)}.")
  else:
    long = f"{count} balls on {where}: {_clauses(facts, pick, True)}."
  if language == "zh":
    short = _chinese(facts, pick)
  return short, long


def _clauses(facts, pick, sized):
  names = {b.colour: lexicon.article(f"{b.size} " * sized + f"{b.colour} ball")
           for b in facts.balls}
  if facts.frames == 1:
    return phrases.join(list(names.values()))
  way = {b.colour: pick((f"to the {b.direction}", b.direction)
                        if b.direction in ("left", "right") else (b.direction,))
         for b in facts.balls}
  pair = " and ".join(f"{names[c]} moving {way[c]}" for c in facts.meet)
  others = [f"{name} moves {way[c]}" for c, name in names.items()
            if c not in facts.meet]
  return ", ".join([f"{pair} {pick(MEETS)}", *others])


def _chinese(facts, pick):
  names = {b.colour: f"{chinese.COLOURS[b.colour]}{pick(('', '的'))}球"
           for b in facts.balls}
  if facts.frames == 1:
    return phrases.join_chinese([f"一个{name}" for name in names.values()])
  way = {b.colour: f"向{chinese.DIRECTIONS[b.direction]}" for b in facts.balls}
  pair = "和".join(f"一个{way[c]}移动的{names[c]}" for c in facts.meet)
  others = [f"一个{name}{way[c]}移动" for c, name in names.items()
            if c not in facts.meet]
  return "，".join([pair + pick(("相撞", "碰撞")), *others])


def read(text: str) -> dict[str, Any]:
  """What a caption tells, English or Chinese.

  Returns:
    balls, the colours of all in the order of the alphabet, and of each
    COLOUR.size and COLOUR.direction; the colours of the two that `meet` first;
    gravity; bounce; background as in the flat worlds. What is not told is left
    out.

  Raises:
    ValueError: no ball is named.
  """
  text = text.lower()
  found = phrases.things(text, NOUNS)
  if not found:
    raise ValueError(f"{text[:80]!r} names no ball, such as 'a red ball'")
  meet = _MEET.search(text)
  pair = [i for i, (at, _) in enumerate(found) if meet and at < meet.start()]
  ends = [at for at, _ in found[1:]] + [len(text)]
  balls = []
  for i, ((at, thing), end) in enumerate(zip(found, ends)):
    # In Chinese the way of the two that meet stands before their names.
    before = chinese.is_chinese(text) and i in pair
    words = text[found[i - 1][0] if i else 0:at] if before else text[at:end]
    ways = list(_WAY.finditer(words))
    thing = {k: v for k, v in thing.items() if k != "shape"}
    if ways:
      m = ways[-1] if before else ways[0]
      thing["direction"] = m[1] or chinese.NAMES[m[2]]
    balls.append(thing)
  told_of = phrases.named("balls", balls)
  if meet:
    told_of["meet"] = tuple(sorted(balls[i]["colour"] for i in pair))
  for name, table in (("gravity", PULLS), ("bounce", KINDS)):
    value = phrases.first(text, {rf"\b{phrases.any_of(words)}\b": value
                                 for value, words in table.items()})
    told_of |= {name: value} if value else {}
  ground = reading.background(text)
  return told_of | {f"background.{k}": v for k, v in (ground or {}).items()
                    if v is not None}

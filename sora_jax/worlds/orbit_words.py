"""Captions of the world of orbit, and the way back."""

import re
from typing import Any

import numpy as np

from sora_jax.worlds import chinese
from sora_jax.worlds import facts as facts_lib
from sora_jax.worlds import lexicon
from sora_jax.worlds import phrases

NOUNS = {"ball": ("ball", "sphere"), "cone": ("cone",),
         "cylinder": ("cylinder",)}
CHINESE = {"ball": "球", "cone": "圆锥", "cylinder": "圆柱"}
SHAPES = {noun: shape for shape, nouns in NOUNS.items() for noun in nouns} | {
    word: shape for shape, word in CHINESE.items()}
# {way} is the direction, {solids} their names.
MOVES = {
    ("orbits", "right"): ("the camera orbits to the right around {solids}",
                          "the camera circles {solids} to the right"),
    ("orbits", "left"): ("the camera orbits to the left around {solids}",
                         "the camera circles {solids} to the left"),
    ("dollies", "in"): ("the camera dollies in on {solids}",
                        "the camera moves forward, closer to {solids}"),
    ("dollies", "out"): ("the camera dollies out from {solids}",
                         "the camera moves back, away from {solids}"),
    ("pans", "right"): ("the camera pans to the right over {solids}",
                        "the camera turns to the right, over {solids}"),
    ("pans", "left"): ("the camera pans to the left over {solids}",
                       "the camera turns to the left, over {solids}")}
CHINESE_MOVES = {
    ("orbits", "right"): "镜头向右环绕{solids}",
    ("orbits", "left"): "镜头向左环绕{solids}",
    ("dollies", "in"): "镜头向{solids}推近",
    ("dollies", "out"): "镜头从{solids}拉远",
    ("pans", "right"): "镜头向右摇过{solids}",
    ("pans", "left"): "镜头向左摇过{solids}"}
READ = {r"\b(?:orbits|circles)\b|环绕": "orbits", r"\b(?:pans|turns)\b|摇": "pans",
        r"\b(?:dollies|moves)\b|推近|拉远": "dollies"}
WAYS = {r"\bto the right\b|向右": "right", r"\bto the left\b|向左": "left",
        r"\b(?:dollies in|moves forward)\b|推近": "in",
        r"\b(?:dollies out|moves back)\b|拉远": "out"}


def told(facts: Any) -> dict[str, Any]:
  """What captions can tell of an orbit.Facts, by name: see `read`."""
  found = phrases.named("solids", [
      {"colour": s.colour, "shape": s.shape, "size": s.size}
      for s in facts.solids])
  found |= {"floor": tuple(sorted(facts.floor))}
  found |= {"sky": facts.sky} if facts.sky else {}
  if facts.direction != "none":
    found |= {"move": facts.path.move, "direction": facts.direction}
  return found


def describe(facts: Any, key: np.random.Generator,
             language: str = "en") -> tuple[str, str]:
  """The short and the descriptive caption of an orbit.Facts."""
  lexicon.check(language)
  pick = lambda words: facts_lib.pick(key, words)
  name = lambda s, sized: lexicon.article(
      f"{s.size} " * sized + f"{s.colour} {pick(NOUNS[s.shape])}")
  move = (facts.path.move, facts.direction)
  names = phrases.join([name(s, False) for s in facts.solids])
  short = pick(MOVES[move]).format(solids=names) if move in MOVES else names
  names = phrases.join([name(s, True) for s in facts.solids])
  a, b = facts.floor
  where = pick((f"a floor of {a} and {b} squares",
                f"a chequered {a} and {b} floor"))
  where += f" under a {facts.sky} sky" if facts.sky else ""
  if move in MOVES:
    clause = pick(MOVES[move])
    long = pick((
        f"{names} stand on {where}. {clause.format(solids='them')}.",
        f"on {where}, {clause.format(solids=names)}.",
        f"a video of {names} on {where}: {clause.format(solids='them')}."))
  else:
    long = pick((f"{names} stand on {where}.", f"a picture of {names} on {where}."))
  if language == "zh":
    names = phrases.join_chinese([
        f"一个{chinese.COLOURS[s.colour]}{pick(('', '的'))}{CHINESE[s.shape]}"
        for s in facts.solids])
    short = CHINESE_MOVES[move].format(solids=names) if move in MOVES else names
  return short, long


def read(text: str) -> dict[str, Any]:
  """What a caption tells, English or Chinese.

  Returns:
    solids, the colours of all in the order of the alphabet, and of each
    COLOUR.shape and COLOUR.size; move and direction of the camera; the colours
    of the floor and of the sky. What is not told is left out.

  Raises:
    ValueError: no solid is named.
  """
  text = text.lower()
  found = [thing for _, thing in phrases.things(text, SHAPES)]
  if not found:
    raise ValueError(f"{text[:80]!r} names no solid, such as 'a red cone'")
  told_of = phrases.named("solids", found)
  dull = phrases.any_of(facts_lib.DULL)
  if m := re.search(rf"({dull}) and ({dull}) (?:squares|floor)", text):
    told_of["floor"] = tuple(sorted(m.groups()))
  if m := re.search(rf"under a ({dull}) sky", text):
    told_of["sky"] = m[1]
  move, way = phrases.first(text, READ), phrases.first(text, WAYS)
  return told_of | ({"move": move} if move else {}) | (
      {"direction": way} if way else {})

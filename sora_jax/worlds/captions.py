"""Captions from facts: a short one and a descriptive one, in varied words.

Every caption says which objects there are, and for a video how each one moves
and in which direction; so a video made from a caption can be scored. The
descriptive caption also gives number, sizes and background. Captions are lower
case. An image's captions claim no motion.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from sora_jax.worlds import chinese
from sora_jax.worlds import facts as facts_lib
from sora_jax.worlds import lexicon
from sora_jax.worlds import motion

NOUNS = {"disc": ("ball", "disc", "circle"), "square": ("square", "box"),
         "triangle": ("triangle",)}
# Third person and participle.
MOVES = (("moves", "moving"), ("slides", "sliding"), ("travels", "travelling"),
         ("glides", "gliding"))
ROLLS = ("rolls", "rolling")
WORDS = {
    "right": ("to the right", "right", "from left to right", "rightward"),
    "left": ("to the left", "left", "from right to left", "leftward"),
    "up": ("up", "upward", "upwards"),
    "down": ("down", "downward", "downwards"),
}
NUMBERS = ("zero", "one", "two", "three")


def describe(facts: facts_lib.Facts, key: np.random.Generator,
             language: str = "en") -> tuple[str, str]:
  """The (short, descriptive) captions of a clip; `key` picks the words.

  With language="zh" the short one is Chinese.

  Raises:
    ValueError: another language.
  """
  lexicon.check(language)
  pick = lambda words: facts_lib.pick(key, words)
  short, descriptive = _short(facts, pick), _descriptive(facts, pick)
  return chinese.short(facts, pick) if language == "zh" else short, descriptive


def _short(facts, pick):
  sized = pick((False, False, False, True))
  names = [_name(o, pick, sized) for o in facts.objects]
  text = _clauses(facts, names, pick)
  if pick((False, False, False, False, True)):
    text += f" on {background(facts.background, pick)}"
  return text


def _descriptive(facts, pick):
  names = [_name(o, pick, True) for o in facts.objects]
  where = background(facts.background, pick)
  clauses = _clauses(facts, names, pick)
  kind = pick(("video", "clip") if facts.seconds else ("image", "picture"))
  count = len(names)
  things = "one object" if count == 1 else f"{NUMBERS[count]} objects"
  again = (f"{_join(names)} on {where}. {_again(facts, names, pick)}"
           if facts.seconds else f"{clauses} on {where}.")
  return pick((
      f"on {where}, {clauses}.",
      f"{lexicon.article(kind)} with {things} on {where}: {clauses}.",
      f"{clauses}. there {'is' if count == 1 else 'are'} {things}, "
      f"and the {'video' if facts.seconds else 'image'} has {where}.",
      f"{lexicon.article(kind)} of {again}",
  ))


def _again(facts, names, pick):
  """What the objects do, once they have been introduced by `names`."""
  if len(names) > 1:
    return _clauses(facts, [f"the {n.split(' ', 1)[1]}" for n in names],
                    pick) + "."
  subject = pick(("it", "the object", f"the {names[0].split()[-1]}"))
  return _clauses(facts, [subject], pick) + "."


def _name(thing, pick, sized):
  """An object with its article, such as "a small red ball"."""
  words = [thing.size] * sized + [thing.colour, pick(NOUNS[thing.shape])]
  return lexicon.article(" ".join(words))


def _clauses(facts, names, pick):
  """What the objects do: one clause for each, a shared one if they collide."""
  objects = facts.objects
  if not facts.seconds:
    return _still(facts, names, pick)
  clauses, meeting = [], [i for i, o in enumerate(objects)
                          if o.motion == "collide"]
  if meeting:
    (i, j), (a, b) = meeting, (objects[k] for k in meeting)
    da, db = pick(WORDS[a.direction]), pick(WORDS[b.direction])
    (moves, moving), second = pick(MOVES), pick(MOVES)[1]
    clauses.append(pick((
        f"{names[i]} {moving} {da} and {names[j]} {second} {db} collide",
        f"{names[i]} {moves} {da} and collides with {names[j]} {second} {db}",
        f"{names[i]} {moves} {da} and hits {names[j]} that {moves} {db}",
        f"{names[i]} {moving} {da} bumps into {names[j]} {second} {db}")))
  for thing, name in zip(objects, names):
    if thing.motion != "collide":
      clauses.append(f"{name} {_does(facts, thing, pick)}")
  if len(clauses) == 2:
    return pick((" and ", " while ")).join(clauses)
  return ", ".join(clauses[:-1]) + " and " * (len(clauses) > 1) + clauses[-1]


def _does(facts, thing, pick):
  """The motion of an object that moves by itself, as a verb phrase."""
  rolls = thing.shape == "disc" and thing.direction in ("left", "right")
  verb = pick(("moves",) * 3 + tuple(m[0] for m in MOVES[1:]) +
              (ROLLS[0],) * rolls)
  way = pick(WORDS[thing.direction])
  if thing.motion == "bounce":
    return f"{verb} {way} and " + pick((
        "bounces back", "bounces off the edge", "hits the edge and bounces",
        "bounces"))
  if thing.motion == "fall":
    falls = pick(("falls", "falls down", "drops", "drops down"))
    if motion.floor_time(facts, thing) > facts.seconds:
      return falls
    return falls + pick((" and bounces", " to the ground and bounces",
                         " and bounces on the ground"))
  if thing.motion == "pass":
    wall = pick(("a wall", f"a {facts.wall.colour} wall", "the wall"))
    return pick((
        f"{verb} {way} behind {wall}",
        f"passes behind {wall}, moving {way}",
        f"{verb} {way} behind {wall} and comes out on the other side",
        f"{verb} {way}, goes behind {wall} and comes out again"))
  return f"{verb} {way}" + pick(("",) * 5 + (" in a straight line",))


def _still(facts, names, pick):
  """What an image shows."""
  text = _join(names)
  if facts.wall:
    wall = pick(("a wall", f"a {facts.wall.colour} wall"))
    return f"{text} {pick(('next to', 'beside', 'and'))} {wall}"
  return text


def background(what: facts_lib.Background, pick: Callable[[Any], Any],
               exact: bool = False) -> str:
  """The background with its article; `exact` always tells how stripes lie."""
  first, second = what.colours[0], what.colours[-1]
  ground = pick(("background", "background", "backdrop"))
  if what.kind == "plain":
    return lexicon.article(pick((f"plain {first} {ground}", f"{first} {ground}")))
  if what.kind == "gradient":
    return lexicon.article(pick((
        f"{ground} that fades from {first} to {second}",
        f"gradient {ground} from {first} to {second}")))
  if what.kind == "stripes":
    # Stripes that change along x stand upright.
    lie = "vertical" if what.axis == "x" else "horizontal"
    whole = f"{ground} of {lie} {first} and {second} stripes"
    return lexicon.article(whole if exact else pick((
        f"striped {first} and {second} {ground}", whole)))
  return lexicon.article(pick((f"checked {first} and {second} {ground}",
                        f"{first} and {second} checkerboard {ground}")))


def _join(names):
  return ", ".join(names[:-1]) + " and " * (len(names) > 1) + names[-1]

"""Captions of the world of shatter, and the way back."""

import re
from typing import Any

import numpy as np

from sora_jax.worlds import captions
from sora_jax.worlds import chinese
from sora_jax.worlds import facts as facts_lib
from sora_jax.worlds import lexicon
from sora_jax.worlds import phrases
from sora_jax.worlds import reading

NOUNS = {"pane": "pane", "ball": "ball", "玻璃板": "pane", "球": "ball"}
WHERE = {"low": ("low down", "下部"), "middle": ("in the middle", "中部"),
         "high": ("high up", "上部")}
FROM = {"low": ("from low down", "从低处"), "middle": ("from middle height",
                                                      "从半高处"),
        "high": ("from high up", "从高处")}
_FLOOR = re.compile(rf"({phrases.any_of(facts_lib.DULL)}) floor")
_HEIGHT = {phrases.any_of(words): name
           for table in (FROM, WHERE) for name, words in table.items()}


def told(facts: Any) -> dict[str, Any]:
  """What captions can tell of a shatter.Facts, by name: see `read`."""
  found = {"thing": facts.thing, "colour": facts.colour, "floor": facts.floor}
  if facts.hitter:
    found["hitter"] = facts.hitter
  if facts.frames > 1:
    found |= {"direction": facts.direction, "height": facts.height,
              "breaks": facts.breaks}
  return found | reading.told_background(facts.background)


def describe(facts: Any, key: np.random.Generator,
             language: str = "en") -> tuple[str, str]:
  """The short and the descriptive caption of a shatter.Facts."""
  lexicon.check(language)
  pick = lambda words: facts_lib.pick(key, words)
  where = captions.background(facts.background, pick, exact=True)
  floor = f"the {facts.floor} floor"
  pieces = " into pieces " + pick(("that fall and stay there",
                                   "that fall to the floor"))
  if facts.frames == 1:
    short = _image(facts, "the floor")
    long = f"{_image(facts, floor)}, on {where}."
  else:
    short = _clause(facts, pick, "the floor", "")
    long = f"on {where}, " + _clause(facts, pick, floor, pieces) + "."
    if facts.hitter:
      long += f" the pane stands on {floor}."
  if language == "zh":
    short = _chinese(facts, pick)
  return short, long


def _image(facts, floor):
  if facts.hitter:
    return f"{lexicon.article(facts.hitter)} ball beside {_pane(facts)} on {floor}"
  return f"{lexicon.article(facts.colour)} ball above {floor}"


def _pane(facts):
  return f"{lexicon.article(facts.colour)} pane"


def _clause(facts, pick, floor, pieces):
  if facts.hitter:
    hits = (f"{lexicon.article(facts.hitter)} ball {pick(('flies', 'comes'))} to "
            f"the {facts.direction} and hits {_pane(facts)} "
            f"{WHERE[facts.height][0]}")
    return hits + (pick((", which breaks", ", which shatters")) + pieces
                   if facts.breaks else pick((" and bounces off",
                                              " but does not break it")))
  falls = (f"{lexicon.article(facts.colour)} ball {pick(('drops', 'falls'))} "
           f"{FROM[facts.height][0]} and ")
  return falls + (f"{pick(('breaks', 'shatters'))} on {floor}" + pieces
                  if facts.breaks else f"bounces on {floor}")


def _chinese(facts, pick):
  colour = chinese.COLOURS[facts.colour]
  hitter = facts.hitter and f"一个{chinese.COLOURS[facts.hitter]}球"
  if facts.frames == 1:
    return (f"{hitter}在一块{colour}玻璃板旁边" if hitter
            else f"一个{colour}球在地面上方")
  if hitter:
    return (f"{hitter}向{chinese.DIRECTIONS[facts.direction]}飞，击中一块{colour}"
            f"玻璃板的{WHERE[facts.height][1]}，"
            + (f"玻璃板{pick(('碎了', '破碎'))}" if facts.breaks else "然后弹开"))
  return f"一个{colour}球{FROM[facts.height][1]}落下" + (
      f"，{pick(('碎了', '破碎'))}" if facts.breaks else "并弹起")


def read(text: str) -> dict[str, Any]:
  """What a caption tells, English or Chinese.

  Returns:
    thing, its colour and that of the hitter, direction, height, whether it
    breaks, floor, background as in the flat worlds. What is not told is left
    out.

  Raises:
    ValueError: no pane and no ball is named.
  """
  text = text.lower()
  found = [thing for _, thing in phrases.things(text, NOUNS)]
  if not found:
    raise ValueError(f"{text[:80]!r} names no pane and no ball, such as 'a red "
                     "pane'")
  panes = [t["colour"] for t in found if t["shape"] == "pane"]
  balls = [t["colour"] for t in found if t["shape"] == "ball"]
  told_of: dict[str, Any] = {"thing": "pane" if panes else "ball",
                             "colour": (panes or balls)[0]}
  if panes and balls:
    told_of["hitter"] = balls[0]
  if m := _FLOOR.search(text):
    told_of["floor"] = m[1]
  if re.search(r"\b(?:hits|drops|falls)\b|击中|落下", text):
    way = re.search(r"to the (left|right)|向([左右])", text)
    told_of["direction"] = ("down" if not panes else
                            way and (way[1] or chinese.NAMES[way[2]]))
    told_of["height"] = phrases.first(text, _HEIGHT)
    told_of["breaks"] = bool(re.search("breaks|shatters|碎", text))
  ground = reading.background(text)
  told_of |= {f"background.{k}": v for k, v in (ground or {}).items()}
  return {k: v for k, v in told_of.items() if v is not None}

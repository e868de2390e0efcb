"""Captions of the world of craft, and the way back.

All of them begin with the game's name, and no caption of another world does: the
report says that the word "Minecraft" alone brings the game up.
"""

import re
from typing import Any

import numpy as np

from sora_jax.worlds import chinese
from sora_jax.worlds import facts as facts_lib
from sora_jax.worlds import lexicon
from sora_jax.worlds import phrases

NAME = "craftax, a minecraft-like game"
CHINESE_NAME = "craftax，一款类似minecraft的游戏"
SIGHTS = {"w": ("water", "水"), "S": ("stone", "石头"), "t": ("trees", "树"),
          "s": ("sand", "沙地")}
TIMES = {"day": ("by day", "白天"), "night": ("at night", "夜里")}
GOALS = {"walks": "走", "collects wood": "砍", "drinks": "喝", "fights": "打"}
_WAY = re.compile(r"\b(left|right|up|down)\b|向([左右上下])")
_COUNT = re.compile(rf"\b({phrases.any_of(phrases.NUMBERS[1:])}) "
                    rf"(?:pieces?|times?)\b|砍了([{phrases.CHINESE_NUMBERS}])|"
                    rf"喝了([{phrases.CHINESE_NUMBERS}])")


def told(facts: Any) -> dict[str, Any]:
  """What captions can tell of a craft.Facts, by name: see `read`."""
  found = {"game": "craftax", "time": facts.time,
           "sights": sights(facts.shown[0].cells)}
  if facts.frames == 1:
    return found
  found["goal"] = facts.goal
  if facts.goal == "walks":
    found["direction"] = facts.direction
  elif facts.goal == "fights":
    found["wins"] = facts.wins
  else:
    found["count"] = facts.count
  return found


def sights(cells: str) -> tuple[str, ...]:
  """What is in view, in English, in the order of the alphabet."""
  return tuple(sorted(SIGHTS[c][0] for c in SIGHTS if c in cells))


def describe(facts: Any, key: np.random.Generator,
             language: str = "en") -> tuple[str, str]:
  """The short and the descriptive caption of a craft.Facts."""
  lexicon.check(language)
  pick = lambda words: facts_lib.pick(key, words)
  seen = sights(facts.shown[0].cells)
  short = f"{NAME}: {_clause(facts, pick)}"
  around = f"with {phrases.join(seen)} in view" if seen else "on open grass"
  time = TIMES[facts.time][0]
  long = f"{NAME}: " + pick((
      f"{time}, {around}, {_clause(facts, pick)}.",
      f"{_clause(facts, pick)}, {around}, {time}.",
      f"{time}, {_clause(facts, pick)}, {around}."))
  if language == "zh":
    short = f"{CHINESE_NAME}：{_chinese(facts)}"
  return short, long


def _clause(facts, pick):
  who = pick(("the player", "a player"))
  n = phrases.NUMBERS[min(facts.count, 9)]
  if facts.frames == 1:
    return f"{who} stands on the map"
  if facts.goal == "walks":
    way = f"to the {facts.direction}" if facts.direction in (
        "left", "right") else facts.direction
    return f"{who} {pick(('walks', 'goes'))} {way}"
  if facts.goal == "collects wood":
    return (f"{who} {pick(('collects', 'gathers'))} {n} "
            f"piece{'s' * (facts.count > 1)} of wood")
  if facts.goal == "drinks":
    return f"{who} drinks water {n} time{'s' * (facts.count > 1)}"
  return f"{who} fights a zombie" + (pick((" and wins", " and kills it"))
                                     if facts.wins else "")


def _chinese(facts):
  n = phrases.CHINESE_NUMBERS[min(facts.count, 9)]
  if facts.frames == 1:
    return "玩家站在地图上"
  return {"walks": f"玩家向{chinese.DIRECTIONS.get(facts.direction, '')}走",
          "collects wood": f"玩家砍了{n}块木头", "drinks": f"玩家喝了{n}次水",
          "fights": "玩家打僵尸" + "并打赢了" * facts.wins}[facts.goal]


def read(text: str) -> dict[str, Any]:
  """What a caption tells, English or Chinese.

  Returns:
    game; goal, and of it direction, count or whether the player wins; time of day;
    sights, what is in view at first. What is not told is left out.

  Raises:
    ValueError: a text without the game's name.
  """
  text = text.lower()
  if "craftax" not in text:
    raise ValueError(f"{text[:80]!r} does not name the game: captions of craft "
                     f"begin with {NAME!r}")
  text = text.partition(":")[2] or text.partition("：")[2]
  found: dict[str, Any] = {"game": "craftax"}
  if time := phrases.first(text, {w: name for name, words in TIMES.items()
                                  for w in words}):
    found["time"] = time
  if m := re.search(r"with ([a-z, ]+) in view", text):
    found["sights"] = tuple(sorted(re.split(", | and ", m[1])))
  elif "on open grass" in text:
    found["sights"] = ()
  goal = phrases.first(text, {
      r"\b(?:walks|goes)\b|走": "walks", r"\b(?:collects|gathers)\b|砍":
      "collects wood", r"\bdrinks\b|喝": "drinks", r"\bfights\b|打": "fights"})
  if goal:
    found["goal"] = goal
  if goal == "walks" and (m := _WAY.search(text)):
    found["direction"] = m[1] or chinese.NAMES[m[2]]
  if goal == "fights":
    found["wins"] = bool(re.search("wins|kills|打赢", text))
  if goal in ("collects wood", "drinks") and (m := _COUNT.search(text)):
    found["count"] = (phrases.NUMBERS.index(m[1]) if m[1] else
                      phrases.CHINESE_NUMBERS.index(m[2] or m[3]))
  return found

"""The words of the world of what goes on unseen; facts are hidden.Facts."""

import functools
from typing import Any

import numpy as np

from sora_jax.worlds import chinese
from sora_jax.worlds import facts as facts_lib
from sora_jax.worlds import lexicon
from sora_jax.worlds import scene as scene_lib
from sora_jax.worlds import things as things_lib

LEXICON = lexicon.build(scene_lib.WORDS | {
    "colour": things_lib.WORDS["colour"],
    "object": things_lib.WORDS["object"],
    "kind": {"ball": (("ball",), ("球",)), "bar": (("bar",), ("进度条",)),
             "lamp": (("lamp",), ("灯",))},
    "rolls": {
        "right": (("rolls to the right", "rolls right"), ("向右滚",)),
        "left": (("rolls to the left", "rolls left"), ("向左滚",))},
    "fills": {
        "right": (("fills from left to right", "fills to the right"),
                  ("从左到右填满", "向右填充")),
        "left": (("fills from right to left", "fills to the left"),
                 ("从右到左填满", "向左填充"))},
    "level": {0: (("almost empty at first",), ("起初几乎空着",)),
              1: (("a third full at first",), ("起初有三分之一",))},
    "cover": {c: ((f"{c} wall", f"{c} curtain"), (f"{zh}的墙", f"{zh}的帘子"))
              for c, zh in chinese.DULL.items()},
})


def describe(facts: Any, key: np.random.Generator,
             language: str = "en") -> tuple[str, str]:
  """The short and the descriptive caption; with "zh" the short is Chinese."""
  lexicon.check(language)
  pick = functools.partial(facts_lib.pick, key)
  say = functools.partial(LEXICON.say, pick=pick)
  zh = functools.partial(LEXICON.say, pick=pick, language="zh")
  texts = []
  for full in (False, True):
    text = _subject(facts, say, full)
    if full and facts.scene.place:
      text += " " + say("place", facts.scene.place)
    text = pick((f"{text} {say('setting', facts.scene.setting)}",
                 f"{say('setting', facts.scene.setting)}, {text}"))
    if facts.kind != "ball" and facts.frames > 1:
      curtain = lexicon.article(f"{facts.cover} curtain")
      text += pick((f" while {curtain} closes and opens again",
                    f" and is hidden by {curtain} for a while"))
    texts.append(f"{text}, {say('style', facts.scene.style)}." if full else text)
  if language == "zh":
    texts[0] = f"{zh('setting', facts.scene.setting)}，{_chinese(facts, zh)}"
  return texts[0], texts[1]


def _subject(facts, say, full):
  """What there is and what it does, in English."""
  one, wall = facts.colours[0], lexicon.article(f"{facts.cover} wall")
  kind = say("kind", facts.kind)
  if facts.empty:
    return f"{say('object', 'none')} in the {kind}" if (
        facts.kind != "ball") else f"{say('object', 'none')} but {wall}"
  name = lexicon.article(f"{say('colour', one)} {kind}")
  if facts.frames == 1:
    if facts.kind == "bar" and full:
      name += f", {say('level', facts.start)},"
    return name + (f" beside {wall}" if facts.kind == "ball" else "")
  if facts.kind == "ball":
    return f"{name} {say('rolls', facts.direction)} behind {wall} and bounces back"
  if facts.kind == "bar":
    first = f", {say('level', facts.start)}," if full else ""
    return f"{name}{first} {say('fills', facts.direction)}"
  return (f"a {kind} changes from {say('colour', one)} to "
          f"{say('colour', facts.colours[1])} and back")


def _chinese(facts, say):
  one = say("colour", facts.colours[0])
  kind, cover = say("kind", facts.kind), chinese.DULL[facts.cover]
  if facts.kind == "ball":
    if facts.empty:
      return f"除了{cover}的墙{say('object', 'none')}"
    if facts.frames == 1:
      return f"{one}的{kind}在{cover}的墙旁边"
    return (f"{one}的{kind}{say('rolls', facts.direction)}到{cover}的墙后面，"
            "又弹回来")
  hides = f"，{cover}的帘子关上又打开" if facts.frames > 1 else ""
  if facts.empty:
    return f"{kind}里{say('object', 'none')}{hides}"
  if facts.kind == "lamp" and facts.frames > 1:
    return f"{kind}从{one}变成{say('colour', facts.colours[1])}再变回来{hides}"
  does = say("fills", facts.direction) if (
      facts.kind == "bar" and facts.frames > 1) else ""
  return f"{one}的{kind}{does}{hides}"


def told(facts: Any) -> dict[str, Any]:
  """What captions can tell, by name."""
  moves = facts.frames > 1
  pairs = scene_lib.pairs(facts.scene)
  if facts.empty:
    pairs.append(("object", "none"))
  else:
    seen = facts.colours if moves else facts.colours[:1]
    pairs += [("colour", c) for c in seen]
    if moves and facts.kind != "lamp":
      pairs.append(({"ball": "rolls", "bar": "fills"}[facts.kind],
                    facts.direction))
    if facts.kind == "bar":
      pairs.append(("level", facts.start))
  if facts.kind != "ball" or not facts.empty:
    pairs.append(("kind", facts.kind))
  if moves or facts.kind == "ball":
    pairs.append(("cover", facts.cover))
  return lexicon.named(pairs)

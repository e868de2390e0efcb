"""The words of the world of figures; facts are figures.Facts."""

import dataclasses
import functools
from typing import Any

import numpy as np

from sora_jax.worlds import chinese
from sora_jax.worlds import facts as facts_lib
from sora_jax.worlds import lexicon
from sora_jax.worlds import scene as scene_lib

LEXICON = lexicon.build(scene_lib.WORDS | {
    "kind": {"person": (("person", "walker"), ("人",)), "dog": (("dog",), ("狗",)),
             "giraffe": (("giraffe",), ("长颈鹿",)),
             "none": (("nobody",), ("没有谁",))},
    "hat": {c: ((f"{c} hat",), (f"{chinese.COLOURS[c]}帽子",))
            for c in facts_lib.COLOURS},
    "body": {c: ((f"{c} body", f"{c} coat"), (f"{chinese.COLOURS[c]}身体",))
             for c in facts_lib.COLOURS},
    "legs": {c: ((f"{c} legs",), (f"{chinese.COLOURS[c]}腿",))
             for c in facts_lib.COLOURS},
    "walks": {"right": (("to the right",), ("向右走",)),
              "left": (("to the left",), ("向左走",))},
    "posts": {1: (("a post", "one post"), ("一根柱子",)),
              2: (("two posts",), ("两根柱子",))},
    "view": {"wide": (("a wide shot",), ("远景",)),
             "close": (("a close shot", "a close-up"), ("近景",))},
})


def describe(facts: Any, key: np.random.Generator,
             language: str = "en") -> tuple[str, str]:
  """The short and the descriptive caption; with "zh" the short is Chinese."""
  lexicon.check(language)
  pick = functools.partial(facts_lib.pick, key)
  texts = [_english(facts, functools.partial(LEXICON.say, pick=pick), full)
           for full in (False, True)]
  if language == "zh":
    texts[0] = _chinese(facts, functools.partial(LEXICON.say, pick=pick,
                                                 language="zh"))
  return texts[0], texts[1]


def _shown(facts):
  """The figures and the shots that can be seen."""
  return (facts.figures[facts.empty:],
          facts.shots[:1] if facts.frames == 1 else facts.shots)


def _english(facts, say, full):
  figures, shots = _shown(facts)
  names = [f"{lexicon.article(say('kind', f.kind))} with a {say('hat', f.hat)}, a "
           f"{say('body', f.body)} and {say('legs', f.legs)}".replace(
               " a orange", " an orange") for f in figures]
  who = ", and ".join(names) or say("kind", "none")
  if shots:
    views = [f"{say('view', s.view)} {say('setting', s.setting)}" for s in shots]
    text = f"{who}: {', then '.join(views)}"
  elif facts.frames == 1 or not figures:
    text = (f"{who} {say('setting', facts.scene.setting)} beside "
            f"{say('posts', len(facts.posts))}")
  else:
    goes = "walks" if len(names) == 1 else "walk"
    text = (f"{who} {goes} {say('walks', facts.direction)} behind "
            f"{say('posts', len(facts.posts))} {say('setting', facts.scene.setting)}")
  return f"{text}, {say('style', facts.scene.style)}." if full else text


def _chinese(facts, say):
  figures, shots = _shown(facts)
  who = "，和".join(f"戴{say('hat', f.hat)}、{say('body', f.body)}、"
                   f"{say('legs', f.legs)}的{say('kind', f.kind)}"
                   for f in figures) or say("kind", "none")
  if shots:
    views = [say("setting", s.setting) + say("view", s.view) for s in shots]
    return f"{who}，" + "，然后".join(views)
  posts = say("posts", len(facts.posts))
  beside = facts.frames == 1 or not figures
  does = f"在{posts}旁边" if beside else f"在{posts}后面{say('walks', facts.direction)}"
  return f"{say('setting', facts.scene.setting)}，{who}{does}"


def told(facts: Any) -> dict[str, Any]:
  """What captions can tell, by name."""
  figures, shots = _shown(facts)
  pairs: list[tuple[str, Any]] = [("style", facts.scene.style)]
  for figure in figures:
    pairs += list(dataclasses.asdict(figure).items())
  pairs += [] if figures else [("kind", "none")]
  for shot in shots:
    pairs += [("setting", shot.setting), ("view", shot.view)]
  if not shots:
    pairs.append(("setting", facts.scene.setting))
    pairs.append(("posts", len(facts.posts)))
    if facts.frames > 1 and figures:
      pairs.append(("walks", facts.direction))
  return lexicon.named(pairs)

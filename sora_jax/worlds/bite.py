"""The world of the bite: a mouth eats, and each bite leaves its mark.

Report: "a man can eat a burger and leave bite marks".
"""

import dataclasses
import functools
from typing import Any

import numpy as np

from sora_jax.worlds import bite_parse
from sora_jax.worlds import chinese
from sora_jax.worlds import facts as facts_lib
from sora_jax.worlds import grounds
from sora_jax.worlds import lexicon
from sora_jax.worlds import paint
from sora_jax.worlds import rows_interaction
from sora_jax.worlds import scene as scene_lib
from sora_jax.worlds import things as things_lib
from sora_jax.worlds import twins

SHORTEST = 1.0  # seconds
FEWEST = 9  # frames of a video
OPTIONS = scene_lib.OPTIONS
LAWS = ("unbiting", "immutability")
ROWS = rows_interaction.BITE
FOODS = {"cookie": "disc", "toast": "square"}
SIDES = ("right", "left")
FOOD, MOUTH, BITE = 0.44, 0.22, 0.075  # diameters, and the radius of a bite
SPOTS = (0.0, -0.155, 0.155)  # heights of bites on the side of the mouth
PACE = 5  # the fewest frames of a bite
EATS = 0.92  # the share of the clip in which the mouth eats
OLD = 0.4  # the share of clips with a bite from before
LEXICON = lexicon.build(scene_lib.WORDS | {
    "mouth": {c: ((f"{c} mouth",), (f"{chinese.COLOURS[c]}的嘴",))
              for c in things_lib.COLOURS},
    "food": {f"{c} {f}": ((f"{c} {f}",), (f"{chinese.COLOURS[c]}的{zh}",))
             for c in things_lib.COLOURS
             for f, zh in (("cookie", "饼干"), ("toast", "吐司"))},
    "bites": {1: (("one bite", "a single bite"), ("一口",)),
              2: (("two bites",), ("两口",)), 3: (("three bites",), ("三口",))},
    "side": {"right": (("from the right",), ("从右边",)),
             "left": (("from the left",), ("从左边",))},
    "before": {True: (("already bitten once", "bitten once before"),
                      ("已经被咬过一次",))},
})


@dataclasses.dataclass(frozen=True)
class Facts:
  """What is true of a clip.

  Attributes:
    scene: setting, style and composition.
    food: one of FOODS.
    colour: of the food, in things.COLOURS.
    mouth: the colour of the mouth.
    side: where the mouth comes from.
    bites: how many it takes.
    before: whether there is a bite on the other side at first.
    y: the height of the food's centre, in short sides.
    size, frames, fps: of the clip.
    broken: one of LAWS, "" if none.
  """

  scene: scene_lib.Scene
  food: str
  colour: str
  mouth: str
  side: str
  bites: int
  before: bool
  y: float
  size: tuple[int, int]
  frames: int
  fps: float
  broken: str = ""


def sample(key: np.random.Generator, size: tuple[int, int], frames: int,
           fps: float, held_out: bool = False, *, setting: str | None = None,
           style: str | None = None, bites: int | None = None) -> Facts:
  """Draws the facts of a clip; arguments and errors as in `lookaway.sample`.

  Held out are colours of a food and side, by the rule of the flat worlds;
  `bites` asks for their number.
  """
  width, height = scene_lib.check(size, frames, fps, FEWEST)
  facts_lib.duration(frames, fps, held_out)
  most = min(len(SPOTS), (frames - 1) // PACE) if frames > 1 else len(SPOTS)
  if bites is not None and not 1 <= bites <= most:
    raise ValueError(f"bites={bites}: {frames} frames show 1 to {most}")
  where = scene_lib.draw(key, setting, style, scene_lib.places(width, FOOD / 2))
  x = scene_lib.across(where.place, width, FOOD / 2)
  room = {"right": width - x - FOOD / 2, "left": x - FOOD / 2}
  sides = [s for s in SIDES if room[s] > MOUTH + scene_lib.EDGE]
  side, food, colour = facts_lib.pick(key, [
      (s, f, c) for s in sides for f in FOODS for c in things_lib.COLOURS
      if facts_lib.is_held_out(c, FOODS[f], s if frames > 1 else "none")
      == held_out])
  mouth = facts_lib.pick(key, [
      c for c in things_lib.COLOURS if c not in (colour, twins.PARTNERS[colour])])
  bitten = int(key.integers(1, most + 1))
  return Facts(where, food, colour, mouth, side, bites or bitten,
               key.random() < OLD, float(key.uniform(0.3, height - 0.3)), size,
               frames, fps)


def spots(facts: Facts) -> np.ndarray:
  """The centres of the bites from the food's, [bites, 2] in short sides."""
  y = np.array(SPOTS[:facts.bites])
  x = np.full_like(y, FOOD / 2) if facts.food == "toast" else np.sqrt(
      FOOD**2 / 4 - y**2)
  return np.stack([x if facts.side == "right" else -x, y], -1)


def eating(facts: Facts) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """(bites taken, nearness of the mouth, its bite) of each frame, [T] each.

  A mouth is at its bite where its nearness is 1, and away at 0.
  """
  turn = np.arange(facts.frames) / max(facts.frames - 1, 1) / EATS * facts.bites
  which = np.minimum(turn.astype(int), facts.bites - 1)
  phase = np.minimum(turn - which, 1)
  near = np.interp(phase, [0.1, 0.45, 0.6, 0.95], [0, 1, 1, 0])
  return which + (phase >= 0.55), near, which


def render(facts: Facts) -> np.ndarray:
  """The clip, uint8 [T, H, W, 3]."""
  return twins.render(facts, _draw, counterpart, facts.frames // 2)


def _draw(facts):
  where, width = facts.scene, facts.size[0] / min(facts.size)
  video = scene_lib.video(where, facts.size, facts.frames)
  ink, face = scene_lib.ink(where), 1 if facts.side == "right" else -1
  middle = np.array([scene_lib.across(where.place, width, FOOD / 2), facts.y])
  taken, near, which = eating(facts)
  bites = spots(facts)
  holes = [paint.Part("disc", middle + spot, np.where(
      (taken > i)[:, None], BITE, -9.0) * np.ones(2), (0, 0, 0))
           for i, spot in enumerate(bites)]
  if facts.before:
    holes.append(paint.Part("disc", middle - (face * FOOD / 2, 0), (BITE, BITE),
                            (0, 0, 0)))
  paint.draw(video, [paint.thing(FOODS[facts.food], middle, FOOD, facts.colour)],
             ink, holes)
  # The mouth waits beside the food, at the height of its next bite.
  away = middle[0] + face * (FOOD / 2 + 0.2)
  away = min(max(away, MOUTH / 2 + 0.02), width - MOUTH / 2 - 0.02)
  spot = middle + bites[which] + (face * 0.05, 0)
  x = away + near * (spot[:, 0] - away)
  y = spot[:, 1]
  shut = np.interp(near - 2 * (taken > which), [-2, -1, 0, 0.5, 1],
                   [0.25, 0.05, 0.3, 0.8, 0.6])  # the angle of a lip
  lip = np.stack([-face * np.cos(shut), np.sin(shut)], -1) * MOUTH / 2
  at = np.stack([x, y], -1)
  paint.draw(video, [
      paint.Part("mouth", at, lip, facts_lib.COLOURS[facts.mouth], MOUTH / 2),
      paint.thing("disc", at - (0, 0.06), 0.04, grounds.INKS[0])], ink)
  return scene_lib.finish(where, video)


def describe(facts: Facts, key: np.random.Generator,
             language: str = "en") -> tuple[str, str]:
  """The short and the descriptive caption; with "zh" the short is Chinese."""
  lexicon.check(language)
  pick = functools.partial(facts_lib.pick, key)
  say = functools.partial(LEXICON.say, pick=pick)
  zh = functools.partial(LEXICON.say, pick=pick, language="zh")
  food = f"{facts.colour} {facts.food}"
  moves, texts = facts.frames > 1, []
  for full in (False, True):
    what = lexicon.article(say("food", food))
    if full and facts.before:
      what += f", {say('before', True)},"
    if full:
      what += " " + say("place", facts.scene.place)
    mouth = lexicon.article(say("mouth", facts.mouth))
    if moves:
      what = f"{mouth} takes {say('bites', facts.bites)} of {what}"
      what += f" {say('side', facts.side)}"
    else:
      what = pick((f"{mouth} beside {what}", f"{what} beside {mouth}"))
    setting = say("setting", facts.scene.setting)
    text = pick((f"{what} {setting}", f"{setting}, {what}"))
    texts.append(f"{text}, {say('style', facts.scene.style)}." if full else text)
  if language == "zh":
    texts[0] = zh("setting", facts.scene.setting) + "，" + (
        f"{zh('mouth', facts.mouth)}{zh('side', facts.side)}"
        f"咬了{zh('food', food)}{zh('bites', facts.bites)}" if moves else
        f"{zh('mouth', facts.mouth)}在{zh('food', food)}旁边")
  return texts[0], texts[1]


def told(facts: Facts) -> dict[str, Any]:
  """What captions can tell, by name."""
  pairs = scene_lib.pairs(facts.scene) + [
      ("mouth", facts.mouth), ("food", f"{facts.colour} {facts.food}")]
  if facts.frames > 1:
    pairs += [("bites", facts.bites), ("side", facts.side)]
  return lexicon.named(pairs + [("before", True)] * facts.before)


read = LEXICON.read
parse = bite_parse.parse
score = bite_parse.score


def counterpart(facts: Facts, law: str) -> Facts:
  """The lawful clip that `twin(facts, law)` ends as, and begins as facts."""
  twins.check(facts, law, LAWS)
  if law == "unbiting":
    return dataclasses.replace(facts, before=not facts.before)
  return dataclasses.replace(facts, colour=twins.PARTNERS[facts.colour])


def twin(facts: Facts, law: str) -> Facts:
  """The same clip, but in its middle the food breaches a law.

    unbiting       the old bite grows back, or is there without a mouth
    immutability   it is of another colour
  """
  return twins.broken(facts, law, LAWS)


def what_if(facts: Facts, key: np.random.Generator) -> Facts:
  """The same clip with another setting, food, colour or number of bites."""
  colours = [c for c in things_lib.COLOURS if c not in (
      facts.mouth, twins.PARTNERS[facts.mouth], facts.colour)]
  most = min(len(SPOTS), max((facts.frames - 1) // PACE, 1))
  others = [n for n in range(1, most + 1) if n != facts.bites]
  changes = [
      lambda f: dataclasses.replace(f, colour=facts_lib.pick(key, colours)),
      lambda f: dataclasses.replace(
          f, food="toast" if f.food == "cookie" else "cookie")]
  if others and facts.frames > 1:
    changes.append(lambda f: dataclasses.replace(
        f, bites=facts_lib.pick(key, others)))
  return scene_lib.what_if(facts, key, changes, is_held_out, told)


def is_held_out(facts: Facts) -> bool:
  """Whether colour, food and side are kept out of training together."""
  return facts.frames > 1 and facts_lib.is_held_out(
      facts.colour, FOODS[facts.food], facts.side)

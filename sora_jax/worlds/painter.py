"""The world of the painter: a brush leaves strokes, and strokes stay.

Report: "a painter can leave new strokes along a canvas that persist over time".
"""

import dataclasses
import functools
from typing import Any

import numpy as np

from sora_jax.worlds import chinese
from sora_jax.worlds import facts as facts_lib
from sora_jax.worlds import grounds
from sora_jax.worlds import lexicon
from sora_jax.worlds import paint
from sora_jax.worlds import painter_parse
from sora_jax.worlds import rows_interaction
from sora_jax.worlds import scene as scene_lib
from sora_jax.worlds import things as things_lib
from sora_jax.worlds import twins

SHORTEST = 1.0  # seconds
FEWEST = 9  # frames of a video
OPTIONS = scene_lib.OPTIONS | {"strokes": (1, 2)}
LAWS = ("unpainting", "immutability")
ROWS = rows_interaction.PAINTER
FORMS = ("line", "zigzag", "circle")
DIRECTIONS = ("right", "left")
RADIUS = 0.034  # of the brush, in short sides
TALL = 0.08  # half the height of a zigzag or circle
HANDLE = ((0.03, -0.03), (0.1, -0.1), 0.026)  # from the tip, its way, its radius
WOOD = "orange"  # of the handle, and of nothing else
OLD = 0.5  # the share of clips with an old stroke
TURNS = 16  # sides of a circle
LEXICON = lexicon.build(scene_lib.WORDS | {
    "colour": things_lib.WORDS["colour"],
    "form": {"line": (("line",), ("线",)),
             "zigzag": (("zigzag",), ("之字形",)),
             "circle": (("circle", "ring"), ("圆圈",))},
    "goes": {"right": (("from left to right",), ("从左到右",)),
             "left": (("from right to left",), ("从右到左",))},
    "turns": {"right": (("clockwise",), ("顺时针",)),
              "left": (("anticlockwise", "counterclockwise"), ("逆时针",))},
    "old": {c: ((f"old {c} stroke",), (f"旧的{chinese.COLOURS[c]}笔画",))
            for c in things_lib.COLOURS},
    "brush": {True: (("a brush paints", "someone paints"), ("画笔画",))},
})


@dataclasses.dataclass(frozen=True)
class Stroke:
  """A stroke of the brush.

  Attributes:
    colour: a name in things.COLOURS.
    form: one of FORMS.
    direction: where it leads; a circle to the "right" is clockwise.
    x, y: the centre, in short sides.
    wide: half the width.
  """

  colour: str
  form: str
  direction: str
  x: float
  y: float
  wide: float


@dataclasses.dataclass(frozen=True)
class Facts:
  """What is true of a clip.

  Attributes:
    scene: setting and style.
    strokes: one or two, in the order in which they are painted.
    old: a line that may have been there before.
    before: whether it was.
    size, frames, fps: of the clip.
    broken: one of LAWS, "" if none.
  """

  scene: scene_lib.Scene
  strokes: tuple[Stroke, ...]
  old: Stroke
  before: bool
  size: tuple[int, int]
  frames: int
  fps: float
  broken: str = ""


def sample(key: np.random.Generator, size: tuple[int, int], frames: int,
           fps: float, held_out: bool = False, *, setting: str | None = None,
           style: str | None = None, strokes: int | None = None) -> Facts:
  """Draws the facts of a clip; arguments and errors as in `lookaway.sample`.

  Held out are colours of a form and direction, by the rule of the flat worlds
  with forms for shapes; `strokes` asks for their number.
  """
  width, height = scene_lib.check(size, frames, fps, FEWEST)
  facts_lib.duration(frames, fps, held_out)
  if strokes not in (None, *OPTIONS["strokes"]):
    raise ValueError(f"strokes={strokes}: a clip has 1 or 2")
  where = scene_lib.draw(key, setting, style)
  count = strokes or int(key.integers(1, 3))
  rows = key.permutation(3)
  # Room above and on the right for the handle.
  top, tall = 0.22, (height - 0.3) / 3
  drawn: list[Stroke] = []
  for row in rows:
    old = len(drawn) == count
    used = {c for s in drawn for c in (s.colour, twins.PARTNERS[s.colour])}
    form, way, colour = facts_lib.pick(key, [
        (f, d, c) for f in FORMS for d in DIRECTIONS for c in things_lib.COLOURS
        if c not in used and (old or facts_lib.is_held_out(
            c, facts_lib.SHAPES[FORMS.index(f)],
            d if frames > 1 else "none") == held_out)])
    form = "line" if old else form
    wide = TALL if form == "circle" else key.uniform(0.2, min(width / 2 - 0.16, 0.5))
    x = key.uniform(wide + 0.08, width - wide - 0.18)
    y = top + tall * (row + 0.5) + key.uniform(-0.5, 0.5) * max(
        tall - 2 * (TALL + RADIUS), 0)
    drawn.append(Stroke(colour, form, way, float(x), float(y), float(wide)))
    if old:
      break
  return Facts(where, tuple(drawn[:-1]), drawn[-1],
               not held_out and key.random() < OLD, size, frames, fps)


def corners(stroke: Stroke) -> np.ndarray:
  """The corners of the path of a stroke, [n, 2] in short sides."""
  if stroke.form == "circle":
    turn = np.pi + np.linspace(0, 2 * np.pi, TURNS + 1)
    path = TALL * np.stack([np.cos(turn), np.sin(turn)], -1)
    path = path if stroke.direction == "right" else path * (1, -1)
  else:
    path = np.stack([np.linspace(-1, 1, 5) * stroke.wide,
                     np.array([1, -1, 1, -1, 1]) * TALL * (stroke.form == "zigzag")],
                    -1)
    path = path if stroke.direction == "right" else path[::-1]
  return path + (stroke.x, stroke.y)


def schedule(facts: Facts) -> tuple[np.ndarray, np.ndarray, list[slice]]:
  """The brush's way: corners [n, 2], times [n] of 0 to 1, those of each stroke."""
  points: list[np.ndarray] = []
  times: list[float] = []
  parts: list[slice] = []
  last = 0.84 / len(facts.strokes)  # what is left is for leaving
  for i, stroke in enumerate(facts.strokes):
    path = corners(stroke)
    length = np.cumsum([0, *np.hypot(*np.diff(path, axis=0).T)])
    begin = len(points)
    points += list(path)
    times += list((i + 0.12 + 0.86 * length / length[-1]) * last)
    parts.append(slice(begin, len(points)))
  out = (facts.size[0] / min(facts.size) + 0.3, -0.3)
  # A little above the first corner, and out of the frame at the end.
  way = np.array([points[0] + (0.03, -0.05), *points, out])
  moved = [slice(p.start + 1, p.stop + 1) for p in parts]
  return way, np.array([0.0, *times, 1.0]), moved


def render(facts: Facts) -> np.ndarray:
  """The clip, uint8 [T, H, W, 3]."""
  return twins.render(facts, _draw, counterpart, facts.frames // 2)


def _draw(facts):
  where = facts.scene
  video = scene_lib.video(where, facts.size, facts.frames)
  points, times, parts = schedule(facts)
  # An image shows the end, when the brush is gone.
  when = np.linspace(0, 1, facts.frames) if facts.frames > 1 else np.ones(1)
  ink = scene_lib.ink(where)
  if facts.before:
    paint.trace(video, corners(facts.old), np.linspace(-2, -1, 5), when, RADIUS,
                facts_lib.COLOURS[facts.old.colour], ink)
  for stroke, part in zip(facts.strokes, parts):
    paint.trace(video, points[part], times[part], when, RADIUS,
                facts_lib.COLOURS[stroke.colour], ink)
  tip = tips(facts)
  begin, way, radius = HANDLE
  paint.draw(video, [
      paint.Part("capsule", tip + begin, np.broadcast_to(way, tip.shape),
                 facts_lib.COLOURS[WOOD], radius),
      paint.thing("disc", tip, 2 * RADIUS, grounds.dim(where.setting))], ink)
  return scene_lib.finish(where, video)


def tips(facts: Facts) -> np.ndarray:
  """Where the tip of the brush is in each frame, [T, 2] in short sides."""
  points, times, _ = schedule(facts)
  when = np.linspace(0, 1, facts.frames) if facts.frames > 1 else np.ones(1)
  return np.stack([np.interp(when, times, p) for p in points.T], -1)


def describe(facts: Facts, key: np.random.Generator,
             language: str = "en") -> tuple[str, str]:
  """The short and the descriptive caption; with "zh" the short is Chinese."""
  lexicon.check(language)
  pick = functools.partial(facts_lib.pick, key)
  say = functools.partial(LEXICON.say, pick=pick)
  zh = functools.partial(LEXICON.say, pick=pick, language="zh")
  moves, texts = facts.frames > 1, []
  for full in (False, True):
    names = []
    for s in facts.strokes:
      name = lexicon.article(f"{say('colour', s.colour)} {say('form', s.form)}")
      names.append(f"{name} {say(*_way(s))}" if moves else name)
    what = pick((" and ", " and then ") if moves else (" and ",)).join(names)
    what = f"{say('brush', True)} {what}" if moves else f"painted: {what}"
    setting = say("setting", facts.scene.setting)
    text = pick((f"{what} {setting}", f"{setting}, {what}"))
    if full and facts.before:
      text += pick(("; ", ", where there is ")) + f"an {say('old', facts.old.colour)}"
    texts.append(f"{text}, {say('style', facts.scene.style)}." if full else text)
  if language == "zh":
    names = [(zh(*_way(s)) if moves else "") + "一条" + zh("colour", s.colour) +
             zh("form", s.form) for s in facts.strokes]
    texts[0] = (zh("setting", facts.scene.setting) + "，" + (
        zh("brush", True) if moves else "画着") + "和".join(names))
  return texts[0], texts[1]


def _way(stroke):
  """(name, value) of where a stroke leads."""
  return "turns" if stroke.form == "circle" else "goes", stroke.direction


def told(facts: Facts) -> dict[str, Any]:
  """What captions can tell, by name."""
  pairs: list[tuple[str, Any]] = scene_lib.pairs(facts.scene)
  for s in facts.strokes:
    pairs += [("colour", s.colour), ("form", s.form)]
    pairs += [_way(s)] if facts.frames > 1 else []
  if facts.frames > 1:
    pairs.append(("brush", True))
  if facts.before:
    pairs.append(("old", facts.old.colour))
  return lexicon.named(pairs)


read = LEXICON.read
parse = painter_parse.parse
score = painter_parse.score


def counterpart(facts: Facts, law: str) -> Facts:
  """The lawful clip that `twin(facts, law)` ends as, and begins as facts."""
  twins.check(facts, law, LAWS)
  if law == "unpainting":
    return dataclasses.replace(facts, before=not facts.before)
  first, *rest = facts.strokes
  other = dataclasses.replace(first, colour=twins.PARTNERS[first.colour])
  return dataclasses.replace(facts, strokes=(other, *rest))


def twin(facts: Facts, law: str) -> Facts:
  """The same clip, but in its middle a stroke breaches a law.

    unpainting     the old one is gone, or is there without having been painted
    immutability   the first one is of another colour
  """
  return twins.broken(facts, law, LAWS)


def what_if(facts: Facts, key: np.random.Generator) -> Facts:
  """The same clip with another setting, or a stroke of another colour or way."""
  used = {c for s in (*facts.strokes, facts.old)
          for c in (s.colour, twins.PARTNERS[s.colour])}
  first, *rest = facts.strokes
  partner = dataclasses.replace(first, colour=twins.PARTNERS[first.colour])
  changes = [lambda f: dataclasses.replace(f, strokes=(dataclasses.replace(
      first, direction="left" if first.direction == "right" else "right"), *rest)),
             lambda f: dataclasses.replace(f, strokes=(partner, *rest))]
  free = [c for c in things_lib.COLOURS if c not in used]
  if free:
    changes.append(lambda f: dataclasses.replace(f, strokes=(dataclasses.replace(
        first, colour=facts_lib.pick(key, free)), *rest)))
  return scene_lib.what_if(facts, key, changes, is_held_out, told)


def is_held_out(facts: Facts) -> bool:
  """Whether a stroke's colour, form and direction are kept out of training."""
  return facts.frames > 1 and any(facts_lib.is_held_out(
      s.colour, facts_lib.SHAPES[FORMS.index(s.form)], s.direction)
                                  for s in facts.strokes)

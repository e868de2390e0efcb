"""The world of what goes on unseen: things keep changing behind a cover.

A ball rolls behind a wall and bounces off the edge of the frame, a bar fills, or
a lamp changes its colour on a clock while a curtain is closed. What is seen
afterwards follows from what was seen before.
"""

import dataclasses

import numpy as np

from sora_jax.worlds import facts as facts_lib
from sora_jax.worlds import grounds
from sora_jax.worlds import hidden_parse
from sora_jax.worlds import hidden_words
from sora_jax.worlds import paint
from sora_jax.worlds import rows_permanence
from sora_jax.worlds import scene as scene_lib
from sora_jax.worlds import things as things_lib
from sora_jax.worlds import twins

SHORTEST = 1.5  # seconds
FEWEST = 13  # frames of a video
KINDS = ("ball", "bar", "lamp")
OPTIONS = scene_lib.OPTIONS | {"kind": KINDS}
LAWS = ("progress", "immutability", "permanence")
ROWS = rows_permanence.HIDDEN
DIRECTIONS = ("right", "left")
EMPTY = 0.1  # the share of clips in which there is nothing
BALL, BAR, LAMP = 0.24, (0.33, 0.09), 0.3  # diameter, half sizes, diameter
LEVELS = (0.1, 0.3)  # of a bar at first
FILLS = 0.6  # what a bar gains in a clip
MARGIN = 0.06  # of a cover around what it hides, in short sides
@dataclasses.dataclass(frozen=True)
class Facts:
  """What is true of a clip.

  Attributes:
    scene: setting, style and composition.
    kind: one of KINDS.
    colours: one colour; of a lamp two, the first one at first.
    cover: the colour of the wall or curtain, in facts.DULL.
    direction: in which the ball sets out and the bar fills.
    start: 0 or 1: the bar's level at first, in LEVELS; the ball is ahead by
      some frames.
    y: the height of the centre, in short sides.
    empty: whether there is a cover alone, with an empty bar or an unlit lamp.
    hidden: the number of frames behind the cover.
    size, frames, fps: of the clip.
    broken: one of LAWS, "" if none.
  """

  scene: scene_lib.Scene
  kind: str
  colours: tuple[str, ...]
  cover: str
  direction: str
  start: int
  y: float
  empty: bool
  hidden: int
  size: tuple[int, int]
  frames: int
  fps: float
  broken: str = ""


def sample(key: np.random.Generator, size: tuple[int, int], frames: int,
           fps: float, held_out: bool = False, *, setting: str | None = None,
           style: str | None = None, kind: str | None = None,
           hidden: int | None = None) -> Facts:
  """Draws the facts of a clip; arguments and errors as in `lookaway.sample`.

  Held out are colours of a kind and direction, by the rule of the flat worlds
  with kinds for shapes; `kind` asks for one of KINDS.
  """
  width, height = scene_lib.check(size, frames, fps, FEWEST)
  facts_lib.duration(frames, fps, held_out)
  hidden = scene_lib.window(key, frames, hidden)
  drawn = facts_lib.pick(key, KINDS)
  if kind not in (None, *KINDS):
    raise ValueError(f"kind={kind!r}: there are {', '.join(KINDS)}")
  kind = kind or drawn
  half = {"ball": BALL / 2, "bar": BAR[0], "lamp": LAMP / 2}[kind] + MARGIN
  where = scene_lib.draw(key, setting, style, ("",) if kind == "ball" else (
      scene_lib.places(width, half)))
  shape = facts_lib.SHAPES[KINDS.index(kind)]
  direction, first = facts_lib.pick(key, [
      (d, c) for d in DIRECTIONS for c in things_lib.COLOURS
      if facts_lib.is_held_out(c, shape, d if frames > 1 else "none") == held_out])
  second = facts_lib.pick(key, [
      c for c in things_lib.COLOURS if c not in (first, twins.PARTNERS[first])])
  return Facts(
      where, kind, (first, second) if kind == "lamp" else (first,),
      facts_lib.pick(key, grounds.walls(where.setting)), direction,
      int(key.integers(2)), float(key.uniform(0.25, height - 0.25)),
      not held_out and key.random() < EMPTY, hidden, size, frames, fps)


def roll(facts: Facts) -> tuple[np.ndarray, float]:
  """(the x of the ball [T], the edge of the wall), as if it set out to the right.

  It is hidden around the middle of the clip, or a little before or after it.
  """
  # An image is the first frame of a clip.
  frames, hidden = (17, 4) if facts.frames == 1 else (facts.frames, facts.hidden)
  turn = (frames - hidden) // 2 + (hidden - 1) / 2
  begin, end = BALL / 2 + 0.06, facts.size[0] / min(facts.size) - BALL / 2
  ahead = min(max(round(0.06 * (frames - 1.6 * hidden)), 1), (hidden - 1) // 2)
  speed = (end - begin) / (frames - 1 - turn + ahead)
  ahead = ahead if facts.start else -ahead
  x = end - speed * np.abs(np.arange(facts.frames) + ahead - turn)
  return x, end - speed * (hidden - 1) / 2 - BALL / 2 - 0.02


def level(facts: Facts) -> np.ndarray:
  """How full the bar is in each frame, [T] from 0 to 1."""
  gone = np.arange(facts.frames) / max(facts.frames - 1, 1)
  return LEVELS[facts.start] + FILLS * gone


def lit(facts: Facts) -> np.ndarray:
  """Which of its colours the lamp has in each frame, [T] of 0 and 1."""
  return np.arange(facts.frames) // max(facts.frames // 8, 2) % 2


def render(facts: Facts) -> np.ndarray:
  """The clip, uint8 [T, H, W, 3]."""
  return twins.render(facts, _draw, counterpart, facts.frames // 2)


def _draw(facts):
  where = facts.scene
  video = scene_lib.video(where, facts.size, facts.frames)
  width, height = (n / min(facts.size) for n in facts.size)
  ink, cover = scene_lib.ink(where), facts_lib.DULL[facts.cover]
  rgb = [np.array(facts_lib.COLOURS[c]) for c in facts.colours]
  flip = facts.direction == "left"
  if facts.kind == "ball":
    x, low = roll(facts)
    x, middle = (width - n if flip else n for n in (x, (low + width + 0.2) / 2))
    if not facts.empty:
      at = np.stack([x, np.full_like(x, facts.y)], -1)
      paint.draw(video, [paint.thing("disc", at, BALL, facts.colours[0])], ink)
    wall = ((width + 0.2 - low) / 2, height / 2 + 0.1)
    paint.draw(video, [paint.Part("box", (middle, height / 2), wall, cover)], ink)
    return scene_lib.finish(where, video)
  dim = grounds.dim(where.setting)
  half = BAR if facts.kind == "bar" else (LAMP / 2, LAMP / 2)
  x = scene_lib.across(where.place, width, half[0] + MARGIN)
  if facts.kind == "bar":
    paint.draw(video, [paint.Part("box", (x, facts.y), half, dim)], ink)
    if not facts.empty:
      reach = level(facts) * (half[0] - 0.03)
      left = x + (half[0] - 0.03 - reach) * (1 if flip else -1)
      paint.draw(video, [paint.Part(
          "box", np.stack([left, np.full_like(left, facts.y)], -1),
          np.stack([reach, np.full_like(left, half[1] - 0.03)], -1), rgb[0])], ink)
  else:
    colour = dim if facts.empty else np.stack(rgb)[lit(facts)]
    paint.draw(video, [paint.Part("box", (x, facts.y + 0.17), (0.09, 0.05), dim),
                       paint.Part("disc", (x, facts.y), half, colour)], ink)
  if facts.frames > 1:
    # It comes from above, and hides the socket too.
    tall = half[1] + (0.14 if facts.kind == "lamp" else MARGIN)
    down = np.interp(np.arange(facts.frames), *scene_lib.off_and_back(
        facts.frames, facts.hidden))
    y = facts.y + 0.04 - (1 - down) * (facts.y + tall + 0.2)
    paint.draw(video, [paint.Part(
        "box", np.stack([np.full_like(y, x), y], -1), (half[0] + MARGIN, tall),
        cover)], ink)
  return scene_lib.finish(where, video)


describe = hidden_words.describe
told = hidden_words.told
read = hidden_words.LEXICON.read
parse = hidden_parse.parse


def score(facts: Facts, observed: hidden_parse.Observed) -> dict[str, bool]:
  """Whether each fact was seen.

  Returns:
    empty, setting and cover; with an object also colour, kind, style and place,
    of a bar the level at first; of a video also hidden (for how long),
    direction (of a ball and a bar), progress (what is seen afterwards is as far
    as it must be) and kept (it has the colours of before).
  """
  x, low = roll(facts)
  if facts.direction == "left":
    x = facts.size[0] / min(facts.size) - x
  truth = {"ball": lambda: x, "bar": lambda: level(facts),
           "lamp": lambda: lit(facts)}[facts.kind]()
  return hidden_parse.score(facts, observed, truth)


def counterpart(facts: Facts, law: str) -> Facts:
  """The lawful clip that `twin(facts, law)` ends as, and begins as facts."""
  twins.check(facts, law, LAWS)
  if law == "permanence":
    return dataclasses.replace(facts, empty=not facts.empty)
  if law == "immutability":
    return dataclasses.replace(facts, colours=tuple(
        twins.PARTNERS[c] for c in facts.colours))
  return dataclasses.replace(facts, start=1 - facts.start,
                             colours=facts.colours[::-1])


def empty(facts: Facts) -> Facts:
  """The same clip without what goes on unseen."""
  return dataclasses.replace(facts, empty=True)


def twin(facts: Facts, law: str) -> Facts:
  """The same clip, but what comes out from the cover breaches a law.

    progress       it has gone on too far or too little
    immutability   it is of another colour
    permanence     it is gone, or something is there where nothing was
  """
  return twins.broken(facts, law, LAWS)


def what_if(facts: Facts, key: np.random.Generator) -> Facts:
  """The same clip with another setting, direction, level or colour."""
  others = [c for c in things_lib.COLOURS if c not in facts.colours and
            c not in {twins.PARTNERS[x] for x in facts.colours}]
  changes = [lambda f: dataclasses.replace(
      f, colours=(facts_lib.pick(key, others), *f.colours[1:]))]
  if facts.kind != "lamp":
    changes.append(lambda f: dataclasses.replace(
        f, direction="left" if f.direction == "right" else "right"))
  if facts.kind == "bar":
    changes.append(lambda f: dataclasses.replace(f, start=1 - f.start))
  return scene_lib.what_if(facts, key, changes, is_held_out, told,
                           grounds.covered(facts.cover))


def is_held_out(facts: Facts) -> bool:
  """Whether colour, kind and direction are kept out of training together."""
  return facts.frames > 1 and facts_lib.is_held_out(
      facts.colours[0], facts_lib.SHAPES[KINDS.index(facts.kind)],
      facts.direction)

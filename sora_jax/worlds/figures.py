"""The world of figures: people and animals keep what they wear.

They walk behind posts, or are shown in several shots of other settings, wide and
close. Report: "it can generate multiple shots of the same character in a single
sample, maintaining their appearance throughout the video".
"""

import dataclasses

import numpy as np

from sora_jax.worlds import bodies
from sora_jax.worlds import facts as facts_lib
from sora_jax.worlds import figures_parse
from sora_jax.worlds import figures_words
from sora_jax.worlds import grounds
from sora_jax.worlds import paint
from sora_jax.worlds import rows_permanence
from sora_jax.worlds import scene as scene_lib
from sora_jax.worlds import twins

SHORTEST = 1.0  # seconds
FEWEST = 9  # frames of a video
FILMS = ("walk", "shots")
OPTIONS = scene_lib.OPTIONS | {"film": FILMS}
LAWS = ("permanence", "immutability")
ROWS = rows_permanence.FIGURES
DIRECTIONS = ("right", "left")
EMPTY = 0.08  # the share of clips without anybody
CLOSE = 1.9  # how much larger a figure is in a close shot
COLOURS = tuple(facts_lib.COLOURS)
@dataclasses.dataclass(frozen=True)
class Shot:
  """A shot: its setting and whether it is "wide" or "close"."""

  setting: str
  view: str


@dataclasses.dataclass(frozen=True)
class Facts:
  """What is true of a clip.

  Attributes:
    scene: setting and style; the setting of the first shot.
    figures: one or two; of shots one.
    starts: where they are at first, along their way, in short sides.
    travel: how far they go in the clip; a little in each shot.
    empty: whether the first figure is not there at all.
    direction: where they go.
    posts: (left, right) of each post, in short sides; none in shots.
    post: the colour of posts, in facts.DULL.
    shots: two or three, or none for a walk.
    size, frames, fps: of the clip.
    broken: one of LAWS, "" if none.
  """

  scene: scene_lib.Scene
  figures: tuple[bodies.Figure, ...]
  starts: tuple[float, ...]
  travel: float
  empty: bool
  direction: str
  posts: tuple[tuple[float, float], ...]
  post: str
  shots: tuple[Shot, ...]
  size: tuple[int, int]
  frames: int
  fps: float
  broken: str = ""


def is_held_out(figure: bodies.Figure) -> bool:
  """Whether hat, body and kind are kept out of training together, 1 in 7."""
  return (COLOURS.index(figure.hat) + COLOURS.index(figure.body) +
          3 * bodies.KINDS.index(figure.kind)) % 7 == 0


def sample(key: np.random.Generator, size: tuple[int, int], frames: int,
           fps: float, held_out: bool = False, *, setting: str | None = None,
           style: str | None = None, film: str | None = None) -> Facts:
  """Draws the facts of a clip; arguments and errors as in `lookaway.sample`.

  Held out are hats, bodies and kinds by `is_held_out`, also in images; `film`
  asks for one of FILMS.
  """
  width, _ = scene_lib.check(size, frames, fps, FEWEST)
  drawn = facts_lib.pick(key, FILMS)
  if film not in (None, *FILMS):
    raise ValueError(f"film={film!r}: there are {', '.join(FILMS)}")
  where = scene_lib.draw(key, setting, style)
  figures = [_figure(key, held_out, set())]
  direction = facts_lib.pick(key, DIRECTIONS)
  shots: tuple[Shot, ...] = ()
  posts: list[tuple[float, float]] = []
  reach = [_half(figures[0]) + scene_lib.EDGE]
  if (film or drawn) == "shots":
    shots = _shots(key, where.setting, 3 if frames > 16 and key.random() < 0.4 else 2)
    starts, travel = [width / 2 - 0.04], 0.08
  else:
    second = _figure(key, held_out, set(dataclasses.astuple(figures[0])))
    both = 2 * (reach[0] + _half(second) + scene_lib.EDGE)
    if key.random() < 0.4 and width > 2 * both:
      figures.append(second)
      reach.append(_half(second) + scene_lib.EDGE)
    room = 2 * sum(reach)
    # The first one leads; the last one starts at the edge.
    starts = [room - reach[0], reach[-1]][:len(figures)] if (
        len(figures) > 1) else [reach[0]]
    travel = width - room
    posts = _posts(key, width, room, 2 * max(reach) + 0.04)
  return Facts(where, tuple(figures), tuple(map(float, starts)), float(travel),
               not held_out and key.random() < EMPTY, direction, tuple(posts),
               facts_lib.pick(key, grounds.walls(where.setting)), shots, size,
               frames, fps)


def _figure(rng, held, used):
  """A figure in three colours, on one side of the held-out rule."""
  while True:
    hat, body, legs = rng.choice([c for c in COLOURS if c not in used], 3, False)
    figure = bodies.Figure(facts_lib.pick(rng, bodies.KINDS), str(hat), str(body),
                           str(legs))
    if is_held_out(figure) == held:
      return figure


def _half(figure):
  """Half the width of a figure in a wide view, in short sides."""
  return bodies.REACH[figure.kind][0] * bodies.HEIGHTS[figure.kind]


def _posts(rng, width, room, full):
  """Posts between the first place and the last one of the figures."""
  free = width - 2 * room  # less the figures at first and at last
  wide = min(full, max(free, 0.14))
  if free > 2 * wide + full and rng.random() < 0.5:
    low = [room + free * at - wide / 2 for at in (0.25, 0.75)]
  else:
    low = [(width - wide) / 2]
  return [(float(x), float(x + wide)) for x in low]


def _shots(rng, first, count):
  shots = [Shot(first, facts_lib.pick(rng, ("wide", "close")))]
  while len(shots) < count:
    setting = facts_lib.pick(rng, [
        s for s in scene_lib.SETTINGS if s not in {x.setting for x in shots}])
    other = "close" if shots[-1].view == "wide" else "wide"
    shots.append(Shot(setting, other))
  return tuple(shots)


def cuts(facts: Facts) -> list[int]:
  """The first frame of each shot, and the number of frames; an image is one."""
  count = max(len(facts.shots), 1) if facts.frames > 1 else 1
  return [facts.frames * i // count for i in range(count + 1)]


def turn(facts: Facts) -> int:
  """The frame in which a law is broken: at a cut, or behind the first post."""
  if facts.shots:
    return cuts(facts)[1]
  middle = sum(facts.posts[0]) / 2
  gone = (middle - facts.starts[0]) / max(facts.travel, 1e-6)
  return min(max(round(gone * (facts.frames - 1)), 1), facts.frames - 1)


def render(facts: Facts) -> np.ndarray:
  """The clip, uint8 [T, H, W, 3]."""
  return twins.render(facts, _draw, counterpart, turn(facts))


def _draw(facts):
  where, frames = facts.scene, facts.frames
  width, tall = (n / min(facts.size) for n in facts.size)
  begins = cuts(facts)
  seen = list(zip(facts.figures, facts.starts))[facts.empty:]
  face = 1 if facts.direction == "right" else -1
  gone = facts.travel * np.arange(frames) / max(frames - 1, 1)
  clips = []
  for i, (begin, end) in enumerate(zip(begins, begins[1:])):
    shot = facts.shots[i] if facts.shots else Shot(where.setting, "wide")
    part = slice(begin, end)
    here = dataclasses.replace(where, setting=shot.setting, shift=where.shift + i)
    video = scene_lib.video(here, facts.size, end - begin)
    ink = scene_lib.ink(here)
    for figure, start in seen:
      big = CLOSE if shot.view == "close" else 1.0
      height = bodies.HEIGHTS[figure.kind] * big
      # A figure that is too tall for the frame shows its hat, not its feet.
      foot = max(min(tall - 0.08, tall / 2 + 0.32 * big),
                 0.04 + bodies.REACH[figure.kind][1] * height)
      x = start + gone[part]
      x = x if face > 0 else width - x
      at = np.stack([x, np.full_like(x, foot)], -1)
      # The legs show four frames or more of each cycle.
      cycles = gone[part] / (bodies.STRIDE * height)
      if facts.shots:
        cycles = np.arange(len(x)) / 8
      elif frames > 1:
        cycles *= min(1.0, (frames - 1) / 4 / max(cycles[-1], 1e-6))
      paint.draw(video, bodies.parts(figure, at, height, face, 2 * np.pi * cycles),
                 ink)
    for low, high in facts.posts:
      middle = (low + high) / 2 if face > 0 else width - (low + high) / 2
      paint.draw(video, [paint.Part(
          "box", (middle, tall / 2), ((high - low) / 2, tall),
          facts_lib.DULL[facts.post])], ink)
    clips.append(scene_lib.finish(here, video))
  return np.concatenate(clips) if len(clips) > 1 else clips[0]


describe = figures_words.describe
told = figures_words.told
read = figures_words.LEXICON.read
parse = figures_parse.parse
score = figures_parse.score


def counterpart(facts: Facts, law: str) -> Facts:
  """The lawful clip that `twin(facts, law)` ends as, and begins as facts."""
  twins.check(facts, law, LAWS)
  if law == "permanence":
    return dataclasses.replace(facts, empty=not facts.empty)
  first, *rest = facts.figures
  other = dataclasses.replace(first, hat=first.body, body=first.hat)
  return dataclasses.replace(facts, figures=(other, *rest))


def empty(facts: Facts) -> Facts:
  """The same clip without the first figure."""
  return dataclasses.replace(facts, empty=True)


def twin(facts: Facts, law: str) -> Facts:
  """The same clip, but from the first post or cut on it breaches a law.

    permanence     the first figure is gone, or comes from nowhere
    immutability   its hat and its body have changed their colours
  """
  return twins.broken(facts, law, LAWS)


def what_if(facts: Facts, key: np.random.Generator) -> Facts:
  """The same clip with another setting, direction, or colour of a figure."""
  worn = {c for f in facts.figures for c in (f.hat, f.body, f.legs)}
  part = facts_lib.pick(key, ("hat", "body", "legs"))
  last = dataclasses.replace(facts.figures[-1], **{
      part: facts_lib.pick(key, [c for c in COLOURS if c not in worn])})
  changes = [lambda f: dataclasses.replace(f, figures=(*f.figures[:-1], last))]
  if not facts.shots:
    changes.append(lambda f: dataclasses.replace(
        f, direction="left" if f.direction == "right" else "right"))
  else:
    setting = facts_lib.pick(key, [s for s in scene_lib.SETTINGS if s not in {
        shot.setting for shot in facts.shots}])
    return scene_lib.what_if(facts, key, [
        lambda f: dataclasses.replace(f, shots=(*f.shots[:-1], dataclasses.replace(
            f.shots[-1], setting=setting))), *changes], are_held_out, told, ())
  return scene_lib.what_if(facts, key, changes, are_held_out, told,
                           grounds.covered(facts.post))


def are_held_out(facts: Facts) -> bool:
  """Whether any figure is kept out of training."""
  return any(map(is_held_out, facts.figures))

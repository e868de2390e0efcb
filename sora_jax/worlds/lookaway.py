"""The world of looking away: what leaves the view is there when it comes back.

The camera pans off and comes back, or an object leaves the frame and returns.
Report: "our model can persist people, animals and objects even when they are
occluded or leave the frame."
"""

import dataclasses
import functools
from typing import Any

import numpy as np

from sora_jax.worlds import facts as facts_lib
from sora_jax.worlds import grounds
from sora_jax.worlds import lexicon
from sora_jax.worlds import lookaway_parse
from sora_jax.worlds import paint
from sora_jax.worlds import rows_permanence
from sora_jax.worlds import scene as scene_lib
from sora_jax.worlds import things as things_lib
from sora_jax.worlds import twins

SHORTEST = 1.0  # seconds
FEWEST = 9  # frames of a video
OPTIONS = scene_lib.OPTIONS
LAWS = ("permanence", "immutability", "continuity")
ROWS = rows_permanence.LOOKAWAY
DIRECTIONS = ("right", "left")
BEYOND = 0.25  # how far the view goes on, in short sides
MARGIN = 0.06  # of what is out of sight, for its outline
SLOWEST = 0.1  # short sides a frame
OFF = 0.15  # the least distance of the first object from the middle height
EMPTY = 0.1  # the share of clips in which there is nothing
LEXICON = lexicon.build(scene_lib.WORDS | things_lib.WORDS | {
    "pans": {
        "right": (("the camera pans to the right and comes back",
                   "the camera turns right and then returns"),
                  ("镜头向右移开再回来", "镜头右转后又转回来")),
        "left": (("the camera pans to the left and comes back",
                  "the camera turns left and then returns"),
                 ("镜头向左移开再回来", "镜头左转后又转回来"))},
    "leaves": {
        "right": (("leaves the frame on the right and comes back",
                   "goes out to the right and returns"),
                  ("从右边离开画面再回来", "向右走出画面又回来")),
        "left": (("leaves the frame on the left and comes back",
                  "goes out to the left and returns"),
                 ("从左边离开画面再回来", "向左走出画面又回来"))},
    "event": {"none": (("nothing moves",), ("没有东西移动",))},
})


@dataclasses.dataclass(frozen=True)
class Facts:
  """What is true of a clip.

  Attributes:
    scene: setting, style and composition.
    things: one or two objects; the first is the one that is lost from view.
    empty: whether the first one is not there at all.
    mover: "camera" or "object".
    direction: where it moves off, in DIRECTIONS.
    hidden: the number of frames in which all that is lost is out of sight.
    size, frames, fps: of the clip.
    broken: one of LAWS, "" if none.
  """

  scene: scene_lib.Scene
  things: tuple[things_lib.Thing, ...]
  empty: bool
  mover: str
  direction: str
  hidden: int
  size: tuple[int, int]
  frames: int
  fps: float
  broken: str = ""


def sample(key: np.random.Generator, size: tuple[int, int], frames: int,
           fps: float, held_out: bool = False, *, setting: str | None = None,
           style: str | None = None, hidden: int | None = None) -> Facts:
  """Draws the facts of a clip.

  Args:
    key: the source of what is drawn.
    size: (W, H) in pixels.
    frames: the number of frames; 1 is an image.
    fps: frames per second.
    held_out: only combinations of colour, shape and direction that are kept
      out of training (facts.is_held_out).
    setting: in scene.SETTINGS; drawn by default.
    style: in scene.STYLES; drawn by default.
    hidden: how many frames the object is not seen; drawn by default.

  Raises:
    ValueError: what cannot be drawn.
  """
  width, height = scene_lib.check(size, frames, fps, FEWEST)
  facts_lib.duration(frames, fps, held_out)
  hidden = scene_lib.window(key, frames, hidden)
  mover = facts_lib.pick(key, ("camera", "object"))
  direction = facts_lib.pick(key, DIRECTIONS)
  two = key.random() < 0.35
  empty = key.random() < EMPTY and mover == "camera" and not held_out
  diameter = facts_lib.SIZES[facts_lib.pick(key, facts_lib.SIZES)]
  where = scene_lib.draw(key, setting, style, ("apart",) if two else (
      scene_lib.places(width, diameter / 2)))
  x = scene_lib.across(facts_lib.pick(key, ("left edge", "right edge"))
                       if two else where.place, width, diameter / 2)
  up = key.uniform(diameter / 2 + scene_lib.EDGE, height / 2 - OFF)
  spots = [(x, facts_lib.pick(key, (up, height - up)), diameter)]
  if two:
    other = facts_lib.SIZES[facts_lib.pick(key, facts_lib.SIZES)]
    edge = other / 2 + scene_lib.EDGE
    spots.append((width - edge if x < width / 2 else edge,
                  key.uniform(edge, height - edge), other))
  way = direction if frames > 1 else "none"
  drawn = things_lib.draw(key, spots, way, held_out)
  return Facts(where if not empty or two else dataclasses.replace(
      where, place=""), drawn, empty, mover, direction, hidden, size, frames, fps)


def way(facts: Facts) -> np.ndarray:
  """How far the view, or the object, has moved off in each frame, [T]."""
  if facts.frames == 1:
    return np.zeros(1)
  width = facts.size[0] / min(facts.size)
  camera = facts.mover == "camera"
  leftward = camera == (facts.direction == "right")  # in the picture
  out = max((t.x if leftward else width - t.x) + t.diameter / 2 + MARGIN
            for t in facts.things[:2 if camera else 1])
  ramp = min(scene_lib.RAMP, max(2, int(out / SLOWEST)))
  when, where = scene_lib.off_and_back(facts.frames, facts.hidden, ramp)
  turn = (when[1] + when[2]) / 2
  moved = np.interp(
      np.arange(facts.frames), [*when[:2], turn, *when[2:]],
      np.multiply(out, [*where[:2], 1 + BEYOND, *where[2:]]))
  # Whole pixels, so that ground and objects move as one.
  return np.rint(moved * min(facts.size)) / min(facts.size)


def render(facts: Facts) -> np.ndarray:
  """The clip, uint8 [T, H, W, 3]."""
  return twins.render(facts, _draw, counterpart, facts.frames // 2)


def _draw(facts):
  where, (width, height), short = facts.scene, facts.size, min(facts.size)
  moved = way(facts) * (1 if facts.direction == "right" else -1)
  seen = facts.things[facts.empty:]
  ink = scene_lib.ink(where)
  if facts.mover == "object":
    video = scene_lib.video(where, facts.size, facts.frames)
    for thing in seen:
      goes = thing is facts.things[0]
      paint.draw(video, [thing.part(moved if goes else 0 * moved)], ink)
    return scene_lib.finish(where, video)
  pixels = np.rint(moved * short).astype(int)
  first = int(min(pixels.min(), 0))
  view = grounds.ground(where.setting, width + int(np.ptp([*pixels, 0])), height,
                          short, where.shift + first / short)
  video = np.stack([view[:, p - first:p - first + width] for p in pixels])
  for thing in seen:
    paint.draw(video, [thing.part(-moved)], ink)
  return scene_lib.finish(where, video)


def describe(facts: Facts, key: np.random.Generator,
             language: str = "en") -> tuple[str, str]:
  """The short and the descriptive caption; with "zh" the short is Chinese."""
  lexicon.check(language)
  pick = functools.partial(facts_lib.pick, key)
  say = functools.partial(LEXICON.say, pick=pick)
  zh = functools.partial(LEXICON.say, pick=pick, language="zh")
  seen = facts.things[facts.empty:]
  event = _event(facts)
  texts = []
  for sized in (False, True):
    names = [things_lib.name(t, LEXICON, pick, sized) for t in seen]
    subject = " and ".join(names) or say("object", "none")
    place = " " + say("place", facts.scene.place) if (
        sized and facts.scene.place) else ""
    setting = say("setting", facts.scene.setting)
    if not event:
      text = f"{subject}{place} {setting}"
    elif event[0] == "leaves":
      text = f"{subject}{place} {setting}; the first one {say(*event)}" if (
          len(names) > 1) else f"{subject}{place} {setting} {say(*event)}"
    else:
      text = pick((f"{subject}{place} {setting}; {say(*event)}",
                   f"{setting}, {say(*event)}; there is {subject}{place}"))
    texts.append(f"{text}, {say('style', facts.scene.style)}." if sized else text)
  if language == "zh":
    names = [things_lib.name(t, LEXICON, pick, False, "zh") for t in seen]
    subject = "和".join(names) or zh("object", "none")
    setting = zh("setting", facts.scene.setting)
    if event and event[0] == "leaves":
      texts[0] = f"{setting}，{names[0]}{zh(*event)}" + (
          f"，{names[1]}不动" if len(names) > 1 else "")
    else:
      texts[0] = f"{setting}有{subject}" if names else f"{setting}{subject}"
      texts[0] += f"，{zh(*event)}" if event else ""
  return texts[0], texts[1]


def _event(facts):
  """(name, value) of what happens, None in an image."""
  if facts.frames == 1:
    return None
  if facts.mover == "camera":
    return "pans", facts.direction
  return ("event", "none") if facts.empty else ("leaves", facts.direction)


def told(facts: Facts) -> dict[str, Any]:
  """What captions can tell, by name."""
  event = _event(facts)
  pairs = things_lib.pairs(facts.things[facts.empty:])
  return lexicon.named(pairs + scene_lib.pairs(facts.scene) +
                       ([event] if event else []))


read = LEXICON.read
parse = lookaway_parse.parse
score = lookaway_parse.score


def counterpart(facts: Facts, law: str) -> Facts:
  """The lawful clip that `twin(facts, law)` ends as, and begins as facts."""
  twins.check(facts, law, LAWS)
  if law == "permanence":
    return dataclasses.replace(facts, empty=not facts.empty)
  first = facts.things[0]
  change = {"colour": twins.PARTNERS[first.colour]} if law == "immutability" else {
      "y": facts.size[1] / min(facts.size) - first.y}
  return things_lib.changed(facts, 0, **change)


def empty(facts: Facts) -> Facts:
  """The same clip without the object that is lost from view."""
  return dataclasses.replace(facts, empty=True)


def twin(facts: Facts, law: str) -> Facts:
  """The same clip, but the first object comes back in breach of a law.

    permanence     it is gone, or something is there where nothing was
    immutability   it is of another colour
    continuity     it is elsewhere
  """
  return twins.broken(facts, law, LAWS)


def what_if(facts: Facts, key: np.random.Generator) -> Facts:
  """The same clip with another setting, direction, or colour of an object."""
  return scene_lib.what_if(facts, key, [
      lambda f: things_lib.recoloured(f, key),
      lambda f: dataclasses.replace(
          f, direction="left" if f.direction == "right" else "right")],
      is_held_out, told)


def is_held_out(facts: Facts) -> bool:
  """Whether any object is of a combination kept out of training."""
  return any(facts_lib.is_held_out(t.colour, t.shape, facts.direction)
             for t in facts.things) and facts.frames > 1

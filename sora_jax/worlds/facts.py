"""What is true of a clip of objects: they, the background and the wall.

Units: the short side of the frame is 1, x points right and y points down, and
time is in seconds, so that the same facts hold at every resolution and frame
rate. Object colours are saturated and spread in hue; the colours of backgrounds
and walls are dull, so that saturation alone tells an object from what is
around it.

The held-out rule: a combination (colour, shape, direction) is held out of
training when colour + shape + 3 direction = 0 modulo 7, counting each from 0.
That is one combination in seven, and any two of the three values still occur
together in training.
"""

from collections.abc import Iterable, Sequence
import dataclasses
import math
from typing import Any, TypeVar

import numpy as np

from sora_jax import files

Value = TypeVar("Value")

COLOURS = {
    "red": (225, 25, 60),
    "green": (30, 180, 60),
    "blue": (40, 70, 230),
    "yellow": (235, 235, 30),
    "purple": (160, 40, 210),
    "orange": (250, 130, 20),
    "cyan": (30, 210, 225),
}
DULL = {
    "black": (20, 20, 22),
    "navy": (32, 38, 64),
    "brown": (82, 66, 54),
    "grey": (122, 122, 124),
    "beige": (206, 196, 176),
    "white": (240, 240, 240),
}
TEXTURES = (("black", "navy"), ("black", "brown"), ("navy", "brown"),
            ("brown", "grey"), ("navy", "grey"), ("grey", "beige"),
            ("beige", "white"))
SHAPES = ("disc", "square", "triangle")
SIZES = {"small": 0.24, "large": 0.36}
DIRECTIONS = {"right": (1, 0), "left": (-1, 0), "up": (0, -1), "down": (0, 1)}
MOTIONS = ("still", "straight", "bounce", "fall", "collide", "pass")
# What `sample` of these worlds can be asked for; the simplest value first.
OPTIONS = {"objects": (1, 2, 3), "background": ("plain", "textured")}


@dataclasses.dataclass(frozen=True)
class Object:
  """One object.

  Attributes:
    colour: a name in COLOURS.
    shape: a name in SHAPES.
    size: a name in SIZES: the width and height of the object.
    motion: a name in MOTIONS.
    direction: the direction at time 0, a name in DIRECTIONS; "none" if still.
    start: the centre (x, y) at time 0.
    velocity: the velocity (x, y) at time 0, in short sides per second.
  """

  colour: str
  shape: str
  size: str
  motion: str
  direction: str
  start: tuple[float, float]
  velocity: tuple[float, float]

  @property
  def diameter(self) -> float:
    """The width and height, in short sides."""
    return SIZES[self.size]


@dataclasses.dataclass(frozen=True)
class Background:
  """kind is plain, gradient, stripes or checks; colours are names in DULL.

  axis ("x" or "y") is the direction in which gradients and stripes change and
  cell the width of a stripe or check.
  """

  kind: str
  colours: tuple[str, ...]
  axis: str = "x"
  cell: float = 0.125


@dataclasses.dataclass(frozen=True)
class Wall:
  """A wall from edge to edge that hides coordinates low to high of `axis`."""

  axis: str
  low: float
  high: float
  colour: str


@dataclasses.dataclass(frozen=True)
class Facts:
  """All that is true of a clip.

  Attributes:
    world: the name of the world that drew it.
    background: what is behind the objects.
    objects: one to three objects, no two of one colour.
    seconds: the time that the motion is drawn for; 0 for an image.
    aspect: (width, height) in short sides that it is drawn for.
    wall: the wall in front of the objects, if any.
    size: (W, H) of the frames in pixels.
    frames: the number of frames T; frame i shows time i / fps.
    fps: frames per second.
    broken: the law that the first object breaks (laws.py), "" if none.
  """

  world: str
  background: Background
  objects: tuple[Object, ...]
  seconds: float
  aspect: tuple[float, float]
  wall: Wall | None
  size: tuple[int, int]
  frames: int
  fps: float
  broken: str = ""


def from_json(text: str, size: tuple[int, int], frames: int,
              fps: float) -> Facts:
  """Facts from the JSON of a record and what else the record says."""
  d = files.parse_json(text)

  def pairs(fields: dict) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v
            for k, v in fields.items()}

  return Facts(
      world=d["world"], background=Background(**pairs(d["background"])),
      objects=tuple(Object(**pairs(o)) for o in d["objects"]),
      seconds=d["seconds"], aspect=tuple(d["aspect"]),
      wall=Wall(**d["wall"]) if d["wall"] else None, size=size, frames=frames,
      fps=fps, broken=d.get("broken", ""))


def is_held_out(colour: str, shape: str, direction: str) -> bool:
  """Whether a combination is kept out of training, by the rule above."""
  if direction not in DIRECTIONS:
    return False
  return (list(COLOURS).index(colour) + SHAPES.index(shape) +
          3 * list(DIRECTIONS).index(direction)) % 7 == 0


def held_out(facts: Facts) -> bool:
  """Whether any object of the clip is of a held-out combination."""
  return any(is_held_out(o.colour, o.shape, o.direction)
             for o in facts.objects)


def pick(rng: np.random.Generator, values: Iterable[Value]) -> Value:
  """One of some values, each as likely."""
  values = tuple(values)
  return values[rng.integers(len(values))]


def frame_aspect(size: tuple[int, int]) -> tuple[float, float]:
  """(width, height) of a frame of (W, H) pixels, in short sides."""
  width, height = size
  short = min(width, height)
  if short < 16:
    raise ValueError(f"size {width}x{height}: worlds need a short side of 16 "
                     "pixels or more")
  return width / short, height / short


def duration(frames: int, fps: float, held_out: bool) -> float:
  """The time of the last frame in seconds, 0 for an image.

  Raises:
    ValueError: no frames, a rate that is no finite number above 0, or an image
      that is to be held out.
  """
  if frames < 1 or not 0 < fps < math.inf:
    raise ValueError(f"{frames} frames at {fps} a second: both must be above 0 "
                     "and finite")
  if held_out and frames == 1:
    raise ValueError("frames=1: an image shows no direction, so no image is "
                     "held out; ask for held_out=False or for more frames")
  return (frames - 1) / fps


def draw_count(rng: np.random.Generator, objects: int | None,
               shares: Sequence[float] = (0.6, 0.25, 0.15)) -> int:
  """`objects` if given, else one, two or three by `shares`."""
  drawn = 1 + int((rng.random() > np.cumsum(shares)[:2]).sum())
  if objects is None:
    return drawn
  if objects not in OPTIONS["objects"]:
    raise ValueError(f"objects={objects}: a clip has 1, 2 or 3 objects")
  return objects


def draw_background(rng: np.random.Generator,
                    asked: str | None) -> Background:
  """A plain (60 %) or textured background; `asked` fixes which."""
  drawn = rng.random() < 0.6
  if asked not in (None, *OPTIONS["background"]):
    raise ValueError(f"background={asked!r}: there are plain and textured")
  if drawn if asked is None else asked == "plain":
    return Background("plain", (pick(rng, DULL),))
  pair = pick(rng, TEXTURES)
  return Background(
      kind=pick(rng, ("gradient", "stripes", "checks")),
      colours=tuple(pair[i] for i in rng.permutation(2)),
      axis=pick(rng, "xy"), cell=pick(rng, (0.125, 0.1875)))


def draw_colour(rng: np.random.Generator, shape: str, direction: str,
                used: set[str], held: bool) -> str | None:
  """An unused colour on the asked side of the held-out rule; None if none."""
  left = [c for c in COLOURS if c not in used
          and is_held_out(c, shape, direction) == held]
  return pick(rng, left) if left else None

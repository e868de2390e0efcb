"""Draws facts: antialiased shapes on a plain or textured background.

A pixel is the background blended with each object by the share of the pixel
that the object covers (exact for squares and walls, the clipped distance to the
outline for discs and triangles), and then with the wall.
"""

import numpy as np

from sora_jax.worlds import facts as facts_lib
from sora_jax.worlds import laws
from sora_jax.worlds import motion

MIN_CELL = 4  # pixels of a stripe or check


def render(facts: facts_lib.Facts) -> np.ndarray:
  """The clip, uint8 [T, H, W, 3].

  Raises:
    ValueError: a size of another aspect than the facts were drawn for.
  """
  width, height = facts.size
  aspect = facts_lib.frame_aspect(facts.size)
  if max(abs(a - b) for a, b in zip(aspect, facts.aspect)) > 0.1:
    raise ValueError(
        f"size {width}x{height} is not of the aspect {facts.aspect[0]:.2f}:"
        f"{facts.aspect[1]:.2f} of these facts: sample them for this size")
  scale = width / facts.aspect[0], height / facts.aspect[1]
  centres = motion.positions(facts, motion.frame_times(facts)) * scale
  ground = background(facts.background, facts.size)
  video = np.repeat(ground[None], facts.frames, 0)
  for when, thing, path in laws.seen(facts, centres):
    draw(video[when], thing.shape, thing.colour, path,
         thing.diameter * min(scale))
  if facts.wall:
    _draw_wall(video, facts.wall, scale)
  return video


def background(what: facts_lib.Background, size: tuple[int, int]) -> np.ndarray:
  """The background alone: uint8 [H, W, 3]."""
  width, height = size
  colours = [np.array(facts_lib.DULL[c], np.float32) for c in what.colours]
  x, y = np.arange(width) + 0.5, np.arange(height)[:, None] + 0.5
  if what.kind == "plain":
    second = np.zeros((height, width))
  elif what.kind == "gradient":
    second = x / width if what.axis == "x" else y / height
  else:
    cell = max(what.cell * min(size), MIN_CELL)
    i, j = (x // cell).astype(int), (y // cell).astype(int)
    second = i + j if what.kind == "checks" else i if what.axis == "x" else j
    second = second % 2
  second = np.broadcast_to(second, (height, width))[..., None]
  mixed = colours[0] + second * (colours[-1] - colours[0])
  return np.rint(mixed).astype(np.uint8)


def coverage(shape: str, x: np.ndarray, y: np.ndarray,
             diameter: float) -> np.ndarray:
  """The share of pixels that a shape covers.

  Args:
    shape: a name in facts.SHAPES.
    x: pixel centres relative to the shape's centre, along the last axis.
    y: the same along the axis before it; x and y broadcast.
    diameter: width and height of the shape in pixels.

  Returns:
    float in [0, 1], of the shape that x and y broadcast to.
  """
  r = diameter / 2
  if shape == "disc":
    return np.clip(r + 0.5 - np.sqrt(x * x + y * y), 0, 1)
  if shape == "square":
    return (np.clip(r + 0.5 - np.abs(x), 0, 1) *
            np.clip(r + 0.5 - np.abs(y), 0, 1))
  # The sides of the triangle run from the apex (0, -r) to (+-r, r).
  side = (y + r - 2 * np.abs(x)) / np.sqrt(5.0)
  return np.clip(np.minimum(side, r - y) + 0.5, 0, 1)


def draw(video: np.ndarray, shape: str, colour: str, centres: np.ndarray,
         diameter: float) -> None:
  """Blends an object into `video` in place, one window per frame.

  Args:
    video: uint8 [T, H, W, 3].
    shape: a name in facts.SHAPES.
    colour: a name in facts.COLOURS.
    centres: [T, 2] in pixels.
    diameter: in pixels.
  """
  frames, height, width, _ = video.shape
  rgb = np.array(facts_lib.COLOURS[colour], np.float32)
  side = int(np.ceil(diameter)) + 2
  w, h = min(side, width), min(side, height)
  left = np.clip(np.floor(centres[:, 0] - w / 2), 0, width - w).astype(int)
  top = np.clip(np.floor(centres[:, 1] - h / 2), 0, height - h).astype(int)
  x = left[:, None] + np.arange(w) + 0.5 - centres[:, :1]
  y = top[:, None] + np.arange(h) + 0.5 - centres[:, 1:]
  share = coverage(shape, x[:, None].astype(np.float32),
                   y[:, :, None].astype(np.float32), diameter)[..., None]
  for t in range(frames):
    window = video[t, top[t]:top[t] + h, left[t]:left[t] + w]
    # + 0.5 and the cast round to nearest.
    window[...] = window + share[t] * (rgb - window) + np.float32(0.5)


def _draw_wall(video, wall, scale):
  """Blends the wall over `video` in place."""
  axis = "xy".index(wall.axis)
  low, high = wall.low * scale[axis], wall.high * scale[axis]
  strip = slice(int(np.floor(low)), int(np.ceil(high)))
  edge = np.arange(strip.start, strip.stop)
  share = np.minimum(edge + 1, high) - np.maximum(edge, low)
  share = share.astype(np.float32)[:, None]
  colour = np.array(facts_lib.DULL[wall.colour], np.float32)
  view = video if axis == 0 else video.transpose(0, 2, 1, 3)
  part = view[:, :, strip]
  part[...] = part + share * (colour - part) + np.float32(0.5)

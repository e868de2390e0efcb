"""Balls, cones and cylinders that stand on the ground, as a camera sees them.

Each is lit from one side; a lighter and a darker part of one colour have one
hue, so that the hue alone tells which solid a pixel shows.
"""

from collections.abc import Sequence
import dataclasses

import numpy as np

from sora_jax.worlds import camera
from sora_jax.worlds import facts as facts_lib
from sora_jax.worlds import polygons

SHAPES = ("ball", "cone", "cylinder")
SIZES = {"small": 0.22, "large": 0.32}  # radius
HEIGHT = {"ball": 2.0, "cone": 2.6, "cylinder": 2.0}  # in radii
LIGHT = np.array([0.55, 0.35, 0.76])  # where it comes from
DARKEST = 0.62  # the brightness of what the light does not reach
CORNERS = 20  # of what stands for a circle


@dataclasses.dataclass(frozen=True)
class Solid:
  """One solid.

  Attributes:
    colour: a name in facts.COLOURS.
    shape: a name in SHAPES.
    size: a name in SIZES.
    place: (x, y) of its axis on the ground.
  """

  colour: str
  shape: str
  size: str
  place: tuple[float, float]

  @property
  def radius(self) -> float:
    """Of its base."""
    return SIZES[self.size]

  @property
  def height(self) -> float:
    """From the ground to its top."""
    return HEIGHT[self.shape] * self.radius


def outline(solid: Solid) -> np.ndarray:
  """Points [N, 3] whose hull holds the solid: rings at its foot and its top."""
  angle = np.arange(CORNERS) * 2 * np.pi / CORNERS
  ring = np.stack([np.cos(angle), np.sin(angle)], -1) * solid.radius
  ring = ring + np.array(solid.place)
  low = np.concatenate([ring, np.zeros((CORNERS, 1))], -1)
  if solid.shape == "cone":
    return np.concatenate([low, [[*solid.place, solid.height]]])
  return np.concatenate([low, low + [0, 0, solid.height]])


def draw(video: np.ndarray, view: camera.Poses, solids: Sequence[Solid],
         shift: np.ndarray | None = None) -> None:
  """Draws solids into `video` [T, H, W, 3] in place, the farthest first.

  Args:
    video: the ground.
    view: of the T frames.
    solids: in any order.
    shift: [T, solids, 2] pixels by which each is moved in the image; None if
      it is seen where it stands.
  """
  size = video.shape[2], video.shape[1]
  feet = np.array([[*s.place, 0] for s in solids]).reshape(-1, 3)
  _, depth = camera.project(view, feet, size)
  made = [_look(s, view, size, None if shift is None else shift[:, i])
          for i, s in enumerate(solids)]
  for t in range(len(video)):
    for i in np.argsort(-depth[t], kind="stable"):
      at, share, colour = made[i]
      polygons.blend(video, at, share, colour, (t,))


def _look(solid, view, size, shift):
  """(window, share, colour) of a solid in every frame."""
  points, _ = camera.project(view, outline(solid), size)
  if shift is not None:
    points = points + shift[:, None]
  at = polygons.window(points, size)
  share, light = _LOOKS[solid.shape](solid, view, size, points, at)
  colour = np.array(facts_lib.COLOURS[solid.colour], np.float32)
  bright = DARKEST + (1 - DARKEST) * np.clip(light, 0, 1)
  return at, share, bright[..., None] * colour


def _ball(solid, view, size, points, at):
  """The exact outline of a ball, and its light."""
  centre = np.array([[*solid.place, solid.radius]])
  middle, _ = camera.project(view, centre, size)
  foot, _ = camera.project(view, outline(solid)[:1], size)
  move = (points[:, :1] - foot)[:, 0, :, None, None]  # [T, 2, 1, 1]
  f = camera.focal(size)
  u = (at.x - move[:, 0] - size[0] / 2) / f
  v = (at.y - move[:, 1] - size[1] / 2) / f
  offset = centre - view.place  # [T, 3]
  along = [np.einsum("tk,tk->t", offset, axis)[:, None, None].astype(np.float32)
           for axis in (view.right, view.down, view.forward)]
  towards = along[0] * u + along[1] * v + along[2]
  square = 1 + u * u + v * v
  far = sum(a * a for a in along) - towards * towards / square
  miss = np.sqrt(np.maximum(far, 0))
  share = np.clip((solid.radius - miss) * f / along[2] + 0.5, 0, 1)
  # The normal of a disc of the same size, towards the light.
  scale = along[2] / (f * solid.radius)
  nx = (at.x - move[:, 0] - middle[:, 0, 0][:, None, None]) * scale
  ny = (at.y - move[:, 1] - middle[:, 0, 1][:, None, None]) * scale
  nz = np.sqrt(np.maximum(1 - nx * nx - ny * ny, 0))
  lit = [(axis @ LIGHT)[:, None, None] for axis in (
      view.right, view.down, view.forward)]
  return share.astype(np.float32), nx * lit[0] + ny * lit[1] - nz * lit[2]


def _side(view, points, at):
  """The light on an upright surface of revolution, from left to right."""
  left, right = points[..., 0].min(1), points[..., 0].max(1)
  middle, half = (left + right) / 2, np.maximum((right - left) / 2, 0.5)
  nx = np.clip((at.x - middle[:, None, None]) / half[:, None, None], -1, 1)
  nz = np.sqrt(1 - nx * nx)
  lit = [(axis[:, :2] @ LIGHT[:2])[:, None, None]
         for axis in (view.right, view.forward)]
  return 1.3 * (nx * lit[0] - nz * lit[1])


def _cone(solid, view, size, points, at):
  del solid, size
  base, apex = points[:, :CORNERS], points[:, CORNERS:]
  # The sides touch the base where it is widest, as seen from the apex.
  way = base - apex
  angle = np.arctan2(way[..., 0], way[..., 1])
  rows = np.arange(len(base))
  sides = np.stack([apex[:, 0], base[rows, angle.argmin(1)],
                    base[rows, angle.argmax(1)]], 1)
  share = np.maximum(polygons.coverage(base, at.x, at.y),
                     polygons.coverage(sides, at.x, at.y))
  return share, np.broadcast_to(_side(view, base, at), share.shape)


def _cylinder(solid, view, size, points, at):
  del solid, size
  low, top = points[:, :CORNERS], points[:, CORNERS:]
  rows = np.arange(len(low))
  left, right = low[..., 0].argmin(1), low[..., 0].argmax(1)
  wall = np.stack([low[rows, left], low[rows, right], top[rows, right],
                   top[rows, left]], 1)
  lid = polygons.coverage(top, at.x, at.y)
  share = np.maximum(lid, np.maximum(
      polygons.coverage(low, at.x, at.y), polygons.coverage(wall, at.x, at.y)))
  side = _side(view, low, at)
  return share, side + lid * (1 - side)


_LOOKS = {"ball": _ball, "cone": _cone, "cylinder": _cylinder}

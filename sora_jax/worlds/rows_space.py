"""3D consistency: one rigid scene explains what a moving camera shows.

Report: "as the camera shifts and rotates, people and scene elements move
consistently through three-dimensional space."
"""

from typing import Any

import numpy as np

from sora_jax.worlds import camera
from sora_jax.worlds import orbit_fit
from sora_jax.worlds import orbit_parse
from sora_jax.worlds import rows

ABILITY = "3D consistency"
NEAR = 0.8  # of two radii in the image: nearer solids cover each other


def residual(facts: Any, observed: Any, score: rows.Score) -> float | None:
  """The median error of the rigid scene in pixels, where there is parallax."""
  del score
  due = orbit_parse.PARALLAX * orbit_fit.parallax(orbit_parse.truth(facts))
  fit = observed.fit
  if not fit or fit.parallax < due:
    return None
  return fit.error * min(facts.size)


def depth_order(facts: Any, observed: Any, score: rows.Score) -> float | None:
  """Of solids that overlap, the share in which the nearer one covers.

  In the fitted scene; None without parallax, or where nothing overlaps.
  """
  del score
  fit = observed.fit
  if not fit or len(observed.solids) < 2 or fit.path.move == "stands":
    return None
  places = np.stack([s.places for s in observed.solids], 1)  # [T, n, 3]
  view = camera.poses(fit.path, np.linspace(0, 1, len(places)))
  rise = [orbit_fit.CENTROID[s.shape] * r for s, r in zip(
      observed.solids, fit.radii)]
  at, depth = camera.project(view, np.concatenate(
      [fit.places, np.array(rise)[:, None]], 1), facts.size)
  at, radius = at / min(facts.size), camera.FOCAL * fit.radii / depth
  covered = np.isnan(places[..., 0])
  answers = []
  for i in range(len(observed.solids)):
    for j in range(len(observed.solids)):
      overlap = np.hypot(*np.moveaxis(at[:, i] - at[:, j], -1, 0)) < NEAR * (
          radius[:, i] + radius[:, j])
      # One of the two is covered, and no doubt which.
      clear = overlap & covered[:, i] & ~covered[:, j]
      answers += list((depth[:, i] > depth[:, j])[clear])
  return float(np.mean(answers)) if answers else None


ORBIT = (
    rows.Row(ABILITY, "one rigid scene", rows.right("rigid"),
             ("rigidity", "still")),
    rows.Row(ABILITY, "the camera moves as told", rows.right("move", "direction"),
             ("still",), told=True),
    rows.Row(ABILITY, "the nearer covers the farther", depth_order),
    rows.Row(ABILITY, "residual of the rigid scene", residual, unit="px"),
)

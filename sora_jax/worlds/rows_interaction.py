"""Interaction: what is done to the world leaves its mark, and the mark stays.

Report: "a painter can leave new strokes along a canvas that persist over time,
or a man can eat a burger and leave bite marks".
"""

from typing import Any

import numpy as np

from sora_jax.worlds import bite_parse
from sora_jax.worlds import rows

ABILITY = "interaction"
# Half of the food, in bites; the world takes three.
MOST = 0.5 * np.pi / 4 * bite_parse.FOOD**2 / bite_parse.BITE
Row, right = rows.Row, rows.right


def reverted(facts: Any, observed: Any, score: rows.Score) -> float:
  """Of painted pixels, the percentage that lose their colour."""
  del facts, score
  return 100 * observed.reverted


def stray(facts: Any, observed: Any, score: rows.Score) -> float:
  """Of new paint, the percentage that is not at the brush."""
  del facts, score
  return 100 * observed.stray


def painted(facts: Any, observed: Any, score: rows.Score) -> bool:
  """Whether something was painted, by the brush alone, and all of it stays."""
  del facts
  return bool(observed.strokes) and bool(score["stays"] and score["brushed"])


PAINTER = (
    Row(ABILITY, "paint comes by the brush and stays", painted,
        ("unpainting", "undone", "still")),
    Row(ABILITY, "paints as told", right("colour", "form", "direction", "order"),
        ("still",), told=True),
    Row(ABILITY, "paint that reverts", reverted, unit="%"),
    Row(ABILITY, "paint away from the brush", stray, unit="%"),
)


def bitten(facts: Any, observed: Any, score: rows.Score) -> bool:
  """Whether something was bitten off, most is left, and nothing grows back.

  Food that vanishes is not bitten.
  """
  del facts
  return 0 < sum(observed.sizes) < MOST and bool(score["stays"])


def grown(facts: Any, observed: Any, score: rows.Score) -> float:
  """How much of the food grows back, in bites."""
  del facts, score
  return observed.grown


BITE = (
    Row(ABILITY, "bites are taken and stay", bitten, ("undone", "still")),
    Row(ABILITY, "as many bites as told, of their size",
        right("bites", "sizes", "stays"), ("unbiting", "undone", "still"),
        told=True),
    Row(ABILITY, "food that grows back", grown, unit="bites"),
)

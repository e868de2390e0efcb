"""People and animals as articulated figures of a few parts.

A figure faces right, stands on y = 0 and is about 1 high; y points up here. Its
hat, body and legs each have a colour; the legs swing as it walks.
"""

import dataclasses

import numpy as np

from sora_jax.worlds import facts as facts_lib
from sora_jax.worlds import paint

SKIN = (206, 178, 150)  # dull, as all that is not hat, body or legs
DARK = (24, 24, 26)
KINDS = ("person", "dog", "giraffe")
# Half the width and the height of a figure, with its swing.
REACH = {"person": (0.22, 1.06), "dog": (0.46, 0.74), "giraffe": (0.42, 1.2)}
HEIGHTS = {"person": 0.5, "dog": 0.46, "giraffe": 0.5}  # of 1, in short sides
STRIDE = 0.7  # the way of one cycle of the legs
SWING = 0.13  # of a foot to each side


@dataclasses.dataclass(frozen=True)
class Figure:
  """A person or animal.

  Attributes:
    kind: one of KINDS.
    hat, body, legs: names in facts.COLOURS.
  """

  kind: str
  hat: str
  body: str
  legs: str


def parts(figure: Figure, at: np.ndarray, height: float, facing: int,
          phase: np.ndarray) -> list[paint.Part]:
  """What a figure is drawn of, the farthest part first.

  Args:
    figure: what it is.
    at: [T, 2] where it stands, in short sides.
    height: what 1 is in short sides.
    facing: 1 to the right, -1 to the left.
    phase: [T] the angle of the cycle of the legs.
  """
  hat, body, legs = (facts_lib.COLOURS[c] for c in (
      figure.hat, figure.body, figure.legs))
  swing = SWING * np.sin(phase)
  found: list[paint.Part] = []

  def point(x, y):
    placed = at.copy()
    placed[:, 0] += facing * height * x
    placed[:, 1] -= height * y
    return placed

  def limb(colour, a, b, radius):
    begin = point(*a)
    found.append(paint.Part("capsule", begin, point(*b) - begin, colour,
                            radius * height))

  def block(shape, colour, centre, reach):
    half = (reach[0] * height, reach[1] * height)
    found.append(paint.Part(shape, point(*centre), half, colour))

  if figure.kind == "person":
    limb(legs, (0, 0.46), (-swing, 0.05), 0.055)
    limb(legs, (0, 0.46), (swing, 0.05), 0.055)
    limb(body, (0, 0.5), (0, 0.68), 0.1)
    limb(body, (0, 0.7), (-1.3 * swing, 0.46), 0.04)
    block("disc", SKIN, (0.01, 0.85), (0.095, 0.095))
    block("disc", DARK, (0.06, 0.86), (0.022, 0.022))
    top = (0.0, 0.94)
  elif figure.kind == "dog":
    for x, sign in ((-0.22, 1), (0.16, -1), (-0.16, -1), (0.22, 1)):
      limb(legs, (x, 0.24), (x + 0.7 * sign * swing, 0.045), 0.05)
    limb(body, (-0.28, 0.36), (-0.38, 0.52), 0.035)
    limb(body, (-0.2, 0.32), (0.18, 0.34), 0.115)
    limb(body, (0.2, 0.4), (0.28, 0.52), 0.07)
    limb(body, (0.28, 0.52), (0.36, 0.49), 0.075)
    block("disc", DARK, (0.32, 0.55), (0.024, 0.024))
    top = (0.27, 0.61)
  else:
    for x, sign in ((-0.18, 1), (0.1, -1), (-0.12, -1), (0.16, 1)):
      limb(legs, (x, 0.44), (x + 0.7 * sign * swing, 0.045), 0.042)
    limb(body, (-0.22, 0.54), (-0.3, 0.4), 0.025)
    limb(body, (-0.14, 0.52), (0.1, 0.54), 0.11)
    limb(body, (0.12, 0.56), (0.25, 0.98), 0.055)
    limb(body, (0.24, 1.0), (0.34, 0.97), 0.06)
    block("disc", DARK, (0.28, 1.01), (0.022, 0.022))
    top = (0.23, 1.07)
  block("box", hat, top, (0.135, 0.028))
  block("box", hat, (top[0], top[1] + 0.065), (0.085, 0.06))
  return found

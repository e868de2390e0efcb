"""Facts of one's own making, and what they mean, for tests of the worlds."""

import numpy as np

from sora_jax.worlds import facts as facts_lib
from sora_jax.worlds import motion


def of(*things, aspect=(1.0, 1.0)):
  return facts_lib.Facts(
      "balls", facts_lib.Background("plain", ("grey",)), things, 2.0, aspect)


def thing(kind, start, velocity, size="small"):
  return facts_lib.Object("red", "disc", size, kind, "right", start, velocity)


def hidden(facts, frames=17, fps=8):
  """Whether the one object is wholly behind the wall, for each frame."""
  x = motion.positions(facts, np.arange(frames) / fps)[
      :, 0, "xy".index(facts.wall.axis)]
  r = facts.objects[0].diameter / 2
  return (x - r >= facts.wall.low) & (x + r <= facts.wall.high)

"""Captioned simulated worlds whose truth is known.

A world is a module with three functions:

  sample(seed, size, seconds, *, objects, plain, held_out) -> Facts
  render(facts, size, frames, fps) -> video uint8 [T, H, W, 3]
  describe(facts, seed) -> (short caption, descriptive caption)

and `parse` reads the facts back out of pixels. `seconds` is the time of the
last frame, (frames - 1) / fps, so that 0 is an image.
"""

from sora_jax.worlds import balls
from sora_jax.worlds import occluder

WORLDS = {"balls": balls, "occluder": occluder}

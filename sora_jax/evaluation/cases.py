"""Held-out cases of the worlds: facts, the prompt that tells them, the truth.

The attribute combinations of these facts are held out of every training split
by rule (worlds), so no clip that tells them was ever trained on, whatever its
seed.
"""

from collections.abc import Sequence
import dataclasses
import itertools

import numpy as np

from sora_jax import worlds
from sora_jax.worlds import facts as facts_lib

OBJECTS = (1, 2, 3)
BACKGROUNDS = ("plain", "textured")


@dataclasses.dataclass(frozen=True, order=True)
class Cell:
  """A kind of case: scores are also shown for each cell alone."""

  world: str
  objects: int
  background: str
  size: tuple[int, int]  # (W, H)

  def __str__(self):
    return (f"{self.world} {self.objects} {self.background} "
            f"{self.size[0]}x{self.size[1]}")


@dataclasses.dataclass(frozen=True)
class Case:
  """One prompt with its truth."""

  cell: Cell
  facts: facts_lib.Facts
  prompt: str
  frames: int
  fps: float
  seed: int

  def render(self) -> np.ndarray:
    """The truth, uint8 [T, H, W, 3]."""
    return worlds.WORLDS[self.cell.world].render(
        self.facts, self.cell.size, self.frames, self.fps)


def draw(count: int, seed: int, sizes: Sequence[tuple[int, int]],
         frames: int = 17, fps: float = 8.0,
         names: Sequence[str] = tuple(worlds.WORLDS),
         objects: Sequence[int] = OBJECTS,
         backgrounds: Sequence[str] = BACKGROUNDS) -> list[Case]:
  """Held-out cases, evenly over the cells world x objects x background x size.

  The first `n` of `count` cases are the cases of `count = n`.

  Args:
    count: how many.
    seed: of everything that is drawn.
    sizes: (W, H) of the videos.
    frames: of every video.
    fps: frames per second that the motion is made for.
    names: which worlds.
    objects: which numbers of objects.
    backgrounds: "plain", "textured" or both.

  Raises:
    ValueError: a size or duration that a world cannot draw.
  """
  grid = [Cell(*c) for c in itertools.product(
      names, objects, backgrounds, sizes)]
  made = []
  for i in range(count):
    turn, place = divmod(i, len(grid))
    order = np.random.default_rng((seed, turn)).permutation(len(grid))
    cell = grid[order[place]]
    one = int(np.random.default_rng((seed, turn, place + 1)).integers(2 ** 31))
    world = worlds.WORLDS[cell.world]
    facts = world.sample(
        one, cell.size, (frames - 1) / fps, objects=cell.objects,
        plain=cell.background == "plain", held_out=True)
    # Short and descriptive captions in turn.
    prompt = world.describe(facts, one)[i % 2]
    made.append(Case(cell, facts, prompt, frames, fps, one))
  return made

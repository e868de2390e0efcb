"""Held-out cases of the worlds: facts, the prompt that tells them, the truth.

A world keeps what `held_out` draws out of every training split by a rule of
its own, so no clip that tells these facts was ever trained on, whatever its
seed.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import itertools
import pathlib
from typing import Any

import numpy as np

from sora_jax import contracts
from sora_jax import worlds


@dataclasses.dataclass(frozen=True, order=True)
class Cell:
  """A kind of case: scores are also shown for each cell alone.

  Attributes:
    world: its name.
    options: (name, value) of each of the world's OPTIONS.
    size: (W, H) in pixels.
  """

  world: str
  options: tuple[tuple[str, Any], ...]
  size: tuple[int, int]

  def __str__(self) -> str:
    return " ".join([self.world, *(str(value) for _, value in self.options),
                     f"{self.size[0]}x{self.size[1]}"])

  @property
  def is_simplest(self) -> bool:
    """Whether every option has its simplest value, which is its first."""
    options = worlds.WORLDS[self.world].OPTIONS
    return all(value == options[name][0] for name, value in self.options)


@dataclasses.dataclass(frozen=True)
class Case:
  """One prompt with its truth."""

  cell: Cell
  facts: Any  # contracts.Facts of the world
  prompt: str
  seed: int

  @property
  def world(self) -> contracts.World:
    """The world of the facts."""
    return worlds.WORLDS[self.cell.world]

  def render(self) -> np.ndarray:
    """The truth, uint8 [T, H, W, 3]."""
    return self.world.render(self.facts)

  def parse(self, video: np.ndarray) -> Any:
    """What is seen in a video uint8 [T, H, W, 3]."""
    return self.world.parse(video, self.facts.fps)

  def score(self, observed: Any) -> Mapping[str, bool | float]:
    """Whether what was seen is what the facts say."""
    return self.world.score(self.facts, observed)


@dataclasses.dataclass(frozen=True)
class Request:
  """What a suite is asked for.

  Attributes:
    cases: from `draw`.
    out: the folder for the results.
    seed: of the cases.
    batch: videos drawn at a time.
    how: steps, guidance and method of the sampler; None is the model's default.
    modes: the ways of prompting, for the suite of prompting.
    real: a folder of real clips or a data set, for the suite of the VAE.
    worlds: the names that were asked for; a suite may leave some out.
    split: of that data set; those that are held out by default.
    count: of the real clips, at most; 0 is all.
  """

  cases: Sequence[Case]
  out: pathlib.Path
  seed: int = 0
  batch: int = 8
  how: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  modes: Sequence[str] = ()
  real: str | None = None
  worlds: Sequence[str] = ()
  split: str = ""
  count: int = 0


def draw(count: int, seed: int, sizes: Sequence[tuple[int, int]],
         frames: int = 17, fps: float = 8.0,
         names: Sequence[str] = worlds.DEFAULT,
         only: Mapping[str, Sequence[Any]] | None = None) -> list[Case]:
  """Held-out cases, evenly over the cells world x options x size.

  The first `n` of `count` cases are the cases of `count = n`.

  Args:
    count: how many.
    seed: of everything that is drawn.
    sizes: (W, H) of the videos; a world of one size has its own.
    frames: of every video.
    fps: frames per second that the motion is made for.
    names: which worlds.
    only: the values of options, where not all are asked for.

  Raises:
    ValueError: a size or duration that a world cannot draw, or options that
      none of the worlds has.
  """
  grid = [Cell(name, options, size) for name in names
          for options in _options(worlds.WORLDS[name].OPTIONS, only or {})
          for size in _sizes(worlds.WORLDS[name], sizes)]
  if not grid:
    raise ValueError(f"no case of the worlds {', '.join(names)} has {only}")
  made = []
  for i in range(count):
    turn, place = divmod(i, len(grid))
    order = np.random.default_rng((seed, turn)).permutation(len(grid))
    cell = grid[order[place]]
    one = int(np.random.default_rng((seed, turn, place + 1)).integers(2 ** 31))
    world = worlds.WORLDS[cell.world]
    try:
      facts = world.sample(worlds.key(one, cell.world), cell.size, frames, fps,
                           held_out=True, **dict(cell.options))
    except ValueError as e:
      raise ValueError(f"world {cell.world}: {e} (--frames, --fps, --sizes, or "
                       "--worlds without it)") from e
    # Short and descriptive captions in turn.
    prompt = world.describe(
        facts, worlds.key(one, cell.world, "caption"))[i % 2]
    made.append(Case(cell, facts, prompt, one))
  return made


def _sizes(world, asked):
  """The sizes of a world's cases."""
  return [world.SIZE] if hasattr(world, "SIZE") else asked


def _options(known, only):
  """Every combination of the values of options, as ((name, value), ..)."""
  return itertools.product(*(
      [(name, value) for value in only.get(name, values) if value in values]
      for name, values in known.items()))

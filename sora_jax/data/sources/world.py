"""world:NAME,..: clips of simulated worlds, rendered as they are asked for."""

from collections.abc import Sequence
import dataclasses
from typing import Any, ClassVar

import numpy as np

from sora_jax import contracts
from sora_jax import stations
from sora_jax import worlds
from sora_jax.media import video_io


@dataclasses.dataclass(frozen=True)
class WorldOptions:
  """What world clips are drawn from; a weight stands beside each value.

  Sources of files have one option, follow_links.

  Attributes:
    count: clips.
    seed: of everything that is drawn.
    sizes: ((width, height), weight) ..; a world of one size has its own
    frames: (frames, weight) ..; 1 is an image.
    fps: (frames per second, weight) ..
    objects: (number of objects, weight) ..
    plain: the share of plain backgrounds; the others are textured.
    follow_links: whether links that lead out of a folder are followed.
  """

  count: int = 1000
  seed: int = 0
  sizes: tuple = (((64, 64), 4), ((96, 56), 2), ((56, 96), 2), ((128, 72), 2))
  frames: tuple = ((1, 15), (9, 10), (17, 50), (25, 10), (33, 10), (49, 5))
  fps: tuple = ((8, 7), (12, 1), (16, 1), (24, 1))
  objects: tuple = ((1, 60), (2, 25), (3, 15))
  plain: float = 0.6
  follow_links: bool = False


@dataclasses.dataclass(frozen=True)
class World:
  """Clips of simulated worlds; item i depends on (options, i) alone.

  Attributes:
    names: of worlds.WORLDS; each clip shows one of them.
    options: what clips are drawn from.
  """

  names: tuple[str, ...]
  options: WorldOptions
  exact: ClassVar[bool] = True  # rendered: nothing to scan or to filter

  @property
  def fingerprint(self) -> str:
    """The names and all options."""
    return repr(self)

  def __len__(self) -> int:
    return self.options.count

  def __getitem__(self, index: int) -> stations.Item:
    return self._render(index, *self.draw(index))

  def held_out(self, index: int) -> stations.Item:
    """The clip in the place of item `index` that the world holds out by rule."""
    return self._render(index, *self.draw(index, held_out=True))

  def _render(self, index: int, name: str,
              facts: contracts.Facts) -> stations.Item:
    world, (width, height) = worlds.WORLDS[name], facts.size
    return stations.Item(
        key=f"{name}-{self.options.seed}-{index}",
        data=video_io.pack(world.render(facts), facts.fps),
        frames=facts.frames, height=height, width=width, fps=facts.fps,
        captions=world.describe(facts, worlds.key(index, name, "caption")),
        facts=worlds.to_json(facts))

  def draw(self, index: int,
           held_out: bool = False) -> tuple[str, contracts.Facts]:
    """The name of the world and the facts of item `index`.

    With `held_out`, facts that the world keeps out of every training.

    Raises:
      ValueError: no clip is as long as the world needs.
    """
    cfg = self.options
    rng = np.random.default_rng([cfg.seed, index])
    name = self.names[rng.integers(len(self.names))]
    world = worlds.WORLDS[name]
    size = _draw(rng, cfg.sizes)
    size = getattr(world, "SIZE", size)
    pairs = [((n, fps), a * b) for n, a in cfg.frames for fps, b in cfg.fps
             if n == 1 or (n - 1) / fps >= world.SHORTEST]
    if not pairs:
      raise ValueError(f"world:{name} needs clips of {world.SHORTEST} s; give "
                       "more frames or a lower fps")
    frames, fps = _draw(rng, pairs)
    key = worlds.key(int(rng.integers(2 ** 31)), name)
    asked: dict[str, Any] = {
        "objects": int(_draw(rng, cfg.objects)),
        "background": "plain" if rng.random() < cfg.plain else "textured"}
    return name, world.sample(
        key, size, frames, float(fps), held_out=held_out,
        **{k: v for k, v in asked.items() if v in world.OPTIONS.get(k, ())})


def read_worlds(rest: str, options: WorldOptions) -> World:
  """The source world:NAME[,NAME ..].

  Raises:
    ValueError: no such world.
  """
  names = tuple(rest.split(","))
  for name in names:
    if name not in worlds.WORLDS:
      raise ValueError(f"no world {name!r}; there are "
                       f"{', '.join(worlds.WORLDS)}")
  return World(names, options)


def _draw(rng: np.random.Generator, weighted: Sequence[tuple[Any, float]]
          ) -> Any:
  """One value of ((value, weight), ..)."""
  weights = np.array([w for _, w in weighted], float)
  return weighted[rng.choice(len(weighted), p=weights / weights.sum())][0]

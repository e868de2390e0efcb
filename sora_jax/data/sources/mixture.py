"""Where captioned clips come from, by name, alone or mixed with weights.

  world:balls  world:occluder  world:balls,occluder   rendered, see WorldOptions
  folder:DIR      videos and images below DIR, see folders.py
  tar:PATTERN     tars in the layout of WebDataset, see tars.py
  tfds:NAME|DIR   a data set of TFDS, see sets.py
  shards:DIR      a folder of `prepare`, see sets.py
  2.5*SOURCE      a clip of it is seen 2.5 times in an epoch, on average

Several sources are one mixture. A weight repeats rows of the manifest, not
records; one below 1 leaves a seeded part of the source out, unread.
"""

import dataclasses
import functools
import os
import re

import numpy as np

from sora_jax import worlds
from sora_jax.data.sources import folders
from sora_jax.data.sources import items as items_lib
from sora_jax.data.sources import sets
from sora_jax.data.sources import tars
from sora_jax.media import video_io
from sora_jax.worlds import facts as facts_lib

OCCLUDER_SECONDS = 1.5  # time to pass the wall
MAX_WEIGHT = 1000


@dataclasses.dataclass(frozen=True)
class WorldOptions:
  """What world clips are drawn from; a weight stands beside each value.

  Attributes:
    count: clips.
    seed: of everything that is drawn.
    sizes: ((width, height), weight) ..
    frames: (frames, weight) ..; 1 is an image.
    fps: (frames per second, weight) ..
    objects: (number of objects, weight) ..
    plain: the share of plain backgrounds; the others are textured.
  """

  count: int = 1000
  seed: int = 0
  sizes: tuple = (((64, 64), 4), ((96, 56), 2), ((56, 96), 2), ((128, 72), 2))
  frames: tuple = ((1, 15), (9, 10), (17, 50), (25, 10), (33, 10), (49, 5))
  fps: tuple = ((8, 7), (12, 1), (16, 1), (24, 1))
  objects: tuple = ((1, 60), (2, 25), (3, 15))
  plain: float = 0.6


@dataclasses.dataclass(frozen=True)
class World:
  """Clips of simulated worlds; item i depends on (options, i) alone."""

  names: tuple[str, ...]
  options: WorldOptions

  def __len__(self) -> int:
    return self.options.count

  def __getitem__(self, index: int) -> items_lib.Item:
    name, facts, video, fps = self.clip(index)
    return items_lib.Item(
        key=f"{name}-{self.options.seed}-{index}",
        data=video_io.pack(video, fps), frames=len(video),
        height=video.shape[1], width=video.shape[2], fps=fps,
        captions=tuple(worlds.WORLDS[name].describe(facts, index)),
        facts=facts_lib.to_json(facts))

  def clip(self, index: int):
    """(world name, facts, uint8 [T, H, W, 3], fps) of item `index`."""
    cfg = self.options
    rng = np.random.default_rng([cfg.seed, index])
    name = self.names[rng.integers(len(self.names))]
    world = worlds.WORLDS[name]
    size = _draw(rng, cfg.sizes)
    least = OCCLUDER_SECONDS if name == "occluder" else 0
    pairs = [((n, fps), a * b) for n, a in cfg.frames for fps, b in cfg.fps
             if n == 1 or (n - 1) / fps >= least]
    if not pairs:
      raise ValueError(f"world:{name} needs clips of {least} s; give more "
                       "frames or a lower fps")
    frames, fps = _draw(rng, pairs)
    facts = world.sample(
        int(rng.integers(2 ** 31)), size, (frames - 1) / fps,
        objects=int(_draw(rng, cfg.objects)),
        plain=bool(rng.random() < cfg.plain), held_out=False)
    return name, facts, world.render(facts, size, frames, fps), float(fps)


@dataclasses.dataclass(frozen=True)
class Mixture:
  """Several sources in a row.

  Attributes:
    parts: the sources.
    weights: how often a clip of each is seen in an epoch.
    starts: the index of the first item of each.
    seed: of what a weight that is no whole number takes.
  """

  parts: tuple
  weights: tuple[float, ...]
  starts: tuple[int, ...]
  seed: int

  def __len__(self) -> int:
    return self.starts[-1] + len(self.parts[-1])

  def __getitem__(self, index: int) -> items_lib.Item | items_lib.Raw:
    part = self.part(index)
    name = "" if len(self.parts) == 1 else f"{part}/"
    try:
      item = self.parts[part][index - self.starts[part]]
    except items_lib.Reject as e:
      raise items_lib.Reject(str(e), name + e.key) from e
    return dataclasses.replace(item, key=name + item.key) if name else item

  def part(self, index: int) -> int:
    """The source that an item belongs to."""
    return int(np.searchsorted(self.starts, index, "right")) - 1

  def exact(self) -> np.ndarray:
    """bool [N]: items that are rendered, and need no look before."""
    return np.repeat([isinstance(p, World) for p in self.parts],
                     [len(p) for p in self.parts])

  def times(self) -> np.ndarray:
    """int [N]: how often each item is seen in an epoch."""
    found = []
    for i, (part, weight) in enumerate(zip(self.parts, self.weights)):
      draw = np.random.default_rng([self.seed, 11, i]).random(len(part))
      found.append(int(weight) + (draw < weight % 1))
    return np.concatenate(found)

  def fingerprint(self) -> list:
    """What changes when a file, a caption or an option does."""
    return [getattr(p, "files", None) or repr(p) for p in self.parts]

  def around(self, path: str) -> list[str]:
    """The folders of clips that a path lies in."""
    roots = [p.root for p in self.parts if isinstance(p, folders.Folder)]
    real = os.path.realpath(path)
    return [r for r in roots if os.path.commonpath(
        [real, os.path.realpath(r)]) == os.path.realpath(r)]

  def ignored(self) -> dict:
    """Ending -> files that were neither media nor captions."""
    total = {}
    for part in self.parts:
      for kind, count in getattr(part, "ignored", {}).items():
        total[kind] = total.get(kind, 0) + count
    return total


@functools.lru_cache(maxsize=2)
def items(source: str | tuple[str, ...],
          options: WorldOptions | None = None) -> Mixture:
  """The sequence of a source: `len(s)`, and `s[i]` a file, a clip or `Reject`.

  Args:
    source: one, or several, each "[WEIGHT*]KIND:REST".
    options: for worlds, and the seed.

  Raises:
    ValueError: a source that does not exist.
  """
  options = options or WorldOptions()
  names = (source,) if isinstance(source, str) else tuple(source)
  if not names:
    raise ValueError("name one source, such as world:balls or folder:DIR")
  weights, parts = zip(*(_one(name, options) for name in names))
  starts = np.cumsum([0, *(len(p) for p in parts[:-1])])
  return Mixture(parts, weights, tuple(starts.tolist()), options.seed)


def _one(source: str, options: WorldOptions):
  """(weight, sequence) of a single source."""
  weight, name = 1.0, source
  if found := re.fullmatch(r"(\d+\.?\d*|\.\d+)\*(.*)", source, re.DOTALL):
    weight, name = float(found[1]), found[2]
  if not 0 < weight <= MAX_WEIGHT:
    raise ValueError(f"{source}: a weight must be above 0 and at most "
                     f"{MAX_WEIGHT}")
  kind, _, rest = name.partition(":")
  makers = {"folder": folders.folder, "tar": tars.tars,
            "tfds": sets.tfds_set, "shards": sets.prepared}
  if kind in makers:
    return weight, makers[kind](rest)
  if kind != "world":
    raise ValueError(f"unknown source {name!r}: give world:NAME or KIND:PATH, "
                     f"KIND one of {', '.join(makers)}")
  chosen = tuple(rest.split(","))
  for world in chosen:
    if world not in worlds.WORLDS:
      raise ValueError(f"no world {world!r}; there are "
                       f"{', '.join(worlds.WORLDS)}")
  return weight, World(chosen, options)


def _draw(rng, weighted):
  """One value of ((value, weight), ..)."""
  weights = np.array([w for _, w in weighted], float)
  return weighted[rng.choice(len(weighted), p=weights / weights.sum())][0]

"""Where captioned clips come from, by name, alone or mixed with weights.

  world:balls  world:occluder  world:balls,occluder   rendered, see world.py
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

from sora_jax import stations
from sora_jax import worlds
from sora_jax.data.sources import folders
from sora_jax.data.sources import sets
from sora_jax.data.sources import tars
from sora_jax.data.sources import world as world_lib

MAX_WEIGHT = 1000


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

  def __getitem__(self, index: int) -> stations.Item | stations.Raw:
    part = self.part(index)
    name = "" if len(self.parts) == 1 else f"{part}/"
    try:
      item = self.parts[part][index - self.starts[part]]
    except stations.Reject as e:
      raise stations.Reject(str(e), name + e.key) from e
    return dataclasses.replace(item, key=name + item.key) if name else item

  def part(self, index: int) -> int:
    """The source that an item belongs to."""
    return int(np.searchsorted(self.starts, index, "right")) - 1

  def exact(self) -> np.ndarray:
    """bool [N]: items that are rendered, and need no look before."""
    return np.repeat([isinstance(p, world_lib.World) for p in self.parts],
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
          options: world_lib.WorldOptions | None = None) -> Mixture:
  """The sequence of a source: `len(s)`, and `s[i]` a file, a clip or `Reject`.

  Args:
    source: one, or several, each "[WEIGHT*]KIND:REST".
    options: for worlds, and the seed.

  Raises:
    ValueError: a source that does not exist.
  """
  options = options or world_lib.WorldOptions()
  names = (source,) if isinstance(source, str) else tuple(source)
  if not names:
    raise ValueError("name one source, such as world:balls or folder:DIR")
  weights, parts = zip(*(_one(name, options) for name in names))
  starts = np.cumsum([0, *(len(p) for p in parts[:-1])])
  return Mixture(parts, weights, tuple(starts.tolist()), options.seed)


def _one(source: str, options: world_lib.WorldOptions):
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
  return weight, world_lib.World(chosen, options)



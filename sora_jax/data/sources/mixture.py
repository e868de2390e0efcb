"""Where captioned clips come from, by name, alone or mixed with weights.

  world:balls  world:occluder  world:balls,occluder   rendered, see world.py
  folder:DIR      videos and images below DIR, see folders.py
  tar:PATTERN     tars in the layout of WebDataset, see tars.py
  tfds:NAME|DIR   a data set of TFDS, see tfds.py
  shards:DIR      a folder of `prepare`, see prepared.py
  2.5*SOURCE      a clip of it is seen 2.5 times in an epoch, on average

Several sources are one mixture. A weight repeats entries of the manifest, not
records; one below 1 leaves a seeded part of the source out, unread.
"""

from collections.abc import Callable
import dataclasses
import functools
import os
import re

import numpy as np

from sora_jax import contracts
from sora_jax import stations
from sora_jax.data.sources import folders
from sora_jax.data.sources import prepared
from sora_jax.data.sources import tars
from sora_jax.data.sources import tfds
from sora_jax.data.sources import world

MAX_WEIGHT = 1000
# Kind -> (what follows "KIND:", options) -> the source.
SOURCES: dict[str, Callable[[str, world.WorldOptions], contracts.Source]] = {
    "world": world.read_worlds,
    "folder": folders.read_folder,
    "tar": tars.read_tars,
    "tfds": tfds.read_tfds,
    "shards": prepared.read_shards,
}


@dataclasses.dataclass(frozen=True)
class Mixture:
  """Several sources in a row, a source itself.

  Attributes:
    names: "KIND:REST" of each source.
    sources: the sources.
    weights: how often a clip of each is seen in an epoch.
    starts: the index of the first item of each.
    seed: of what a weight that is no whole number takes.
  """

  names: tuple[str, ...]
  sources: tuple[contracts.Source, ...]
  weights: tuple[float, ...]
  starts: tuple[int, ...]
  seed: int

  def __len__(self) -> int:
    return self.starts[-1] + len(self.sources[-1])

  def __getitem__(self, index: int) -> stations.Item | stations.Raw:
    return self._read(index, "__getitem__")

  def held_out(self, index: int) -> stations.Item | stations.Raw:
    """What the split val has of item `index`: another clip, if a source says so."""
    return self._read(index, "held_out")

  def _read(self, index: int, how: str) -> stations.Item | stations.Raw:
    i = int(np.searchsorted(self.starts, index, "right")) - 1
    prefix = "" if len(self.sources) == 1 else f"{i}/"
    try:
      source = self.sources[i]
      item = getattr(source, how, source.__getitem__)(index - self.starts[i])
    except stations.Reject as e:
      raise stations.Reject(str(e), prefix + e.key) from e
    return dataclasses.replace(item, key=prefix + item.key)

  @property
  def exact(self) -> np.ndarray:
    """bool [N]: items that are exact, and need no scan."""
    return np.repeat([bool(getattr(s, "exact", False)) for s in self.sources],
                     [len(s) for s in self.sources])

  @property
  def times(self) -> np.ndarray:
    """int [N]: how often each item is seen in an epoch."""
    found = []
    for i, (source, weight) in enumerate(zip(self.sources, self.weights)):
      draw = np.random.default_rng([self.seed, 11, i]).random(len(source))
      found.append(int(weight) + (draw < weight % 1))
    return np.concatenate(found)

  @property
  def fingerprint(self) -> list[str]:
    """Of each source: it changes when a file, a caption or an option does."""
    return [s.fingerprint for s in self.sources]

  @property
  def ignored(self) -> dict[str, int]:
    """Ending -> files that were neither media nor captions."""
    total: dict[str, int] = {}
    for source in self.sources:
      for ending, count in getattr(source, "ignored", {}).items():
        total[ending] = total.get(ending, 0) + count
    return total

  def around(self, path: str) -> str | None:
    """The name of a source whose folder a path lies in, if there is one."""
    real = os.path.realpath(path)
    for name, source in zip(self.names, self.sources):
      if root := getattr(source, "root", None):
        root = os.path.realpath(root)
        if os.path.commonpath([real, root]) == root:
          return name
    return None


@functools.lru_cache(maxsize=2)
def mix(names: str | tuple[str, ...],
        options: world.WorldOptions | None = None) -> Mixture:
  """The sequence of one source or of several.

  Args:
    names: each "[WEIGHT*]KIND:REST".
    options: for worlds, and the seed.

  Raises:
    ValueError: a source that does not exist.
  """
  options = options or world.WorldOptions()
  names = (names,) if isinstance(names, str) else tuple(names)
  if not names:
    raise ValueError("name one source, such as world:balls or folder:DIR")
  weights, names = zip(*map(_weighted, names))
  sources = tuple(_read(name, options) for name in names)
  starts = np.cumsum([0, *(len(s) for s in sources[:-1])])
  return Mixture(names, sources, weights, tuple(starts.tolist()), options.seed)


def _weighted(text: str) -> tuple[float, str]:
  """'3*folder:a' to (3.0, 'folder:a')."""
  weight, name = 1.0, text
  if found := re.fullmatch(r"(\d+\.?\d*|\.\d+)\*(.*)", text, re.DOTALL):
    weight, name = float(found[1]), found[2]
  if not 0 < weight <= MAX_WEIGHT:
    raise ValueError(f"{text}: a weight must be above 0 and at most "
                     f"{MAX_WEIGHT}")
  return weight, name


def _read(name: str, options: world.WorldOptions) -> contracts.Source:
  kind, _, rest = name.partition(":")
  if kind not in SOURCES:
    raise ValueError(f"unknown source {name!r}: give KIND:REST, KIND one of "
                     f"{', '.join(SOURCES)}")
  return SOURCES[kind](rest, options)

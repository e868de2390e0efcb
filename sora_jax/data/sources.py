"""Where captioned clips come from: simulated worlds and folders of files.

A source is a sequence: item i can be made without the others, so that shards
are written in parallel and a run resumes. An item that cannot be used raises
`Reject`, with the reason, when it is asked for.

  world:balls  world:occluder  world:balls,occluder   rendered, see WorldOptions
  folder:DIR   videos and images below DIR, see Folder
"""

import csv
import dataclasses
import json
import os

import numpy as np

from sora_jax import worlds
from sora_jax.data import video_io
from sora_jax.worlds import facts as facts_lib

VIDEOS = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".gif")
IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
TABLES = (".jsonl", ".csv")
MAX_FILE = 2 ** 28
MAX_CAPTION = 8192
OCCLUDER_SECONDS = 1.5  # time to pass the wall


class Reject(ValueError):
  """An item that is left out and counted; the message is the reason."""


@dataclasses.dataclass(frozen=True)
class Item:
  """One clip on its way into a shard.

  Attributes:
    key: unique within the source.
    data: the bytes of a video or image file.
    frames, height, width, fps: of the decoded video.
    captions: the short one first, then the descriptive one if there is one.
    facts: JSON of the ground truth, "" where there is none.
  """

  key: str
  data: bytes
  frames: int
  height: int
  width: int
  fps: float
  captions: tuple[str, ...]
  facts: str = ""


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

  def __getitem__(self, index: int) -> Item:
    name, facts, video, fps = self.clip(index)
    return Item(key=f"{name}-{self.options.seed}-{index}",
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
class Folder:
  """Videos and images of a folder with their captions.

  Captions come from every .jsonl and .csv below the folder, whose rows name a
  file (`file`, `file_name`, `path` or `video`, relative to the table) and its
  caption (`caption`, `text` or `prompt`; `captions` may be a list in a jsonl;
  `descriptive` is a second one), or from a sidecar FILE.txt, one caption per
  line. Files are kept as they are. A file without a caption is rejected, and
  so is a row of a table that cannot be read.

  Attributes:
    rows: per item (path or None, captions or None, reason or None, key).
  """

  rows: tuple

  def __len__(self) -> int:
    return len(self.rows)

  def __getitem__(self, index: int) -> Item:
    path, captions, reason, key = self.rows[index]
    if reason:
      raise Reject(reason)
    captions = captions or _sidecar(path)
    if not captions:
      raise Reject("no caption")
    size = os.path.getsize(path)
    if size > MAX_FILE:
      raise Reject(f"{size >> 20} MiB; the limit is {MAX_FILE >> 20}")
    try:
      info = video_io.scan(path)
    except ValueError as e:
      raise Reject(str(e).removeprefix(f"{path}: ")) from e
    with open(path, "rb") as f:
      data = f.read()
    return Item(key=key, data=data, captions=captions,
                **dataclasses.asdict(info))


def items(source: str, options: WorldOptions | None = None):
  """The sequence of a source: `len(s)`, and `s[i]` an `Item` or a `Reject`.

  Args:
    source: "world:NAME[,NAME]" or "folder:DIR".
    options: for worlds.

  Raises:
    ValueError: a source that does not exist.
  """
  kind, _, rest = source.partition(":")
  if kind == "world":
    names = tuple(rest.split(","))
    for name in names:
      if name not in worlds.WORLDS:
        raise ValueError(f"no world {name!r}; there are "
                         f"{', '.join(worlds.WORLDS)}")
    return World(names, options or WorldOptions())
  if kind == "folder":
    return _folder(rest)
  raise ValueError(f"unknown source {source!r}: give world:NAME or folder:DIR")


def _draw(rng, weighted):
  """One value of ((value, weight), ..)."""
  weights = np.array([w for _, w in weighted], float)
  return weighted[rng.choice(len(weighted), p=weights / weights.sum())][0]


def _folder(root: str) -> Folder:
  if not os.path.isdir(root):
    raise ValueError(f"folder:{root}: no such folder")
  files, rows = {}, []
  tables = []
  for base, folders, names in os.walk(root):
    folders.sort()
    for name in sorted(names):
      path = os.path.join(base, name)
      ending = os.path.splitext(name)[1].lower()
      if ending in TABLES:
        tables.append(path)
      elif ending in VIDEOS + IMAGES:
        files[path] = None
  for table in tables:
    for line, row in _table(table):
      where = f"{os.path.relpath(table, root)}:{line}"
      path, captions, reason = _row(os.path.dirname(table), row, root)
      if reason is None and path in files:
        files[path] = (files[path] or ()) + captions
      else:
        rows.append((None, None, reason or "no such file", where))
  rows += [(path, captions, None, os.path.relpath(path, root))
           for path, captions in files.items()]
  return Folder(tuple(rows))


def _table(path: str):
  """(line number, dict or None) of a jsonl or csv."""
  with open(path, encoding="utf-8", errors="replace", newline="") as f:
    if path.lower().endswith(".csv"):
      try:
        for i, row in enumerate(csv.DictReader(f)):
          yield i + 2, row
      except csv.Error:
        yield 0, None
      return
    for i, line in enumerate(f):
      if not line.strip():
        continue
      try:
        row = json.loads(line, parse_constant=lambda name: None)
      except ValueError:
        row = None
      yield i + 1, row if isinstance(row, dict) else None


def _row(base: str, row, root: str):
  """(path, captions, reason) of a row of a table."""
  if row is None:
    return None, None, "unreadable row"
  name = _first(row, ("file", "file_name", "path", "video", "image"))
  if not isinstance(name, str):
    return None, None, "names no file"
  path = os.path.normpath(os.path.join(base, name))
  if os.path.relpath(path, root).startswith(os.pardir):
    return None, None, "names a file outside the folder"
  captions = row.get("captions")
  if not isinstance(captions, list):
    captions = [_first(row, ("caption", "text", "prompt")),
                row.get("descriptive")]
  return path, _clean(captions), None


def _first(row, keys):
  return next((row[k] for k in keys if row.get(k)), None)


def _clean(captions) -> tuple[str, ...]:
  """Captions of one line, without empty ones, at most MAX_CAPTION long."""
  texts = (" ".join(c.split())[:MAX_CAPTION] for c in captions
           if isinstance(c, str))
  return tuple(t for t in texts if t)


def _sidecar(path: str) -> tuple[str, ...]:
  sidecar = os.path.splitext(path)[0] + ".txt"
  if not os.path.isfile(sidecar):
    return ()
  with open(sidecar, encoding="utf-8", errors="replace") as f:
    return _clean(f.read(MAX_CAPTION * 4).splitlines())

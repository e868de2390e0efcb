"""folder:DIR: videos and images below a folder, with their captions.

Every .jsonl and .csv below the folder is a table of captions. A row names a file
(`file`, `file_name`, `path`, `video` or `image`, relative to the table) and its
caption (`caption`, `text` or `prompt`; `captions` may be a list in a jsonl;
`descriptive` is a second one). A file that no table names may have a sidecar:
FILE.txt with one caption a line, or FILE.json with an object like a row. A row
that cannot be read is rejected, and so is a file without a caption.
"""

import collections
from collections.abc import Iterator
import csv
import dataclasses
import os
import stat
from typing import Any, TextIO

from sora_jax import stations
from sora_jax.data.sources import items
from sora_jax.data.sources import world

TABLES = (".jsonl", ".csv")
Row = dict[str, Any]  # of a table


@dataclasses.dataclass(frozen=True)
class File:
  """A file, or a row of a table that names none.

  Attributes:
    key: the path below the folder, or TABLE:LINE.
    path: of the file.
    captions: of the tables; () where only a sidecar can have them.
    reason: why there is no file, "" where there is one.
  """

  key: str
  path: str = ""
  captions: tuple[str, ...] = ()
  reason: str = ""


@dataclasses.dataclass(frozen=True)
class Folder:
  """The files of a folder.

  Attributes:
    files: in a fixed order.
    ignored: ending -> number of files that are neither media nor captions.
    fingerprint: of the files that are not ignored.
    root: the folder.
  """

  files: tuple[File, ...]
  ignored: dict[str, int]
  fingerprint: str
  root: str

  def __len__(self) -> int:
    return len(self.files)

  def __getitem__(self, index: int) -> stations.Raw:
    file = self.files[index]
    if file.reason:
      raise stations.Reject(file.reason, file.key)
    try:
      info = os.stat(file.path)
      captions = file.captions or _sidecar(file.path)
    except OSError as e:
      raise stations.Reject(f"{e.strerror}".lower(), file.key) from e
    if not stat.S_ISREG(info.st_mode):
      raise stations.Reject("is no regular file", file.key)
    return stations.Raw(file.key, file.path, captions)


def read_folder(rest: str, options: world.WorldOptions) -> Folder:
  """The source folder:DIR, the files below DIR.

  Raises:
    ValueError: no such folder.
  """
  del options
  root = rest
  if not os.path.isdir(root):
    raise ValueError(f"folder:{root}: no such folder")
  captions: dict[str, tuple[str, ...]] = {}
  bad, tables, seen = [], [], []
  ignored: collections.Counter[str] = collections.Counter()
  for base, folders, names in os.walk(root):
    folders.sort()
    for name in sorted(names):
      path, kind = os.path.join(base, name), items.ending(name)
      if kind in TABLES:
        tables.append(path)
      elif kind in items.VIDEOS + items.IMAGES:
        captions[path] = ()
      elif kind not in items.SIDECARS:
        ignored[kind or name] += 1
        continue
      seen.append(path)
  for table in tables:
    for line, row in _table(table):
      where = f"{_key(table, root)}:{line}"
      try:
        if row is None:
          raise ValueError("unreadable row")
        path = _path(os.path.dirname(table), row, root)
        if path not in captions:
          raise ValueError("no such file")
        captions[path] += items.row_captions(row)
      except ValueError as e:
        bad.append(File(where, reason=str(e)))
  found = [File(_key(path, root), path, texts)
           for path, texts in captions.items()]
  return Folder((*bad, *found), dict(ignored), items.fingerprint(seen), root)


def _key(path: str, root: str) -> str:
  """The path below the root as text, whatever bytes its name has."""
  return os.fsencode(os.path.relpath(path, root)).decode("utf-8", "replace")


def _table(path: str) -> Iterator[tuple[int, Row | None]]:
  """(line number, dict or None) of a jsonl or csv."""
  try:
    with open(path, encoding="utf-8-sig", errors="replace", newline="") as f:
      yield from (_csv(f) if path.lower().endswith(".csv") else _jsonl(f))
  except OSError:
    yield 0, None


def _csv(file: TextIO) -> Iterator[tuple[int, Row | None]]:
  csv.field_size_limit(items.MAX_LINE)
  reader = csv.DictReader(file)
  while True:
    try:
      row = next(reader)
    except StopIteration:
      return
    except csv.Error:
      row = None
    yield reader.line_num, row


def _jsonl(file: TextIO) -> Iterator[tuple[int, Row | None]]:
  number, whole = 0, True
  while line := file.readline(items.MAX_LINE):
    ends = line.endswith("\n")
    if whole and line.strip():
      number += 1
      long = not ends and len(line) == items.MAX_LINE
      yield number, None if long else items.parse_row(line)
    elif whole:
      number += 1
    whole = ends


def _path(base: str, row: Row, root: str) -> str:
  """The file that a row of a table names.

  Raises:
    ValueError: none, or one outside the folder; the message is the reason.
  """
  name = items.first(row, ("file", "file_name", "path", "video", "image"))
  if not isinstance(name, str):
    raise ValueError("names no file")
  path = os.path.normpath(os.path.join(base, name))
  if os.path.relpath(path, root).startswith(os.pardir):
    raise ValueError("names a file outside the folder")
  return path


def _sidecar(path: str) -> tuple[str, ...]:
  """The captions beside a file, () when there are none."""
  for kind in items.SIDECARS:
    sidecar = os.path.splitext(path)[0] + kind
    if not os.path.isfile(sidecar):
      continue
    with open(sidecar, encoding="utf-8-sig", errors="replace") as f:
      return items.sidecar_captions(kind, f.read(items.MAX_LINE))
  return ()

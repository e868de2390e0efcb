"""folder:DIR: videos and images below a folder, with their captions.

Captions come from every .jsonl and .csv below the folder, whose rows name a
file (`file`, `file_name`, `path`, `video` or `image`, relative to the table)
and its caption (`caption`, `text` or `prompt`; `captions` may be a list in a
jsonl; `descriptive` is a second one), or from a sidecar: FILE.txt with one
caption per line, or FILE.json with an object like a row. A row that cannot be
read is rejected, and so is a file without a caption.
"""

import collections
import csv
import dataclasses
import os
import stat

from sora_jax import stations
from sora_jax.data.sources import items

TABLES = (".jsonl", ".csv")


@dataclasses.dataclass(frozen=True)
class Folder:
  """The files of a folder.

  Attributes:
    rows: per item (path or None, captions or None, reason or None, key).
    ignored: ending -> number of files that are neither media nor captions.
    files: a fingerprint of the files that are not ignored.
    root: the folder.
  """

  rows: tuple
  ignored: dict
  files: str
  root: str

  def __len__(self) -> int:
    return len(self.rows)

  def __getitem__(self, index: int) -> stations.Raw:
    path, captions, reason, key = self.rows[index]
    if reason:
      raise stations.Reject(reason, key)
    try:
      info = os.stat(path)
      captions = captions or _sidecar(path)
    except OSError as e:
      raise stations.Reject(f"{e.strerror}".lower(), key) from e
    if not stat.S_ISREG(info.st_mode):
      raise stations.Reject("is no regular file", key)
    return stations.Raw(key, path, captions)


def folder(root: str) -> Folder:
  """The files below `root`, in a fixed order.

  Raises:
    ValueError: no such folder.
  """
  if not os.path.isdir(root):
    raise ValueError(f"folder:{root}: no such folder")
  files, rows, tables, seen = {}, [], [], []
  ignored = collections.Counter()
  for base, folders, names in os.walk(root):
    folders.sort()
    for name in sorted(names):
      path, kind = os.path.join(base, name), items.ending(name)
      if kind in TABLES:
        tables.append(path)
      elif kind in items.VIDEOS + items.IMAGES:
        files[path] = None
      elif kind not in items.SIDECARS:
        ignored[kind or name] += 1
        continue
      seen.append(path)
  for table in tables:
    for line, row in _table(table):
      where = f"{_key(table, root)}:{line}"
      path, captions, reason = _row(os.path.dirname(table), row, root)
      if reason is None and path in files:
        files[path] = (files[path] or ()) + captions
      else:
        rows.append((None, None, reason or "no such file", where))
  rows += [(path, captions, None, _key(path, root))
           for path, captions in files.items()]
  return Folder(tuple(rows), dict(ignored), items.fingerprint(seen), root)


def _key(path: str, root: str) -> str:
  """The path below the root as text, whatever bytes its name has."""
  return os.fsencode(os.path.relpath(path, root)).decode("utf-8", "replace")


def _table(path: str):
  """(line number, dict or None) of a jsonl or csv."""
  try:
    with open(path, encoding="utf-8-sig", errors="replace", newline="") as f:
      yield from (_csv(f) if path.lower().endswith(".csv") else _jsonl(f))
  except OSError:
    yield 0, None


def _csv(file):
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


def _jsonl(file):
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


def _row(base: str, row, root: str):
  """(path, captions, reason) of a row of a table."""
  if row is None:
    return None, None, "unreadable row"
  name = items.first(row, ("file", "file_name", "path", "video", "image"))
  if not isinstance(name, str):
    return None, None, "names no file"
  path = os.path.normpath(os.path.join(base, name))
  if os.path.relpath(path, root).startswith(os.pardir):
    return None, None, "names a file outside the folder"
  return path, items.row_captions(row), None


def _sidecar(path: str) -> tuple[str, ...]:
  """The captions beside a file, () when there are none."""
  for kind in items.SIDECARS:
    sidecar = os.path.splitext(path)[0] + kind
    if not os.path.isfile(sidecar):
      continue
    with open(sidecar, encoding="utf-8-sig", errors="replace") as f:
      return items.sidecar_captions(kind, f.read(items.MAX_LINE))
  return ()

"""folder:DIR: videos and images below a folder, with their captions.

Every .jsonl and .csv below the folder is a table of captions. A row names a file
(`file`, `file_name`, `path`, `video` or `image`, relative to the table) and its
caption (`caption`, `text` or `prompt`; `captions` may be a list in a jsonl;
`descriptive` is a second one). A file that no table names may have a sidecar:
FILE.txt with one caption a line, or FILE.json with an object like a row. A row
that cannot be read is rejected, and so is a file without a caption.

Links that lead to a place in the folder are read. Others are rejected, unless
options.follow_links says to follow them.
"""

import collections
from collections.abc import Iterator
import dataclasses
import os
import stat
import unicodedata

from sora_jax import files
from sora_jax import stations
from sora_jax.data.sources import items
from sora_jax.data.sources import tables
from sora_jax.data.sources import world

OUT = "link: leads out of the folder; --follow-links reads it"


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
    follow_links: whether a caption may lie outside of it.
  """

  files: tuple[File, ...]
  ignored: dict[str, int]
  fingerprint: str
  root: str
  follow_links: bool = False

  def __len__(self) -> int:
    return len(self.files)

  def __getitem__(self, index: int) -> stations.Raw:
    file = self.files[index]
    if file.reason:
      raise stations.Reject(file.reason, file.key)
    try:
      if not stat.S_ISREG(os.stat(file.path).st_mode):
        raise stations.Reject("is no regular file", file.key)
      captions = file.captions or self._sidecar(file.path)
    except OSError as e:
      raise stations.Reject(f"{e.strerror}".lower(), file.key) from e
    except ValueError as e:
      raise stations.Reject(str(e), file.key) from e
    return stations.Raw(file.key, file.path, captions)

  def _sidecar(self, path: str) -> tuple[str, ...]:
    """The captions beside a file, () when there are none."""
    folder, name = os.path.split(os.path.splitext(path)[0])
    names = dict.fromkeys((name, *(
        unicodedata.normalize(form, name) for form in ("NFC", "NFD"))))
    for kind in items.SIDECARS:
      beside = (os.path.join(folder, n + end) for n in names
                for end in (kind, kind.upper()))
      sidecar = next(filter(os.path.exists, beside), None)
      if not sidecar:
        continue
      if not self.follow_links and _leads_out(sidecar, self.root):
        raise ValueError(f"link: its {kind} leads out of the folder; "
                         "--follow-links reads it")
      try:
        return items.sidecar_captions(kind, files.read_bytes(
            sidecar, items.MAX_LINE))
      except ValueError as e:
        raise ValueError(f"its {kind} {e}") from e
    return ()


def read_folder(rest: str, options: world.WorldOptions) -> Folder:
  """The source folder:DIR, the files below DIR.

  Raises:
    ValueError: no such folder.
  """
  root = rest
  if not os.path.isdir(root):
    raise ValueError(f"folder:{root}: no such folder")
  captions: dict[str, tuple[str, ...]] = {}
  refused: dict[str, str] = {}
  bad, found_tables, seen = [], [], []
  ignored: collections.Counter[str] = collections.Counter()
  for path, reason in _walk(root, options.follow_links):
    name = os.path.basename(path)
    kind = items.ending(name)
    if reason and os.path.isdir(path):  # not walked
      bad.append(File(_key(path, root), reason=reason))
      continue
    if kind in tables.ENDINGS and not reason:
      found_tables.append(path)
    elif kind in items.VIDEOS + items.IMAGES and not reason:
      captions[path] = ()
    elif kind in tables.ENDINGS + items.VIDEOS + items.IMAGES:
      refused[path] = reason
    elif kind not in items.SIDECARS:
      ignored[kind or name] += 1
      continue
    seen.append(path)
  paths = tables.Paths(root, {**dict.fromkeys(captions, ""), **refused})
  for table in found_tables:
    for line, row in tables.rows(table):
      try:
        if isinstance(row, str):
          raise ValueError(row)
        path = paths.find(os.path.dirname(table), row)
        captions[path] += items.row_captions(row)
      except ValueError as e:
        bad.append(File(f"{_key(table, root)}:{line}", reason=str(e)))
  bad += [File(_key(path, root), reason=why) for path, why in refused.items()]
  found = [File(_key(path, root), path, texts)
           for path, texts in captions.items()]
  return Folder((*bad, *found), dict(ignored), items.fingerprint(seen), root,
                options.follow_links)


def _walk(root: str, follow: bool) -> Iterator[tuple[str, str]]:
  """Yields (path, why it is refused or "") of every file, sorted.

  A folder is only given where it is refused.
  """
  todo, entered = [root], {os.path.realpath(root)}
  while todo:
    folder, below = todo.pop(), []
    try:
      with os.scandir(folder) as scan:
        entries = sorted(scan, key=lambda entry: entry.name)
    except OSError as e:
      yield folder, f"{e.strerror}".lower()
      continue
    for entry in entries:
      out = entry.is_symlink() and not follow and _leads_out(entry.path, root)
      # A link that leads to itself is no folder, and no error of the walk.
      if not (os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir()):
        yield entry.path, OUT if out else ""
        continue
      real = os.path.realpath(entry.path)
      if out:
        yield entry.path, OUT
      elif entry.is_symlink() and (real in entered or tables.is_below(
          os.path.realpath(folder), real)):
        yield entry.path, "link: leads to a folder that is read already"
      else:
        entered |= {real} if entry.is_symlink() else set()
        below.append(entry.path)
    todo += reversed(below)


def _leads_out(path: str, root: str) -> bool:
  """Whether a link leads to a file or folder that is not below the root."""
  real = os.path.realpath(path)
  return os.path.islink(path) and os.path.exists(real) and (
      not tables.is_below(real, os.path.realpath(root)))


def _key(path: str, root: str) -> str:
  """The path below the root as text, whatever bytes its name has."""
  return os.fsencode(os.path.relpath(path, root)).decode("utf-8", "replace")

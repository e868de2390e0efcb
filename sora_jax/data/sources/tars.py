"""tar:PATTERN: samples in tars, in the layout of WebDataset.

Members that follow each other and have the same name up to the first dot are
one sample: clip.mp4 with clip.txt (one caption per line) or clip.json (an
object like a row of a table). PATTERN may hold * ? [] and {000..012}.

Nothing is ever extracted: an index of the headers says where each member lies,
and members are read from there, capped in size and number. A .tar.gz is read
through gzip; random access makes that slow, and videos gain nothing by it.
"""

import collections
import dataclasses
import functools
import glob
import gzip
import os
import re
import tarfile

from sora_jax import stations
from sora_jax.data.sources import items

MAX_MEMBERS = 2 ** 20  # of a tar
MAX_HEADER = 2 ** 20  # bytes of an extended header
MAX_RATIO = 100  # of unpacked to packed bytes


@dataclasses.dataclass(frozen=True)
class Tars:
  """The samples of some tars.

  Attributes:
    rows: per item (tar or None, {ending: (offset, size)}, reason or None, key).
    ignored: ending -> number of members that are neither media nor captions.
    files: a fingerprint of the tars.
  """

  rows: tuple
  ignored: dict
  files: str

  def __len__(self) -> int:
    return len(self.rows)

  def __getitem__(self, index: int) -> stations.Raw:
    path, members, reason, key = self.rows[index]
    if reason:
      raise stations.Reject(reason, key)
    captions = ()
    for kind in items.SIDECARS:
      if kind in members and not captions:
        text = _read(path, *members[kind], items.MAX_LINE, key).decode(
            "utf-8-sig", "replace")
        captions = items.sidecar_captions(kind, text)
    media = next(m for kind, m in members.items() if kind not in items.SIDECARS)
    return stations.Raw(key, _read(path, *media, items.MAX_FILE, key), captions)


def tars(pattern: str) -> Tars:
  """The samples of all tars that match a pattern.

  Raises:
    ValueError: a command or an address instead of files, or no such file.
  """
  if re.match(r"\w+:", pattern):
    raise ValueError(f"tar:{pattern}: only files are read, no commands and no "
                     "addresses: copy the tars to a disk first")
  paths = sorted({p for part in _braces(pattern) for p in glob.glob(part)})
  if not paths:
    raise ValueError(f"tar:{pattern}: no such file")
  rows, ignored = [], collections.Counter()
  for path in paths:
    rows += _index(path, ignored)
  return Tars(tuple(rows), dict(ignored), items.fingerprint(paths))


def _braces(pattern: str) -> list[str]:
  """'a-{08..10}.tar' to 'a-08.tar', 'a-09.tar', 'a-10.tar'."""
  found = re.search(r"\{(\d+)\.\.(\d+)\}", pattern)
  if not found:
    return [pattern]
  low, high = found.groups()
  count = int(high) - int(low) + 1
  if not 0 < count <= MAX_MEMBERS:
    raise ValueError(f"tar:{pattern}: {{{low}..{high}}} names {count} files")
  return [p for i in range(count) for p in _braces(
      pattern[:found.start()] + f"{int(low) + i:0{len(low)}d}"
      + pattern[found.end():])]


class _Capped:
  """A file of which no single read takes more than a header may."""

  def __init__(self, file, limit: int):
    self.file, self.limit = file, limit
    self.tell = file.tell

  def read(self, size: int) -> bytes:
    if not 0 <= size <= MAX_HEADER:
      raise tarfile.ReadError(f"has a header of {size} bytes")
    return self.file.read(size)

  def seek(self, offset: int, whence: int = 0) -> int:
    if whence == 0 and offset > self.limit:
      raise tarfile.ReadError("is cut off or too well compressed")
    return self.file.seek(offset, whence)


def _index(path: str, ignored: collections.Counter) -> list[tuple]:
  """The rows of a tar."""
  name, rows, samples = os.path.basename(path), [], {}
  try:
    size = os.path.getsize(path)
    file = _open(path)
    file.seek(0)
    packed = isinstance(file, gzip.GzipFile)
    capped = _Capped(file, size * MAX_RATIO + 2 ** 20 if packed else size)
    with tarfile.open(fileobj=capped, mode="r:") as archive:
      for count, member in enumerate(archive):
        archive.members.clear()  # of what was read, tarfile keeps everything
        if count >= MAX_MEMBERS:
          raise tarfile.ReadError(f"has more than {MAX_MEMBERS} members")
        if not member.isdir():
          _place(name, member, samples, rows, ignored)
      capped.seek(archive.offset)
      if capped.read(tarfile.BLOCKSIZE).strip(b"\0"):  # tarfile just stops
        raise tarfile.ReadError("has a damaged header")
  except (tarfile.TarError, OSError, EOFError, ValueError) as e:
    rows.append((None, None, "is read no further: "
                 + " ".join(str(e).split())[:200], name))
  for key, members in samples.items():
    if any(kind not in items.SIDECARS for kind in members):
      rows.append((path, members, None, f"{name}/{key}"))
    else:
      rows.append((None, None, "has no video or image", f"{name}/{key}"))
  return rows


def _place(name, member, samples, rows, ignored):
  """Puts a member into its sample, or a reason into the rows."""
  where = member.name.encode("utf-8", "replace").decode()
  base, _, end = os.path.basename(where).partition(".")
  key = os.path.join(os.path.dirname(where), base)
  kind = items.ending(f"x.{end}") if end else ""
  if kind not in items.VIDEOS + items.IMAGES + items.SIDECARS:
    ignored[kind or base] += 1
  elif os.path.isabs(where) or os.pardir in where.split("/"):
    rows.append((None, None, "names a file outside the tar", f"{name}/{where}"))
  elif not member.isreg() or member.issparse():
    rows.append((None, None, "is no regular file", f"{name}/{where}"))
  elif kind in samples.get(key, ()) or kind not in items.SIDECARS and any(
      k not in items.SIDECARS for k in samples.get(key, ())):
    rows.append((None, None, "is a second file of its sample",
                 f"{name}/{where}"))
  else:
    samples.setdefault(key, {})[kind] = member.offset_data, member.size


@functools.lru_cache(maxsize=8)
def _open(path: str):
  """An open tar, kept open; gzip by its first bytes."""
  file = open(path, "rb")  # noqa: SIM115
  packed = file.read(2) == b"\x1f\x8b"
  file.seek(0)
  return gzip.GzipFile(fileobj=file) if packed else file


def _read(path: str, offset: int, size: int, limit: int, key: str) -> bytes:
  """The bytes of a member."""
  if size > limit:
    raise stations.Reject(f"{size} bytes; the limit is {limit}", key)
  try:
    file = _open(path)
    file.seek(offset)
    data = file.read(size)
  except (OSError, EOFError) as e:
    raise stations.Reject(" ".join(str(e).split())[:200], key) from e
  if len(data) != size:
    raise stations.Reject(f"is cut off: {len(data)} of {size} bytes", key)
  return data

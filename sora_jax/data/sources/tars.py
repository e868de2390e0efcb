"""tar:PATTERN: samples in tars, in the layout of WebDataset.

Members with the same name up to the first dot are one sample: clip.mp4 with
clip.txt (one caption per line) or clip.json (an object like a row of a table).
Where what follows the first dot is no ending that all videos of the tar share,
as in v1.0.mp4 and v1.5.mp4, the name counts up to the last dot. PATTERN may
hold * ? [] and {000..012}.

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
from typing import cast, IO
import unicodedata

from sora_jax import files
from sora_jax import messages
from sora_jax import stations
from sora_jax.data.sources import items
from sora_jax.data.sources import world

MAX_MEMBERS = 2 ** 20  # of a tar
MAX_HEADER = 2 ** 20  # bytes of an extended header
MAX_RATIO = 100  # of unpacked to packed bytes
Members = dict[str, tuple[int, int]]  # ending -> (offset, size) in bytes
Member = tuple[str, str, tuple[int, int]]  # path, ending, (offset, size)


@dataclasses.dataclass(frozen=True)
class Sample:
  """The members of a tar that belong together, or one that is refused.

  Attributes:
    key: TAR/NAME.
    path: of the tar.
    members: ending -> (offset, size) in bytes.
    reason: why it is refused, "" where it is not.
  """

  key: str
  path: str = ""
  members: Members = dataclasses.field(default_factory=dict)
  reason: str = ""


@dataclasses.dataclass(frozen=True)
class Tars:
  """The samples of some tars.

  Attributes:
    samples: in the order of the tars.
    ignored: ending -> number of members that are neither media nor captions.
    fingerprint: of the tars.
  """

  samples: tuple[Sample, ...]
  ignored: dict[str, int]
  fingerprint: str

  def __len__(self) -> int:
    return len(self.samples)

  def __getitem__(self, index: int) -> stations.Raw:
    found = self.samples[index]
    if found.reason:
      raise stations.Reject(found.reason, found.key)
    captions: tuple[str, ...] = ()
    for kind in items.SIDECARS:
      if kind in found.members and not captions:
        data = _read(found, kind, items.MAX_LINE)
        try:
          captions = items.sidecar_captions(kind, data)
        except ValueError as e:
          raise stations.Reject(f"its {kind} {e}", found.key) from e
    media = next(k for k in found.members if k not in items.SIDECARS)
    return stations.Raw(found.key, _read(found, media, items.MAX_FILE),
                        captions)


def read_tars(rest: str, options: world.WorldOptions) -> Tars:
  """The source tar:PATTERN, the samples of all tars that match.

  Raises:
    ValueError: a command or an address instead of files, or no such file.
  """
  del options
  pattern = rest
  if re.match(r"\w+:", pattern):
    raise ValueError(f"tar:{pattern}: only files are read, no commands and no "
                     "addresses: copy the tars to a disk first")
  paths = sorted({p for part in _braces(pattern) for p in glob.glob(part)})
  if not paths:
    raise ValueError(f"tar:{pattern}: no such file")
  samples: list[Sample] = []
  ignored: collections.Counter[str] = collections.Counter()
  for path in paths:
    samples += _index(path, ignored)
  return Tars(tuple(samples), dict(ignored), items.fingerprint(paths))


def _braces(pattern: str) -> list[str]:
  """'a-{08..10}.tar' to 'a-08.tar', 'a-09.tar', 'a-10.tar'."""
  found = re.search(r"\{(\d+)\.\.(\d+)\}", pattern)
  if not found:
    return [pattern]
  low, high = found.groups()
  count = int(high) - int(low) + 1
  if not 0 < count <= MAX_MEMBERS:
    raise ValueError(f"tar:{pattern}: {{{low}..{high}}} names "
                     f"{messages.count(count, 'file')}")
  return [p for i in range(count) for p in _braces(
      pattern[:found.start()] + f"{int(low) + i:0{len(low)}d}"
      + pattern[found.end():])]


class _Capped:
  """A file of which no single read takes more than a header may."""

  def __init__(self, file: IO[bytes], limit: int):
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


def _index(path: str, ignored: collections.Counter[str]) -> list[Sample]:
  """The samples of a tar, those that are refused first."""
  name = os.path.basename(path)
  refused: list[Sample] = []
  groups: dict[str, list[Member]] = {}
  try:
    file = _open(path)
    size = os.path.getsize(path)
    file.seek(0)
    packed = isinstance(file, gzip.GzipFile)
    capped = _Capped(file, size * MAX_RATIO + 2 ** 20 if packed else size)
    with tarfile.open(fileobj=cast(IO[bytes], capped), mode="r:") as archive:
      for count, member in enumerate(archive):
        archive.members.clear()  # type: ignore[attr-defined]  # it keeps all
        if count >= MAX_MEMBERS:
          raise tarfile.ReadError(f"has more than {MAX_MEMBERS} members")
        if not member.isdir():
          _place(name, member, groups, refused, ignored)
      capped.seek(archive.offset)
      if capped.read(tarfile.BLOCKSIZE).strip(b"\0"):  # tarfile just stops
        raise tarfile.ReadError("has a damaged header")
  except (tarfile.TarError, OSError, EOFError, ValueError) as e:
    refused.append(Sample(
        name, reason=f"is read no further: {items.one_line(e)}"))
  samples = []
  middles = {os.path.splitext(os.path.basename(where))[0].partition(".")[2]
             for group in groups.values() for where, kind, _ in group
             if kind not in items.SIDECARS}
  endings = len(middles) < 2 and not re.search(r"\d", "".join(middles))
  for first, group in groups.items():
    for key, members in _divided(first, group, endings, name, refused):
      whole = any(k not in items.SIDECARS for k in members)
      samples.append(Sample(f"{name}/{key}", path, members,
                            "" if whole else "has no video or image"))
  return refused + samples


def _place(name: str, member: tarfile.TarInfo, groups: dict[str, list[Member]],
           refused: list[Sample], ignored: collections.Counter[str]) -> None:
  """Puts a member into its group, or refuses it with a reason."""
  where = member.name.encode("utf-8", "replace").decode()
  base, _, end = os.path.basename(where).partition(".")
  key = os.path.join(os.path.dirname(where), base)
  kind = items.ending(f"x.{end}") if end else ""
  if kind not in items.VIDEOS + items.IMAGES + items.SIDECARS:
    ignored[kind or base] += 1
  elif os.path.isabs(where) or os.pardir in where.split("/"):
    refused.append(Sample(f"{name}/{where}",
                          reason="names a file outside the tar"))
  elif not member.isreg() or member.issparse():
    refused.append(Sample(f"{name}/{where}", reason="is no regular file"))
  else:
    groups.setdefault(unicodedata.normalize("NFC", key), []).append(
        (where, kind, (member.offset_data, member.size)))


def _divided(key: str, group: list[Member], endings: bool, name: str,
             refused: list[Sample]) -> list[tuple[str, Members]]:
  """The samples of members whose names are the same up to the first dot.

  Args:
    key: the path up to that dot.
    group: the members.
    endings: whether all that follows the first dot is an ending.
    name: of the tar.
    refused: gets what is a second file of its sample.
  """
  kinds = [kind for _, kind, _ in group]
  media = sum(kind not in items.SIDECARS for kind in kinds)
  if endings and media <= 1 and len(set(kinds)) == len(kinds):
    return [(key, {kind: place for _, kind, place in group})]
  found: dict[str, Members] = {}
  for where, kind, place in group:
    members = found.setdefault(unicodedata.normalize(
        "NFC", os.path.splitext(where)[0]), {})
    if kind in members or kind not in items.SIDECARS and any(
        k not in items.SIDECARS for k in members):
      refused.append(Sample(f"{name}/{where}",
                            reason="is a second file of its sample"))
    else:
      members[kind] = place
  return list(found.items())


@functools.lru_cache(maxsize=8)
def _open(path: str) -> IO[bytes]:
  """An open tar, kept open; gzip by its first bytes."""
  file = files.open_regular(path)
  packed = file.read(2) == b"\x1f\x8b"
  file.seek(0)
  return cast(IO[bytes], gzip.GzipFile(fileobj=file)) if packed else file


def _read(sample: Sample, ending: str, limit: int) -> bytes:
  """The bytes of a member, at most `limit`."""
  (offset, size), key = sample.members[ending], sample.key
  if size > limit:
    raise stations.Reject(f"{size} bytes; the limit is {limit}", key)
  try:
    file = _open(sample.path)
    file.seek(offset)
    data = file.read(size)
  except (OSError, EOFError) as e:
    raise stations.Reject(items.one_line(e), key) from e
  if len(data) != size:
    raise stations.Reject(f"is cut off: {len(data)} of {size} bytes", key)
  return data

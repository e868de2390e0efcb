"""Tables of captions: the rows of a .jsonl or a .csv, or why one cannot be read.

A csv is separated by commas, semicolons, tabs or bars, as its header shows, and
names of columns are taken without blanks and capitals. Tables have the encoding
of their byte order mark, and UTF-8 without one.
"""

from collections.abc import Iterable, Iterator
import csv
import io
import os
from typing import Any, TextIO
import unicodedata

from sora_jax import files
from sora_jax.data.sources import items

ENDINGS = (".jsonl", ".csv")
NAMES = ("file", "file_name", "path", "video", "image")
KNOWN = {*NAMES, "caption", "text", "prompt", "captions", "descriptive"}
Row = dict[str, Any]


def rows(path: str) -> Iterator[tuple[int, Row | str]]:
  """(line, row, or why there is none) of a table; line 0 is the file."""
  try:
    with files.open_regular(path) as file:
      name, start = files.encoding_of(file.read(4))
      file.seek(start)
      text = io.TextIOWrapper(file, name, "surrogateescape", newline="")
      lines = _Lines(text)
      yield from (_csv(lines) if path.lower().endswith(".csv") else
                  _jsonl(lines))
  except UnicodeDecodeError:
    yield lines.number + 1, f"is no {name.upper()} from here on"
  except (OSError, ValueError) as e:
    yield 0, getattr(e, "strerror", None) or str(e)


class _Lines:
  """The lines of a file, numbered; csv.Error where one cannot be read."""

  def __init__(self, file: TextIO):
    self.file, self.number = file, 0

  def __iter__(self) -> "_Lines":
    return self

  def __next__(self) -> str:
    line = self.file.readline(items.MAX_LINE)
    if not line:
      raise StopIteration
    self.number += 1
    long = len(line) == items.MAX_LINE and line[-1] not in "\r\n"
    while long and (more := self.file.readline(items.MAX_LINE)):
      if more[-1] in "\r\n":
        break
    if long:
      raise csv.Error(f"unreadable row: more than {items.MAX_LINE} characters")
    try:
      line.encode()
    except UnicodeEncodeError as e:
      raise csv.Error(f"is no UTF-8: byte {ord(line[e.start]) - 0xDC00:#04x} at "
                      f"{e.start} of the line; save the table as UTF-8") from e
    return line


def _jsonl(lines: _Lines) -> Iterator[tuple[int, Row | str]]:
  while True:
    try:
      line = next(lines)
    except StopIteration:
      return
    except csv.Error as e:
      yield lines.number, str(e)
      continue
    if not line.strip():
      continue
    row = items.parse_row(line)
    yield lines.number, "unreadable row" if row is None else {
        **{_plain(k): v for k, v in row.items()}, **row}


def _csv(lines: _Lines) -> Iterator[tuple[int, Row | str]]:
  csv.field_size_limit(items.MAX_LINE)
  try:
    first = next(lines)
  except StopIteration:
    return
  except csv.Error as e:
    yield lines.number, str(e)
    return
  split = lambda d: [_plain(n) for n in next(csv.reader([first], delimiter=d))]
  mark = max(",;\t|", key=lambda d: (  # the first of equal ones
      bool(set(split(d)) & set(NAMES)), len(set(split(d)) & KNOWN)))
  header = split(mark)
  twice = {n for n in header if n in KNOWN and header.count(n) > 1}
  reader = csv.reader(lines, delimiter=mark, skipinitialspace=True)
  while True:
    try:
      fields = next(reader)
    except StopIteration:
      return
    except csv.Error as e:
      text = str(e)
      yield lines.number, (text if text.startswith(("is no", "unreadable")) else
                           f"unreadable row: {text}")
      continue
    if twice:
      yield lines.number, f"its header names {min(twice)} twice"
    elif any(x.strip() for x in fields[len(header):]):
      yield lines.number, (
          f"has {len(fields)} fields where the header has {len(header)}: put "
          f"what holds {mark!r} in quotes")
    elif fields:
      yield lines.number, dict(zip(header, fields))


def _plain(name: str) -> str:
  """'file name' for ' File Name', and 'file_name' for what is known."""
  name = name.strip().lower()
  joined = name.replace(" ", "_").replace("-", "_")
  return joined if joined in KNOWN else name


class Paths:
  """Finds the files that rows name: exactly, or as nothing else could be meant.

  A name is relative to its table or absolute. Where there is no such file,
  blanks around it are dropped, backslashes of Windows are slashes, composed and
  decomposed letters are the same, and links are followed.
  """

  def __init__(self, root: str, found: dict[str, str]):
    """root: the folder; found: path -> why it is refused, "" where it is not."""
    self.root, self.real = os.path.abspath(root), os.path.realpath(root)
    self.exact = {os.path.abspath(path): path for path in found}
    self.reasons = found
    self.composed: dict[str, list[str]] = {}
    for full, path in self.exact.items():
      self.composed.setdefault(_composed(full), []).append(path)

  def find(self, folder: str, row: Row) -> str:
    """The path of the file that a row of a table in a folder names.

    Raises:
      ValueError: none, or one outside the folder; the message is the reason.
    """
    name = items.first(row, NAMES)
    if not isinstance(name, str):
      raise ValueError("names no file")
    names = dict.fromkeys((name, name.strip(), name.strip().replace("\\", "/")))
    full = [os.path.normpath(os.path.join(os.path.abspath(folder), text))
            for text in names]
    inside = [path for path in full if is_below(path, self.root)]
    found = self._look_up(inside)
    if not found and "\0" not in name:
      real = [path for path in map(os.path.realpath, full)
              if is_below(path, self.real)]
      inside += real
      found = self._look_up(os.path.join(self.root, os.path.relpath(
          path, self.real)) for path in real)
    if not found:
      raise ValueError("no such file" if inside else
                       "names a file outside the folder")
    if self.reasons[found]:
      raise ValueError(self.reasons[found])
    return found

  def _look_up(self, paths: Iterable[str]) -> str | None:
    for path in paths:
      if path in self.exact:
        return self.exact[path]
      near = self.composed.get(_composed(path), [])
      if len(near) > 1:
        raise ValueError(f"names {len(near)} files, whose letters differ in how "
                         "they are composed")
      if near:
        return near[0]
    return None


def is_below(path: str, root: str) -> bool:
  """Whether a path lies in a folder, by the names alone."""
  return os.path.commonpath([path, root]) == root


def _composed(path: str) -> str:
  return unicodedata.normalize("NFC", path)

"""Files that are whole or not there, and the text and JSON in them.

What comes from outside is opened, decoded and parsed here: only regular files,
text of a known encoding, JSON of a bounded size and depth.

Every writer of the package uses `atomic` or `atomic_path`: a file is written
beside its final name and renamed, so that a crash or a full disk leaves the old
one as it was. `atomic` leaves nothing else either, where the file system knows
files without a name.
"""

import codecs
from collections.abc import Callable, Iterable, Iterator
import contextlib
import errno
import io
import json
import os
import re
import secrets
import shutil
import stat
from typing import Any, BinaryIO

MAX_TEXT = 2 ** 26  # bytes of a text that is read whole
MAX_JSON = 2 ** 24  # bytes of a JSON file
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}  # errors of a full disk
MAX_DEPTH = 64  # brackets within each other in JSON
# A text that begins so has this encoding; without one it is UTF-8.
BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF32_LE, "utf-32-le"),
        (codecs.BOM_UTF32_BE, "utf-32-be"), (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"))
# gs://.. and file://.., also as a source "WEIGHT*KIND:..".
ADDRESS = re.compile(r"([\d.]+\*)?(\w+:)?[A-Za-z][\w+.-]+://")
# A string, which may not end, or a bracket.
BRACKETS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[{\]}]', re.DOTALL)


def refuse_address(path: object, name: str = "") -> None:
  """Refuses a path in a bucket or on the web, gs:// and all others.

  Args:
    path: a path, or a source such as "2*folder:DIR".
    name: of what it was given for, for the message.

  Raises:
    ValueError: it is an address.
  """
  if ADDRESS.match(str(path)):
    raise ValueError(f"{name}{path} is an address, and only paths of a file "
                     "system are read and written: copy the files here, or mount "
                     "the bucket and give the folder")


@contextlib.contextmanager
def full_disk_named(path: str | os.PathLike) -> Iterator[None]:
  """Names the file in the error of a full disk, which names none."""
  try:
    yield
  except OSError as e:
    if e.errno in FULL and e.filename is None:
      e.filename = os.fspath(path)
    raise


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[str]:
  """A path to write a file to, which is renamed to `path` at the end.

  Whatever fails, a full disk too, leaves nothing behind and the old file, if
  there was one, as it was.
  """
  with full_disk_named(path):
    temporary = _new_file(os.fspath(path))
    try:
      yield temporary
      os.replace(temporary, path)
    except BaseException:
      with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)
      raise


def _new_file(path: str) -> str:
  """The name of a new, empty file beside `path`.

  The name is drawn and the file is made, so that nobody can have put a link
  there to write through.
  """
  flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
  while True:
    temporary = f"{path}.{secrets.token_hex(4)}.tmp"
    with contextlib.suppress(FileExistsError):
      os.close(os.open(temporary, flags, 0o666))
      return temporary


@contextlib.contextmanager
def atomic(path: str | os.PathLike) -> Iterator[BinaryIO]:
  """A new file to write, as `atomic_path`.

  Where the file system can, it has no name before it is whole: of a process that
  is killed nothing is left.
  """
  path = os.fspath(path)
  try:
    nameless = os.open(os.path.dirname(path) or ".", os.O_RDWR | os.O_CLOEXEC
                       | getattr(os, "O_TMPFILE", os.O_EXCL), 0o666)
  except OSError:
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
      yield file
    return
  with full_disk_named(path), os.fdopen(nameless, "w+b") as file:
    yield file
    file.flush()
    try:
      temporary = _name(file.fileno(), path)
    except OSError:  # of a system that gives no name to what has none
      file.seek(0)
      with atomic_path(path) as temporary, open(temporary, "wb") as named:
        shutil.copyfileobj(file, named)
      return
    try:
      os.replace(temporary, path)
    except BaseException:
      os.unlink(temporary)
      raise


def _name(file: int, path: str) -> str:
  """Gives a file without a name one beside `path`, and returns it."""
  while True:
    temporary = f"{path}.{secrets.token_hex(4)}.tmp"
    with contextlib.suppress(FileExistsError):
      # With src_dir_fd Python follows the link that /proc has in its place.
      os.link(f"/proc/self/fd/{file}", temporary, src_dir_fd=file)
      return temporary


def write_bytes(path: str | os.PathLike, data: bytes) -> None:
  """Writes a whole file."""
  with atomic(path) as file:
    file.write(data)


def write_text(path: str | os.PathLike, text: str) -> None:
  """Writes a whole file, UTF-8."""
  write_bytes(path, text.encode())


def write_json(path: str | os.PathLike, value: Any, indent: int = 1) -> None:
  """Writes indented JSON.

  Raises:
    ValueError: NaN or infinity, which JSON lacks.
  """
  write_text(path, json.dumps(value, indent=indent, ensure_ascii=False,
                              allow_nan=False) + "\n")


def write_json_lines(path: str | os.PathLike, values: Iterable[Any]) -> None:
  """Writes one JSON value a line."""
  write_text(path, "".join(json.dumps(v) + "\n" for v in values))


def open_regular(path: str | os.PathLike) -> io.BufferedReader:
  """Opens a file to read its bytes, and nothing that is no file.

  Raises:
    OSError: it cannot be opened.
    ValueError: a pipe or a device, which could hold a reader for ever.
  """
  flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
  opened = os.open(path, flags)
  if not stat.S_ISREG(os.fstat(opened).st_mode):
    os.close(opened)
    raise ValueError("is no regular file")
  return os.fdopen(opened, "rb")


def encoding_of(head: bytes) -> tuple[str, int]:
  """(encoding, bytes of its mark) of a text that begins with `head`."""
  return next(((name, len(mark)) for mark, name in BOMS
               if head.startswith(mark)), ("utf-8", 0))


def decode_text(data: bytes) -> str:
  """A text by its byte order mark, and UTF-8 without one.

  Raises:
    ValueError: another encoding; the message says where that shows.
  """
  name, start = encoding_of(data)
  try:
    text = data[start:].decode(name)
  except UnicodeDecodeError as e:
    raise ValueError(
        f"is no {name.upper()}: byte {e.object[e.start]:#04x} at "
        f"{e.start + start}; save it as UTF-8") from e
  check_text(text)
  return text


def check_text(text: str) -> None:
  """Refuses what no text holds.

  Raises:
    ValueError: NUL, as of UTF-16 without a mark, or half a character.
  """
  if "\0" in text:
    raise ValueError("holds NUL, as UTF-16 without a byte order mark does; save "
                     "it as UTF-8")
  if half := re.search("[\ud800-\udfff]", text):
    raise ValueError(f"holds half a character, U+{ord(half[0]):04X}; save it as "
                     "UTF-8")


def read_bytes(path: str | os.PathLike, most: int = MAX_TEXT) -> bytes:
  """The bytes of a file from outside.

  Raises:
    OSError: it cannot be opened.
    ValueError: no regular file, or more than `most` bytes.
  """
  with open_regular(path) as file:
    data = file.read(most + 1)
  if len(data) > most:
    raise ValueError(f"has more than {most} bytes")
  return data


def read_text(path: str | os.PathLike) -> str:
  """The text of a file from outside.

  Raises:
    OSError: it cannot be opened.
    ValueError: as `read_bytes`, or another encoding; the message names the file.
  """
  try:
    return decode_text(read_bytes(path))
  except ValueError as e:
    raise ValueError(f"{path} {e}") from e


def parse_json(text: str | bytes, most: int = MAX_TEXT,
               constant: Callable[[str], Any] | None = None) -> Any:
  """The value of a JSON text from outside.

  Args:
    text: str, or bytes in UTF-8 or with a byte order mark.
    most: of its characters.
    constant: gives the value of NaN, Infinity and -Infinity, which are refused
      by default.

  Raises:
    ValueError: no JSON, too large, or nested deeper than MAX_DEPTH.
  """
  if isinstance(text, bytes):
    try:
      text = decode_text(text)
    except ValueError as e:
      raise ValueError(f"is no JSON: it {e}") from e
  if len(text) > most:
    raise ValueError(f"is JSON of {len(text)} characters; the limit is {most}")
  if text.count("[") + text.count("{") > MAX_DEPTH:
    _check_depth(text)
  try:
    return json.loads(text, parse_constant=constant or _refuse)
  except (ValueError, RecursionError) as e:
    raise ValueError(f"is no JSON: {e}") from e


def _check_depth(text: str) -> None:
  depth = 0
  for found in BRACKETS.finditer(text):
    depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(found[0], 0)
    if depth > MAX_DEPTH:
      raise ValueError(f"is JSON nested more than {MAX_DEPTH} deep")


def _refuse(name: str) -> None:
  raise ValueError(f"{name} is no number of JSON")


def read_json(path: str | os.PathLike) -> dict[str, Any]:
  """The JSON object of a file.

  Raises:
    ValueError: the file is missing or holds something else; the message names
      it.
  """
  try:
    value = parse_json(read_bytes(path, MAX_JSON), constant=float)
  except FileNotFoundError:
    raise ValueError(f"{path} is missing") from None
  except ValueError as e:
    raise ValueError(f"{path} {e}") from e
  if not isinstance(value, dict):
    raise ValueError(f"{path} is no JSON object but a {type(value).__name__}")
  return value


def find_json(path: str | os.PathLike) -> dict[str, Any] | None:
  """The JSON object of a file, None where there is no file.

  Raises:
    ValueError: the file holds something else.
  """
  return read_json(path) if os.path.isfile(path) else None

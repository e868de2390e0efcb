"""What sources share: endings and limits of files, captions, fingerprints."""

from collections.abc import Iterable, Sequence
import hashlib
import os
import re
from typing import Any
import urllib.parse

from sora_jax import files

MAX_FILE = 2 ** 28  # bytes of a file that is kept as it is
MAX_CAPTION = 8192  # characters
MAX_LINE = 2 ** 20  # characters of a row of a table, bytes of a sidecar
VIDEOS = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".gif")
IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
SIDECARS = (".txt", ".json")  # captions beside a file


def parse_row(text: str) -> dict[str, Any] | None:
  """A JSON object; None where the text is none. NaN and infinity become null."""
  try:
    row = files.parse_json(text, constant=lambda name: None)
  except ValueError:
    return None
  return row if isinstance(row, dict) else None


def row_captions(row: dict[str, Any]) -> tuple[str, ...]:
  """The captions that a row of a table or a JSON sidecar holds."""
  captions = row.get("captions")
  if not isinstance(captions, list):
    captions = [first(row, ("caption", "text", "prompt")),
                row.get("descriptive")]
  return clean(captions)


def sidecar_captions(kind: str, data: bytes) -> tuple[str, ...]:
  """The captions of a sidecar: a line each, or an object like a row.

  Raises:
    ValueError: another encoding than UTF-8, or that of a byte order mark.
  """
  text = files.decode_text(data)
  if kind == ".txt":
    return clean(re.split(r"\r\n|\n|\r", text))
  return row_captions(parse_row(text) or {})


def parse_query(rest: str, known: Sequence[str]) -> tuple[str, dict[str, str]]:
  """'DIR?split=train' to ('DIR', {'split': 'train'}).

  Raises:
    ValueError: an option that is not known.
  """
  name, _, query = rest.partition("?")
  options = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
  for key in options:
    if key not in known:
      raise ValueError(f"{rest}: there is no option {key!r}; there are "
                       f"{', '.join(known)}")
  return name, options


def one_line(error: Exception) -> str:
  """What an error says, on one line of at most 200 characters."""
  return " ".join(str(error).split())[:200]


def first(row: dict[str, Any], keys: Iterable[str]) -> Any:
  """The first value of `keys` that is there and not empty, or None."""
  return next((row[k] for k in keys if row.get(k)), None)


def clean(captions: Iterable[Any]) -> tuple[str, ...]:
  """Captions of one line each, without empty ones and what is no text.

  Raises:
    ValueError: NUL or half a character in one of them.
  """
  texts = [" ".join(c.split()) for c in captions if isinstance(c, str)]
  for text in texts:
    files.check_text(text)
  return tuple(t for t in texts if t)


def fingerprint(paths: Iterable[str]) -> str:
  """A hash of names, sizes and times of files."""
  digest = hashlib.blake2b(digest_size=16)
  for path in paths:
    try:
      info = os.stat(path)
      about: tuple[int, int] | None = (info.st_size, info.st_mtime_ns)
    except OSError:
      about = None
    digest.update(f"{os.fsencode(path)!r} {about}\n".encode())
  return digest.hexdigest()


def ending(name: str) -> str:
  """'.mp4' for 'a/B.MP4'."""
  return os.path.splitext(name)[1].lower()

"""runs.jsonl: one line a run, each with the digest of what it says.

A line that was edited by hand has another digest and is refused. Lines of
different data or revisions of the code are not mixed: the difference is told.
"""

from collections.abc import Sequence
import hashlib
import json
import os
import pathlib
from typing import Any

from sora_jax import files

RUNS = "runs.jsonl"
ALIKE = ("tier", "data", "revision")  # what the lines of a ladder share
STATUS = ("done", "diverged", "cut")
Line = dict[str, Any]


def digest(value: Any) -> str:
  """sha256 of a value as JSON, its key `digest` left out."""
  if isinstance(value, dict):
    value = {k: v for k, v in value.items() if k != "digest"}
  return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def sealed(value: Line) -> Line:
  """A line, or another result, with its digest."""
  value = json.loads(json.dumps(value))
  return value | {"digest": digest(value)}


def check(value: Line, where: str) -> Line:
  """The value itself, if it says what its digest says.

  Raises:
    ValueError: it was edited.
  """
  if value.get("digest") != digest(value):
    raise ValueError(f"{where} was edited by hand: its digest is "
                     f"{str(value.get('digest'))[:12]} and its text gives "
                     f"{digest(value)[:12]}; delete it and run it again")
  return value


def read(folder: str | os.PathLike) -> list[Line]:
  """The lines of a folder of results, or of a file; [] if there is none.

  Raises:
    ValueError: a line that was edited, is cut short or lacks what a line has.
  """
  path = pathlib.Path(folder)
  path = path / RUNS if path.suffix != ".jsonl" else path
  if not path.exists():
    return []
  found = []
  for i, text in enumerate(path.read_text("utf-8").splitlines(), 1):
    where = f"{path} line {i}"
    try:
      line = json.loads(text)
    except ValueError as e:
      raise ValueError(f"{where} is no JSON: {e}; delete it and run it again"
                       ) from e
    if not isinstance(line, dict) or line.get("status") not in STATUS:
      raise ValueError(f"{where} is no run: its status is none of "
                       f"{', '.join(STATUS)}")
    found.append(check(line, where))
  return found


def add(folder: str | os.PathLike, line: Line) -> Line:
  """Appends a line, sealed.

  Raises:
    ValueError: it is of other data or another revision than those before it.
  """
  before = read(folder)
  one_kind([*before, line])
  line = sealed(line)
  text = "".join(json.dumps(one) + "\n" for one in [*before, line])
  files.write_bytes(pathlib.Path(folder) / RUNS, text.encode())
  return line


def one_kind(lines: Sequence[Line]) -> None:
  """Refuses lines that do not belong together.

  Raises:
    ValueError: with the difference.
  """
  for key in ALIKE:
    for line in lines[1:]:
      if line[key] != lines[0][key]:
        raise ValueError(
            f"runs of different {key} are mixed: {lines[0]['name']} has "
            f"{lines[0][key]} and {line['name']} has {line[key]}; use another "
            "--out, or add the others with --own to draw them apart")


def usable(lines: Sequence[Line]) -> tuple[list[Line], list[str]]:
  """The runs that may enter a fit, and what is left out with the reason."""
  good = [line for line in lines if line["status"] == "done"]
  return good, [f"{line['name']}: {line['status']}" + (
      f", {line['why']}" if line.get("why") else "")
      for line in lines if line["status"] != "done"]

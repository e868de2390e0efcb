"""The results of a suite as JSON and as Markdown."""

from collections.abc import Iterable, Mapping, Sequence
import pathlib
from typing import Any

from sora_jax import files


def write(out: pathlib.Path, result: Mapping[str, Any], text: str) -> None:
  """Writes results.json and tables.md to a folder."""
  files.write_json(out / "results.json", result)
  files.write_text(out / "tables.md", text)


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
  """A Markdown table with its columns aligned, readable as plain text too."""
  rows = [[str(c) for c in row] for row in (header, *rows)]
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(
      row, widths, strict=True)) + " |" for row in rows]
  lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
  return "\n".join(lines) + "\n"


def percent(value: float | None) -> str:
  """'93.5' for 0.935; '-' for None."""
  return "-" if value is None else f"{100 * value:.1f}"

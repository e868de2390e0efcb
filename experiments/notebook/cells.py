"""Runs the cells of colab/first_video.py one after the other, as a notebook does.

  python cells.py NOTEBOOK.py [NAME=VALUE ..]

NAME=VALUE replaces what a form has. For each cell its seconds are printed, and
what it shows: the kind of HTML of its last value.
"""

import ast
import pathlib
import re
import sys
import time
from typing import Any


def cells_of(text: str) -> list[str]:
  """The code cells of a text in the percent format."""
  _, *parts = re.split(r"^# %%( \[markdown\])?\n", text, flags=re.MULTILINE)
  return [body for mark, body in zip(parts[::2], parts[1::2]) if not mark]


def filled(cell: str, forms: dict[str, str]) -> str:
  """A cell with the values of its form replaced."""
  for name, value in forms.items():
    cell = re.sub(rf"^{name} = .*(?=  # @param)", lambda _, n=name, v=value:
                  f"{n} = {v!r}", cell, flags=re.MULTILINE)
  return cell


def run(cell: str, names: dict[str, Any]) -> Any:
  """Runs a cell; the value of its last line, None where that is none."""
  *body, last = ast.parse(cell).body
  if not isinstance(last, ast.Expr):
    body, last = [*body, last], None
  exec(compile(ast.Module(body, []), "cell", "exec"), names)
  return last and eval(compile(ast.Expression(last.value), "cell", "eval"), names)


def main(path: str, *forms: str) -> None:
  """Runs all cells."""
  given = dict(form.split("=", 1) for form in forms)
  names: dict[str, Any] = {}
  for i, cell in enumerate(cells_of(pathlib.Path(path).read_text("utf-8")), 1):
    start = time.monotonic()
    value = run(filled(cell, given), names)
    html = value._repr_html_() if hasattr(value, "_repr_html_") else ""
    shown = re.match(r"<(\w+)( width=\"\d+\")?", html)
    print(f"cell {i:2}: {time.monotonic() - start:6.1f} s"
          + (f", shows <{shown[1]}{shown[2] or ''}>: {value!r}".split("\n")[0]
             if shown else ""), flush=True)


if __name__ == "__main__":
  main(*sys.argv[1:])

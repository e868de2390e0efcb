"""Writes NAME.ipynb beside NAME.py, its text in jupytext's percent format.

  python colab/pair.py

Change the text, which a diff shows well, and run this; jupytext does the same.
"""

import json
import pathlib
import re

HERE = pathlib.Path(__file__).parent


def cells_of(text: str) -> list[tuple[str, str]]:
  """("markdown" or "code", source) of each cell of a text."""
  _, *parts = re.split(r"^# %%( \[markdown\])?\n", text, flags=re.MULTILINE)
  found = []
  for mark, body in zip(parts[::2], parts[1::2]):
    if mark:
      body = re.sub(r"^# ?", "", body, flags=re.MULTILINE)
    found.append(("markdown" if mark else "code", body.strip("\n")))
  return found


def notebook_of(text: str) -> str:
  """The JSON of a notebook, without outputs."""
  cells = []
  for i, (kind, source) in enumerate(cells_of(text)):
    cell = {"cell_type": kind, "id": f"cell-{i}", "metadata": {},
            "source": source.splitlines(keepends=True)}
    if kind == "code":
      cell |= {"execution_count": None, "outputs": []}
    cells.append(cell)
  return json.dumps({"cells": cells, "metadata": {
      "jupytext": {"formats": "ipynb,py:percent"},
      "kernelspec": {"display_name": "Python 3", "language": "python",
                     "name": "python3"}}, "nbformat": 4,
                     "nbformat_minor": 5}, indent=1) + "\n"


if __name__ == "__main__":
  for path in HERE.glob("*.py"):
    if path.name != pathlib.Path(__file__).name:
      path.with_suffix(".ipynb").write_text(
          notebook_of(path.read_text("utf-8")), "utf-8")

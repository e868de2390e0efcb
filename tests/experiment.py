"""Loads a script of experiments/, whose cases the suite runs a sample of."""

import importlib.util
import pathlib
import sys

ROOT = pathlib.Path(__file__).parent.parent


def load(name):
  """The module experiments/NAME.py, which finds its neighbours as a script does."""
  path = ROOT / "experiments" / f"{name}.py"
  spec = importlib.util.spec_from_file_location(path.stem, path)
  module = importlib.util.module_from_spec(spec)
  sys.path.append(str(path.parent))
  try:
    spec.loader.exec_module(module)
  finally:  # The neighbours hide no package of the same name from other tests.
    sys.path.remove(str(path.parent))
  return module

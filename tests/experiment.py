"""Loads a script of experiments/, whose cases the suite runs a sample of."""

import importlib.util
import pathlib

ROOT = pathlib.Path(__file__).parent.parent


def load(name):
  """The module experiments/NAME.py."""
  spec = importlib.util.spec_from_file_location(
      pathlib.Path(name).name, ROOT / "experiments" / f"{name}.py")
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module

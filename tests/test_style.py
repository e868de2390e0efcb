"""The code keeps to the rules of ruff.toml."""

import pathlib
import subprocess
import sys


def test_ruff_has_nothing_to_say():
  root = pathlib.Path(__file__).parent.parent
  done = subprocess.run(
      [sys.executable, "-m", "ruff", "check", "--output-format=concise", root],
      capture_output=True, text=True, check=False)
  assert done.returncode == 0, done.stdout + done.stderr

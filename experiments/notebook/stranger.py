"""Runs colab/first_video.py where a stranger would: with nothing but its installs.

  python experiments/notebook/stranger.py

A new environment gets jax alone, as a runtime of Colab has it, an older one than
the newest. From an empty folder the cells then install a wheel of this checkout
and make five videos. It holds if all cells run, jax and numpy are what they were,
and every video plays.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import venv

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[1]
JAX = "jax==0.10.0"
VIDEOS = ("video", "animated", "extended", "looped", "edited")


def versions(python: pathlib.Path) -> dict[str, str]:
  """The packages of an environment."""
  found = subprocess.run([python, "-m", "pip", "list", "--format=json"],
                         capture_output=True, text=True, check=True)
  return {row["name"]: row["version"] for row in json.loads(found.stdout)}


def main() -> int:
  with tempfile.TemporaryDirectory() as at:
    folder = pathlib.Path(at)
    checkout, empty = folder / "checkout", folder / "empty"
    empty.mkdir()
    shutil.copytree(ROOT, checkout, ignore=shutil.ignore_patterns(
        ".git", "*.egg-info", "build", ".ruff_cache", "__pycache__"))
    venv.create(folder / "env", with_pip=True)
    python = folder / "env" / "bin" / "python"
    pip = lambda *argv: subprocess.run([python, "-m", "pip", "-q", *argv],
                                       check=True)
    pip("install", JAX)
    pip("wheel", "--no-deps", f"--wheel-dir={folder}", str(checkout))
    wheel, = folder.glob("*.whl")
    before = versions(python)
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [python, HERE / "cells.py", ROOT / "colab" / "first_video.py",
         f"source={wheel}"], cwd=empty, env=env, capture_output=True, text=True,
        check=False)
    print(done.stdout + done.stderr[-2000:] * bool(done.returncode), end="")
    after = versions(python)
    kept = {name: after.get(name) for name in before if name != "pip"}
    same = kept == {name: before[name] for name in kept}
    there = all((empty / f"{name}.mp4").is_file() for name in VIDEOS)
    print(f"{len(before)} packages before, {len(after)} after; of those before, "
          f"jax {after['jax']} among them, "
          f"{'none' if same else 'some'} changed")
    held = not done.returncode and same and there
    print("held" if held else "DID NOT HOLD")
    return 0 if held else 1


if __name__ == "__main__":
  sys.exit(main())

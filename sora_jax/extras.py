"""The packages of every extra, and the line that installs them here.

setup.py reads the table. The line names the packages themselves, not
`sora_jax[EXTRA]`: so it is right for a checkout, a wheel and a bare path alike,
and it names the interpreter that is running.
"""

import importlib.util
import os
import shlex
import shutil
import sys

EXTRAS = {
    "tpu": ["jax[tpu]"],
    "cuda": ["jax[cuda13]"],
    "data": ["scenedetect-headless"],
    "beam": ["apache-beam"],
    "log": ["tensorboardX"],
    "text": ["tokenizers", "ftfy"],
    "hub": ["huggingface_hub"],
    "worlds": ["craftax", "pymunk"],
    "dev": ["pytest", "pytest-timeout", "pytest-xdist", "hypothesis", "ruff",
            "mypy", "scenedetect-headless", "diffusers", "transformers",
            "accelerate", "tokenizers", "ftfy", "torch==2.13.0", "craftax",
            "pymunk"],
}


def install(extra: str) -> str:
  """The command line that installs an extra for the Python that is running."""
  packages = shlex.join(EXTRAS[extra])
  named = shutil.which("python")
  same = named and os.path.abspath(named) == os.path.abspath(sys.executable)
  python = "python" if same else shlex.quote(sys.executable)
  if importlib.util.find_spec("pip") is None:  # an environment of uv
    return f"uv pip install --python {python} {packages}"
  return f"{python} -m pip install {packages}"

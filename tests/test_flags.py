"""The lists of compiler flags that the launch scripts set."""

import importlib.util
import os
import pathlib
import shlex
import subprocess
import sys

import pytest

from sora_jax.mesh import chips

PODS = pathlib.Path(__file__).parents[1] / "experiments" / "pods"


def tried(kind, more=""):
  """(exit code, lines) of what a launch script does before a run."""
  script = (f". {PODS}/flags.sh {kind} && LIBTPU_INIT_ARGS+=' {more}' exec "
            f"{shlex.quote(sys.executable)} {PODS}/try_flags.py {kind}")
  done = subprocess.run(["bash", "-c", script], text=True, capture_output=True,
                        check=False, env=os.environ | {"JAX_PLATFORMS": "cpu"})
  return done.returncode, (done.stdout + done.stderr).splitlines()


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None,
                    reason="the TPU compiler is not installed: pip install "
                           "'sora_jax[tpu]'")
@pytest.mark.parametrize("kind", chips.CHIPS)
def test_the_compiler_here_takes_the_list_of_every_generation(kind):
  assert tried(kind)[0] == 0, tried(kind)
  code, lines = tried(kind, "--xla_tpu_no_such_flag=true")
  assert code == 1 and len(lines) == 1
  assert "refuses the flags" in lines[0] and "no_such_flag" in lines[0]


@pytest.mark.parametrize("kind", chips.CHIPS)
def test_every_generation_has_a_list(kind):
  done = subprocess.run(
      ["bash", "-c", f". {PODS}/flags.sh {kind} && echo $LIBTPU_INIT_ARGS"],
      text=True, capture_output=True, check=True)
  assert done.stdout.startswith("--xla") and not done.stderr


def test_a_generation_without_a_list_is_named():
  done = subprocess.run(["bash", "-c", f". {PODS}/flags.sh v9"], text=True,
                        capture_output=True, check=False)
  assert done.returncode and "v4, v5e, v5p or v6e" in done.stderr

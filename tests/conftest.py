"""What all files of tests share: compiled programs, and small data sets.

Programs are compiled once for all tests and for the processes that they start.
With JAX_COMPILATION_CACHE_DIR set they are kept in that folder, which makes the
next run of the suite faster. The CPU compiler's older emitters take a third of
the time that the newer ones take; XLA_FLAGS= before the command tests with these.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile

QUICK = ("--xla_cpu_use_fusion_emitters=false "
         "--xla_cpu_parallel_codegen_split_count=1")


def _quick() -> str:
  """The flags if this jaxlib takes them: one that it lacks ends a process."""
  tried = subprocess.run([sys.executable, "-c", "import jax; jax.devices('cpu')"],
                         env={**os.environ, "XLA_FLAGS": QUICK},
                         capture_output=True, check=False)
  return QUICK if tried.returncode == 0 else ""


# Read when jax is imported, here and in the processes that tests start. libtpu
# reads the variable too, and knows no flags of the CPU.
if "XLA_FLAGS" not in os.environ:
  os.environ["XLA_FLAGS"] = "" if importlib.util.find_spec("libtpu") else _quick()

import jax  # noqa: E402
import pytest  # noqa: E402

CACHE = "JAX_COMPILATION_CACHE_DIR"
MADE = None if CACHE in os.environ else tempfile.mkdtemp(prefix="sora-jax-")
os.environ.setdefault(CACHE, MADE or "")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")


def pytest_unconfigure():
  """Removes the programs where nobody wants to keep them."""
  if MADE:
    shutil.rmtree(MADE, ignore_errors=True)


def pytest_collection_modifyitems(items):
  """Files with slow tests first, so that the workers end together."""
  slow = {item.path for item in items if item.get_closest_marker("slow")}
  items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="module", autouse=True)
def _compile_quickly(request):
  """Turns the compiler's optimisation off in files marked quick_compile."""
  if not request.node.get_closest_marker("quick_compile"):
    yield
    return
  jax.clear_caches()  # of programs that were compiled otherwise
  jax.config.update("jax_disable_most_optimizations", True)
  os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"  # of processes
  yield
  del os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"]
  jax.config.update("jax_disable_most_optimizations", False)
  jax.clear_caches()


@pytest.fixture(scope="module")
def pixels(tmp_path_factory):
  """A small data set of clips."""
  import toy_data  # imports jax
  return toy_data.pixels(tmp_path_factory.mktemp("data") / "pixels")


@pytest.fixture(scope="module")
def cached(pixels, tmp_path_factory):
  """The same clips as cached latents."""
  import toy_data
  return toy_data.synthetic(pixels, tmp_path_factory.mktemp("latents"))

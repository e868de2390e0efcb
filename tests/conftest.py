"""What all files of tests share: compiled programs, and small data sets.

Programs are compiled once for all tests and for the processes that they start.
With JAX_COMPILATION_CACHE_DIR set they are kept in that folder, which makes the
next run of the suite faster.
"""

import os
import shutil
import tempfile

import jax
import pytest

CACHE = "JAX_COMPILATION_CACHE_DIR"  # read when jax is imported
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
  jax.config.update("jax_disable_most_optimizations", True)
  yield
  jax.config.update("jax_disable_most_optimizations", False)


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

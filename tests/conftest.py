"""Data sets that several files of tests read, one for each file."""

import pytest

import toy_data


@pytest.fixture(scope="module")
def pixels(tmp_path_factory):
  """A small data set of clips."""
  return toy_data.pixels(tmp_path_factory.mktemp("data") / "pixels")


@pytest.fixture(scope="module")
def cached(pixels, tmp_path_factory):
  """The same clips as cached latents."""
  return toy_data.synthetic(pixels, tmp_path_factory.mktemp("latents"))

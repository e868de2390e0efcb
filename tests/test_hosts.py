"""Which rows of a batch a host reads, on slices as they are."""

import importlib.util
import math
import os
import pathlib
import subprocess
import sys

import layouts
import numpy as np
import pytest

from configs import dit as dit_config
from sora_jax import contracts
from sora_jax import mesh as mesh_lib

FOLDER = pathlib.Path(__file__).parent
PODS = tuple(dit_config.PODS)


def axes_of(variant):
  """The mesh of a config but for its axis data."""
  return {k: n for k, n in dit_config.PODS[variant]["mesh"].items()
          if k != "data"}


def shares(name, **axes):
  """What each host of a slice reads, in the order of the hosts."""
  mesh = mesh_lib.make_mesh(layouts.devices(name), **axes)
  hosts = sorted({d.process_index for d in mesh.devices.flat})
  return mesh, [mesh_lib.host(mesh, p) for p in hosts]


def test_a_host_is_a_block_of_the_torus():
  _, found = shares("v5p:4x4x4", data=64)
  assert len(found) == 16
  assert found[0] == contracts.Share((0, 4, 16, 20), 64)
  assert found[0].rows(128) == [0, 1, 8, 9, 32, 33, 40, 41]


@pytest.mark.parametrize("variant, name", [
    (variant, name) for variant in PODS for name in layouts.NAMES
    if len(layouts.devices(name)) % math.prod(axes_of(variant).values()) == 0])
def test_every_host_has_the_rows_of_its_chips(variant, name):
  """On the mesh of each config, spread over the slice by its axis data."""
  mesh, found = shares(name, **axes_of(variant))
  count = mesh_lib.row_shares(mesh)
  assert {i for share in found for i in share.runs} == set(range(count))
  grid = mesh.devices.reshape(count, -1)
  for process, share in enumerate(found):
    assert share.count == count
    held = {int(row) for row, column in np.argwhere(np.vectorize(
        lambda d: d.process_index)(grid) == process)}
    assert set(share.runs) == held


def test_a_process_outside_the_mesh_is_refused():
  mesh = mesh_lib.make_mesh(layouts.devices("v5p:2x2x4"))
  with pytest.raises(ValueError, match="process 4 has no device"):
    mesh_lib.host(mesh, 4)


@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None,
                    reason="the TPU compiler is not installed: pip install "
                           "'sora_jax[tpu]'")
def test_the_layouts_are_those_that_libtpu_describes():
  subprocess.run([sys.executable, FOLDER / "layouts.py", "--compare"],
                 check=True, env=os.environ | {"JAX_PLATFORMS": "cpu"})

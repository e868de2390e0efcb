"""What holds however the package was installed: configs, extras, no TPU."""

import importlib.util
import os
import pathlib
import re
import runpy
import shutil
import subprocess
import sys
import types

import pytest

from sora_jax import extras
from sora_jax import main
from sora_jax.tasks import config

ROOT = pathlib.Path(__file__).parent.parent


@pytest.mark.parametrize("name", ["configs/dit.py:tiny", "configs/vae.py:tiny",
                                  "configs/vae.py"])
def test_a_checkout_finds_its_configs_from_any_folder(tmp_path, monkeypatch,
                                                      name):
  monkeypatch.chdir(tmp_path)
  assert config.resolve(name) == f"{ROOT}/{name}"
  (tmp_path / "configs").mkdir()
  (tmp_path / name.partition(":")[0]).write_text("")  # the user's own is first
  assert config.resolve(name) == name


def test_a_wheel_takes_no_configs_of_others(tmp_path, monkeypatch):
  """configs/ in site-packages is not ours; share/ is."""
  monkeypatch.chdir(tmp_path)
  ours = tmp_path / "site" / "sora_jax" / "tasks"
  ours.mkdir(parents=True)
  monkeypatch.setattr(config, "__file__", str(ours / "config.py"))
  monkeypatch.setattr(sys, "prefix", str(tmp_path / "prefix"))
  theirs = tmp_path / "site" / "configs"
  theirs.mkdir()
  (theirs / "dit.py").write_text("")
  with pytest.raises(ValueError, match="no config file configs/dit.py, here or"):
    config.resolve("configs/dit.py:tiny")
  for share in ("site", "prefix"):
    shared = tmp_path / share / "share" / "sora_jax" / "configs"
    shared.mkdir(parents=True)
    (shared / "dit.py").write_text("")
    assert config.resolve("configs/dit.py:tiny") == f"{shared}/dit.py:tiny"


@pytest.mark.parametrize("extra", extras.EXTRAS)
def test_an_extra_is_installed_for_the_python_that_runs(extra, monkeypatch):
  command = extras.install(extra)
  python, arguments = command.split(" -m pip install ")
  assert os.path.abspath(shutil.which(python)) == os.path.abspath(sys.executable)
  for package in extras.EXTRAS[extra]:
    assert package in arguments and "sora_jax" not in arguments
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  assert extras.install(extra).startswith("uv pip install --python ")


def test_a_python_with_a_blank_in_its_path_is_quoted(monkeypatch):
  monkeypatch.setattr(sys, "executable", "/my tools/python3")
  assert extras.install("text") == (
      "'/my tools/python3' -m pip install tokenizers ftfy")


def test_no_message_asks_an_index_for_this_package():
  """It may have been installed from a checkout, a wheel or an address."""
  asked = [p for p in (ROOT / "sora_jax").rglob("*.py")
           if re.search(r"install.*sora_jax\[", p.read_text("utf-8"))]
  assert not asked


def test_setup_has_the_same_extras_and_version(monkeypatch):
  monkeypatch.chdir(ROOT)
  found = {}
  monkeypatch.setitem(sys.modules, "setuptools", types.SimpleNamespace(
      setup=found.update, find_packages=lambda **_: []))
  runpy.run_path("setup.py")
  assert found["extras_require"] == extras.EXTRAS
  assert re.fullmatch(r"\d+\.\d+\.\d+", found["version"])


@pytest.fixture
def machine(monkeypatch, tmp_path):
  """Says which files a machine has, and that libtpu is installed."""
  def of(*paths):
    monkeypatch.setattr(main.glob, "glob", lambda pattern: [
        str(p) for p in paths if pathlib.PurePath(p).match(pattern)
        or "/sys" in pattern and p.name == "vendor"])

  for name in [n for n in os.environ if n.startswith("TPU_")]:
    monkeypatch.delenv(name)
  monkeypatch.setattr(main.importlib.util, "find_spec", lambda name: name)
  return of


def test_libtpu_is_quiet_only_where_no_chip_is(machine, monkeypatch, tmp_path):
  machine()
  assert main.without_tpu()["TPU_WORKER_HOSTNAMES"] == "localhost"
  vendor = tmp_path / "vendor"
  machine(vendor)
  vendor.write_text("0x8086\n")
  assert main.without_tpu()
  vendor.write_text("0x1ae0\n")
  assert main.without_tpu() == {}
  for chip in ("/dev/accel0", "/dev/vfio/0"):
    machine(pathlib.Path(chip))
    assert main.without_tpu() == {}
  machine()
  monkeypatch.setenv("TPU_SKIP_MDS_QUERY", "1")
  monkeypatch.setenv("TPU_LIBRARY_PATH", "/libtpu.so")
  assert main.without_tpu()
  with monkeypatch.context() as m:
    m.setenv("TPU_NAME", "mine")
    assert main.without_tpu() == {}
  monkeypatch.setattr(main.importlib.util, "find_spec", lambda name: None)
  assert main.without_tpu() == {}


@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None,
                    reason="libtpu is not installed")
def test_a_command_prints_nothing_of_libtpu(tmp_path):
  done = subprocess.run(
      [sys.executable, "-m", "sora_jax", "export", "--model=tiny",
       f"--out={tmp_path}/x"], capture_output=True, text=True, check=True)
  assert done.stderr == ""

"""The verb that plans for absent TPUs."""

import importlib.util
import json
import math
import os
import pathlib
import subprocess
import sys

import layouts
import pytest

from configs import dit as dit_config
from sora_jax import main
from sora_jax import mesh as mesh_lib
from sora_jax.aot import compile
from sora_jax.aot import report
from sora_jax.aot import topology
from sora_jax.cli import plan
from sora_jax.tasks import config as configs
from sora_jax.tasks import programs

ROOT = pathlib.Path(__file__).parent.parent
needs_libtpu = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None,
    reason="the TPU compiler is not installed: pip install 'sora_jax[tpu]'")


def test_meshes_are_proposed_gentle_ones_first():
  mesh = {"data": 4, "fsdp": 4, "context": 1, "tensor": 1}
  found = list(compile.candidates(16, 1, mesh))
  assert found[0] == {"data": 1, "fsdp": 16, "context": 1, "tensor": 1}
  assert found[1] == {"data": 1, "fsdp": 8, "context": 2, "tensor": 1}
  assert mesh not in found
  assert all(math.prod(axes.values()) == 16 for axes in found)
  two = list(compile.candidates(16, 2, mesh))
  assert {axes["data"] for axes in two} == {2}


@pytest.mark.parametrize("text", ("fsdp=0", "fsdp", "rows=2", "data=-2"))
def test_a_mesh_that_is_none_is_refused(text):
  with pytest.raises(ValueError, match="give axes such as"):
    plan.parse_mesh(text)


TINY = ("--config=configs/dit.py:test", "--config.optimizer.name=adamw",
        "--vae=configs/vae.py:test", "--topology=v5e:2x2")
MISTAKES = {
    "a topology": (("--topology=v9:2x2",), "no topology 'v9:2x2'"),
    "no topology": (("--topology=",), "--topology=KIND:AxBxC is needed"),
    "a number of chips": (("--topology=v5p-12",), "give the shape of the slice"),
    "no shape": (("--topology=v5e",), "give KIND:AxB"),
    "a size": (("--size=wide",), "give WxH"),
}


@pytest.mark.parametrize("args, message", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line(args, message, capsys, monkeypatch):
  monkeypatch.chdir(ROOT)
  assert main.main(["plan", *TINY, *args]) == 2
  error = capsys.readouterr().err
  assert message in error
  assert len(error.splitlines()) == 1


@pytest.mark.skipif(importlib.util.find_spec("libtpu") is not None,
                    reason="the TPU compiler is installed")
def test_without_the_compiler_it_says_what_to_install(capsys, monkeypatch):
  monkeypatch.chdir(ROOT)
  assert main.main(["plan", *TINY]) == 2
  assert "pip install 'jax[tpu]'" in capsys.readouterr().err


def run(tmp_path, *args) -> tuple[dict, str]:
  """The numbers and the print of a plan, in a process of its own."""
  out = tmp_path / "plan.json"
  done = subprocess.run(
      [sys.executable, "-m", "sora_jax", "plan", *TINY, f"--json={out}", *args],
      cwd=ROOT, capture_output=True, text=True, check=False,
      env=os.environ | {"XDG_CACHE_HOME": str(tmp_path)})
  assert done.returncode == 0, done.stderr
  return json.loads(out.read_text()), done.stdout


@needs_libtpu
def test_a_training_step_is_planned_for_a_slice(tmp_path):
  shapes = "--config.data.shapes=((4,64),)"
  found, told = run(tmp_path, shapes)
  bucket, = found["buckets"]
  assert (found["chips"], found["mesh"]["data"]) == (4, 4)
  assert bucket["fits"]
  assert bucket["units"] == 256
  sums = next(c for c in bucket["collectives"] if c["kind"] == "all-reduce")
  assert sums["sent"] >= 2 * 3 / 4 * 4 * found["parameters"]  # the gradients
  assert bucket["memory"]["arguments"] > 16 * found["parameters"]
  assert "projections, nothing was run" in told
  again, _ = run(tmp_path, shapes)
  assert again == found  # with the seconds of the first: kept


@needs_libtpu
def test_a_bucket_that_does_not_fit_is_named_and_a_mesh_found(tmp_path):
  found, told = run(tmp_path, "--config.data.shapes=((4,16),)", "--mesh=data=4",
                    "--config.transformer.ffn=7_000_000")
  assert not found["buckets"][0]["fits"]
  assert found["buckets"][0]["needed"] > found["hbm"]
  assert found["proposal"]["mesh"]["fsdp"] == 4
  assert found["proposal"]["buckets"][0]["needed"] < found["hbm"]
  assert "does not fit: 4 x 16\n" in told
  assert "a mesh on which it fits: --mesh=fsdp=4\n" in told


@pytest.mark.parametrize("name, wanted", (
    ("v4-8", "v4:2x2x1"), ("v5p-128", "v5p:4x4x4"), ("v5p-512", "v5p:4x8x8"),
    ("v5litepod-256", "v5e:16x16"), ("v5e-8", "v5e:2x4"), ("v6e-256", "v6e:16x16"),
    ("v5p:2x2x1", "v5p:2x2x1")))
def test_an_accelerator_is_the_slice_that_it_gets(name, wanted):
  assert topology.named(name) == wanted


def laid_out(variant, name, what="train", fixed=False, **data):
  """What is proposed for a slice of the table of layouts."""
  cfg = configs.load(f"{ROOT}/configs/dit.py:{variant}")
  cfg.data.update(data)
  request = programs.Request(cfg, "", what, (64, 64), 1, configs.load(
      f"{ROOT}/configs/vae.py:base"), fixed)
  return compile.laid_out(request, name.split()[-1], layouts.devices(name))


@pytest.mark.parametrize("name", layouts.NAMES)
@pytest.mark.parametrize("variant", dit_config.PODS)
def test_a_slice_that_a_config_was_not_made_for_is_laid_out(variant, name):
  cfg, devices = laid_out(variant, name).cfg, layouts.devices(name)
  mesh = mesh_lib.make_mesh(devices, **cfg.mesh)
  (rows, length), = cfg.data.shapes
  assert rows == cfg.data.shards == mesh_lib.row_shares(mesh)
  assert length % mesh.shape["context"] == 0
  assert cfg.mesh.fsdp <= 16 or variant == "14b"
  for process in {d.process_index for d in devices}:
    assert mesh_lib.host(mesh, process).rows(rows)
  own = dit_config.PODS[variant]
  assert length == own["shape"][1] or variant == "14b" or len(devices) <= 32


def test_the_slice_of_a_config_is_laid_out_as_the_config_says():
  for variant, own in dit_config.PODS.items():
    if own["topology"] in layouts.NAMES:
      cfg = laid_out(variant, own["topology"]).cfg
      assert tuple(cfg.data.shapes) == (own["shape"],)


def test_rows_that_are_fixed_stay_and_the_mesh_follows():
  cfg = laid_out("b", "v5p:4x4x4", fixed=True, shapes=((8, 16_384),)).cfg
  assert tuple(cfg.data.shapes) == ((8, 16_384),)
  assert cfg.mesh.to_dict() == {"data": 8, "fsdp": 1, "context": 8, "tensor": 1}
  with pytest.raises(ValueError, match="not shared by 2 slices"):
    laid_out("b", "2 x v5p:4x4x4", fixed=True, shapes=((3, 16_384),))


def test_a_video_is_sampled_by_all_chips():
  cfg = laid_out("14b", "v5e:16x16", "sample").cfg
  assert cfg.mesh.context * cfg.mesh.tensor == 256 and cfg.mesh.tensor > 1
  assert laid_out("xl", "v5p:4x4x4", "sample").cfg.mesh.context == 64


def test_numbers_are_told_with_their_size():
  assert [report.number(x) for x in (7.06e18, 118.6e9, 12)] == [
      "7.06 E", "119 G", "12 "]
  assert [report.time(s) for s in (90_000, 600, 3.14159, .0123)] == [
      "25.0 h", "10.0 min", "3.14 s", "12.3 ms"]

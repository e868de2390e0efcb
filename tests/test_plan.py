"""Configs for pods, their cost, and the verb that plans for absent TPUs."""

import functools
import importlib.util
import json
import math
import os
import pathlib
import re
import subprocess
import sys

import jax
import pytest

from configs import dit as dit_config
from configs import vae as vae_config
from sora_jax import main
from sora_jax import mesh as mesh_lib
from sora_jax.cli import parts
from sora_jax.cli import plan
from sora_jax.cli import plan_compile
from sora_jax.cli import plan_report
from sora_jax.models import dit
from sora_jax.models import pretrained
from sora_jax.models import text_encoder
from sora_jax.models import vae
from sora_jax.training import cost
from sora_jax.training import hlo
from sora_jax.training import tpu

ROOT = pathlib.Path(__file__).parent.parent
PODS = tuple(dit_config.PODS)
# Gflops of Table 4 of the DiT paper (arXiv 2212.09748), patch 2, 256 tokens.
PAPER = {"s": 6.06, "b": 23.0, "l": 80.7, "xl": 118.6}
MILLIONS = {"s": 33, "b": 130, "l": 458, "xl": 675}  # parameters, Table 4
BASE = parts.vae_of(vae_config.get_config("base"))
needs_libtpu = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None,
    reason="the TPU compiler is not installed: pip install 'sora_jax[tpu]'")


def transformer(variant: str) -> dit.DiT:
  """The transformer of a variant."""
  return parts.dit_of(dit_config.get_config(variant), pretrained.Model(
      pretrained.Part(BASE, None), None, None))


# ------------------------------------------------------------------ configs


@pytest.mark.parametrize("variant", PAPER)
def test_the_sizes_of_the_paper_cost_what_the_paper_says(variant):
  macs = cost.paper_macs(transformer(variant)) / 1e9
  assert macs == pytest.approx(PAPER[variant], rel=0.03)


@pytest.mark.parametrize("variant", PAPER)
def test_the_paper_has_as_many_parameters_but_for_text_and_modulation(variant):
  found = cost.paper_params(transformer(variant))
  alike = found["parameters"] - found["text"] + found["shared"]
  assert alike / 1e6 == pytest.approx(MILLIONS[variant], rel=0.03)


def rows_of(doc: str) -> dict[str, list[str]]:
  """The lines of the table in a config's docstring, by their first word."""
  table = doc[doc.index("  variant"):].splitlines()[1:]
  return {row.split()[0]: row.split() for row in table if row.split()}


@pytest.mark.parametrize("variant", PODS)
def test_a_config_for_a_pod_is_what_its_docstring_says(variant):
  cfg, module = dit_config.get_config(variant), transformer(variant)
  row = rows_of(dit_config.__doc__)[variant]
  (rows, length), = cfg.data.shapes
  assert [int(n.replace(",", "")) for n in (*row[1:4], row[-1])] == [
      module.layers, module.heads * module.head_size, module.heads,
      rows * length]
  assert row[4] == f"{cost.dit_params(module) / 1e9:.2f}"
  assert row[6] == cfg.topology
  mesh = {k: n for k, n in cfg.mesh.items() if n > 1}
  told = re.search(rf"  {variant} .*\n( +\w+=\d+\n)?",
                   dit_config.__doc__ + "\n")[0]
  assert {k: int(n) for k, n in re.findall(r"(\w+)=(\d+)", told)} == mesh
  chips = math.prod(int(n) for n in cfg.topology.split(":")[1].split("x"))
  assert math.prod(cfg.mesh.values()) == chips
  assert rows % (cfg.mesh.data * cfg.mesh.fsdp) == 0
  assert length % cfg.mesh.context == 0
  assert not module.heads % (cfg.mesh.context * cfg.mesh.tensor)


@pytest.mark.parametrize("variant", ("base", "large"))
def test_a_vae_for_a_slice_is_what_its_docstring_says(variant):
  cfg = vae_config.get_config(variant)
  module, row = parts.vae_of(cfg), rows_of(vae_config.__doc__)[variant]
  params = cost.params_of(functools.partial(vae.init, module))
  assert row[1] == f"{params / 1e6:.0f}"
  assert row[3] == "x".join(map(str, vae.stride(module)))
  assert int(row[4]) == module.z
  pixels = {t * h * w * n for t, h, w, n, _ in cfg.data.buckets}
  assert pixels == {int(row[-1].replace(",", ""))}
  assert row[5:7] == [cfg.topology, f"data={cfg.mesh.data}"]


@pytest.mark.parametrize("variant", PODS)
def test_every_parameter_has_one_rule_that_its_mesh_divides(variant):
  cfg = dit_config.get_config(variant)
  module, encoder = transformer(variant), parts.text_encoder_of(cfg)
  for init, rules in ((functools.partial(dit.init, module), mesh_lib.DIT_RULES),
                      (functools.partial(text_encoder.init, encoder),
                       mesh_lib.TEXT_RULES)):
    params = jax.eval_shape(init, jax.random.key(0))
    specs = mesh_lib.param_specs(params, rules)
    split = 0
    for x, spec in zip(jax.tree.leaves(params), jax.tree.leaves(
        specs, is_leaf=lambda s: not isinstance(s, dict))):
      for n, axis in zip(x.shape, spec):
        assert axis is None or n % cfg.mesh[axis] == 0
        split += axis is not None
    assert split > 10


def test_lanes_pad_heads_and_channels():
  xl, big = transformer("xl"), transformer("14b")
  pad = lambda d: (cost.attention_flops(d, [(64, 8)], cost.LANES)
                   / cost.attention_flops(d, [(64, 8)]))
  assert (pad(xl), pad(big)) == (pytest.approx(128 / 72), 1)
  small = vae.VAE(base=8, mults=(1, 1), z=4, blocks=1, temporal=(True,))
  assert (cost.decode_flops(small, (5, 16, 16), cost.LANES)
          > 10 * cost.decode_flops(small, (5, 16, 16)))


@pytest.mark.parametrize("frames", (1, 3, 7))
def test_the_cost_of_a_vae_is_that_of_its_trace(frames):
  net = vae.VAE(base=8, mults=(1, 1), z=4, blocks=1, temporal=(True,), patch=1)
  params = jax.eval_shape(functools.partial(vae.init, net), jax.random.key(0))
  traced = lambda fn, *shape: cost.traced(
      functools.partial(fn, net), params,
      jax.ShapeDtypeStruct((1, *shape), "float32"))
  size = frames, 12, 18
  assert cost.encode_flops(net, size) == traced(vae.encode, *size, 3)
  assert cost.decode_flops(net, size) == traced(
      vae.decode, (frames - 1) // 2 + 1, 6, 9, 4)


# --------------------------------------------------------------- projections


def test_a_projection_is_the_slowest_of_what_overlaps():
  chip = tpu.Chip(hbm=1, flops=100., memory=10., links=5., network=1.)
  work = cost.Work(flops=1000., dense=600., attention=400.)
  run = lambda *bytes_: cost.project(work, 2, chip, *bytes_)
  found = run(1., 1., 0.)
  busy = (600 / cost.RATES["dense"] + 400 / cost.RATES["attention"]) / 200
  assert found["floors"] == {
      "arithmetic": 5., "memory": .1, "links": .2, "network": 0.}
  assert found["seconds"] == pytest.approx(busy)
  assert found["mfu"] == pytest.approx(5 / busy)
  assert run(1., 1., 100.)["seconds"] == 100  # another slice is far away


def test_the_published_speed_comes_out_of_the_rates():
  wan = parts.dit_of(dit_config.get_config("wan_14b"), pretrained.Model(
      pretrained.Part(BASE, None), None, None))
  one = [(75_600, 512)]
  flops, attention = cost.dit_flops(wan, one), cost.attention_flops(wan, one)
  work = cost.Work(3 * flops, 4 * (flops - attention), 3 * attention)
  found = cost.project(work, 4, tpu.CHIPS["v5p"], 0, 0, 0)
  assert found["mfu"] == pytest.approx(0.296, abs=0.01)  # MaxDiffusion, v5p-8


# --------------------------------------------------------------- collectives

LOOP = """
import os
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"
import jax
import jax.numpy as jnp
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec as P

mesh = jax.make_mesh((2, 4), ("a", "b"), axis_types=(AxisType.Auto,) * 2)
x = jax.ShapeDtypeStruct((8, 64), jnp.float32,
                         sharding=NamedSharding(mesh, P("a", "b")))

def body(c, _):
  return jnp.sin(jax.lax.psum(c, "b")), None

def run(x):
  y = jax.lax.scan(body, x, None, 5)[0]
  y = jax.lax.all_gather(y, "a", axis=0, tiled=True)
  y = jax.lax.psum_scatter(y, "b", scatter_dimension=1, tiled=True)
  y = jax.lax.ppermute(y, "a", [(0, 1), (1, 0)])
  return jax.lax.all_to_all(y, "b", 0, 1, tiled=True)

fn = jax.shard_map(run, mesh=mesh, in_specs=P("a", "b"), out_specs=P("a", "b"),
                   check_vma=False)
print(jax.jit(fn).lower(x).compile().as_text())
"""


def test_collectives_are_counted_as_often_as_they_run():
  done = subprocess.run([sys.executable, "-c", LOOP], capture_output=True,
                        text=True, check=True,
                        env=os.environ | {"JAX_PLATFORMS": "cpu"})
  found = hlo.collectives(done.stdout, [0, 0, 0, 0, 1, 1, 1, 1])
  shard = 4 * 4 * 16  # bytes of [4, 16]
  assert {(c.kind, c.network): (c.count, c.sent) for c in found} == {
      ("all-reduce", False): (5, 5 * 2 * 3 / 4 * shard),
      ("all-gather", True): (1, shard),  # along a, which joins the slices
      ("reduce-scatter", False): (1, 3 / 4 * 2 * shard),
      ("collective-permute", True): (1, 2 * shard / 4),
      ("all-to-all", False): (1, 3 / 4 * 2 * shard / 4)}


# What the TPU compiler writes: its loops name no length, its groups name axes.
TPU_TEXT = """
%inner (p.1: bf16[2,8]) -> bf16[4] {
  %p.1 = bf16[2,8]{1,0:T(8,128)(2,1)} parameter(0)
  %all-reduce.3 = bf16[2,8]{1,0:T(8,128)S(1)} all-reduce(%p.1), GROUPS
  ROOT %dynamic-slice.1 = bf16[4]{0} dynamic-slice(%all-reduce.3)
}

%body (p.2: (s32[], bf16[2,8])) -> (s32[], bf16[2,8]) {
  %p.2 = (s32[]{:T(128)}, bf16[2,8]{1,0:T(8,128)(2,1)}) parameter(0)
  %get.1 = bf16[2,8]{1,0:T(8,128)(2,1)} get-tuple-element(%p.2), index=1
  %fusion.1 = bf16[4]{0} fusion(%get.1), kind=kCustom, calls=%inner
  %all-reduce-scatter.2 = bf16[4]{0} fusion(%get.1), kind=kCustom, calls=%inner
}

%condition (p.3: (s32[], bf16[2,8])) -> pred[] {
  %p.3 = (s32[]{:T(128)}, bf16[2,8]{1,0:T(8,128)(2,1)}) parameter(0)
  %constant.5 = s32[]{:T(128)} constant(12)
  %get.2 = s32[]{:T(128)} get-tuple-element(%p.3), index=0
  ROOT %lt.1 = pred[]{:T(512)} compare(%get.2, %constant.5), direction=LT
}

ENTRY %main (p.4: bf16[2,8]) -> bf16[16,8] {
  %p.4 = bf16[2,8]{1,0:T(8,128)(2,1)} parameter(0)
  %while.1 = (s32[], bf16[2,8]) while(%p.4), condition=%condition, body=%body
  %gather.1 = (bf16[2,8], bf16[16,8]) all-gather-start(%p.4), GATHERS
  ROOT %all-gather-done.1 = bf16[16,8]{1,0} all-gather-done(%gather.1)
}
""".replace("GROUPS", "replica_groups=mesh['x'=2,'y'=4] {'y'}, to_apply=%add.1"
            ).replace("GATHERS", "replica_groups=[1,8]<=[8], dimensions={0}")


def test_the_text_of_the_tpu_compiler_is_read():
  read = lambda text: {(c.kind, c.network): (c.count, c.sent)
                       for c in hlo.collectives(text, [0] * 8)}
  assert read(TPU_TEXT) == {
      ("all-reduce", False): (12, 12 * 2 * 3 / 4 * 32),
      ("reduce-scatter", False): (12, 12 * 3 / 4 * 32),
      ("all-gather", False): (1, 7 * 32)}
  with pytest.raises(ValueError, match="how often"):
    read(TPU_TEXT.replace("constant(12)", "parameter(1)"))


@pytest.mark.parametrize("text, group", (
    ("mesh['x'=2,'y'=4] {'x'}", [1, 5]), ("mesh['x'=2,'y'=4] {'y'}", [0, 1, 2, 3]),
    ("mesh['x'=2,'y'=4] {'y':(1)2}", [1, 3]),
    ("mesh['x'=2,'y'=4] {'y':(2)2}", [0, 1]), ("[4,2]<=[2,4]T(1,0)", [1, 5]),
    ("[2,4]<=[8]", [0, 1, 2, 3]), ("{{0,3},{1,5}}", [1, 5])))
def test_who_sends_to_whom_is_read(text, group):
  line = TPU_TEXT.replace("[1,8]<=[8]", text)
  slices = [int(p in group) for p in range(8)]
  inside = [c for c in hlo.collectives(line, slices) if c.kind == "all-gather"]
  assert [c.network for c in inside] == [False]
  assert inside[0].sent == (len(group) - 1) * 32
  slices[group[0]] = 0
  assert any(c.network for c in hlo.collectives(line, slices)
             if c.kind == "all-gather")


def test_the_bytes_of_an_out_of_memory_error_are_read():
  read = tpu.out_of_memory
  assert read("RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used "
              "17.5G of 15.75G hbm.") == 17.5 * 2**30
  assert read("RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory "
              "required for HLO temporaries (256.00M) exceeds available HBM "
              "(15.75G).") == 2**28
  assert read("Ran out of memory in memory space vmem. Used 17M.") is None


# ------------------------------------------------------------------ the verb


def test_meshes_are_proposed_gentle_ones_first():
  mesh = {"data": 4, "fsdp": 4, "context": 1, "tensor": 1}
  found = list(plan_compile.candidates(16, 1, mesh))
  assert found[0] == {"data": 1, "fsdp": 16, "context": 1, "tensor": 1}
  assert found[1] == {"data": 1, "fsdp": 8, "context": 2, "tensor": 1}
  assert mesh not in found
  assert all(math.prod(axes.values()) == 16 for axes in found)
  two = list(plan_compile.candidates(16, 2, mesh))
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
  assert "pip install 'sora_jax[tpu]'" in capsys.readouterr().err


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


def test_numbers_are_told_with_their_size():
  assert [plan_report.number(x) for x in (7.06e18, 118.6e9, 12)] == [
      "7.06 E", "119 G", "12 "]
  assert [plan_report.time(s) for s in (90_000, 600, 3.14159, .0123)] == [
      "25.0 h", "10.0 min", "3.14 s", "12.3 ms"]

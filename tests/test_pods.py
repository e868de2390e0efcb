"""Configs for pods, and what they are projected to flops."""

import dataclasses
import functools
import math
import re

import jax
import pytest

from configs import dit as dit_config
from configs import vae as vae_config
from sora_jax import mesh as mesh_lib
from sora_jax.aot import projection
from sora_jax.mesh import chips as chips_lib
from sora_jax.models import dit
from sora_jax.models import flops as flops_lib
from sora_jax.models import traced_flops
from sora_jax.models.attention import splash
from sora_jax.models.text import encoder as encoder_lib
from sora_jax.models.vae import vae
from sora_jax.tasks import build
from sora_jax.tasks import dit_programs

PODS = tuple(dit_config.PODS)
# Gflops of Table 4 of the DiT paper (arXiv 2212.09748), patch 2, 256 tokens.
PAPER = {"s": 6.06, "b": 23.0, "l": 80.7, "xl": 118.6}
MILLIONS = {"s": 33, "b": 130, "l": 458, "xl": 675}  # parameters, Table 4
BASE = build.vae_of(vae_config.get_config("base"))


def transformer(variant: str) -> dit.DiT:
  """The transformer of a variant."""
  return build.dit_of(dit_config.get_config(variant), BASE.z)


@pytest.mark.parametrize("variant", PAPER)
def test_the_sizes_of_the_paper_cost_what_the_paper_says(variant):
  macs = flops_lib.paper_macs(transformer(variant)) / 1e9
  assert macs == pytest.approx(PAPER[variant], rel=0.03)


@pytest.mark.parametrize("variant", PAPER)
def test_the_paper_has_as_many_parameters_but_for_text_and_modulation(variant):
  found = flops_lib.paper_params(transformer(variant))
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
  assert row[4] == f"{flops_lib.dit_params(module) / 1e9:.2f}"
  assert row[6] == cfg.topology
  mesh = {k: n for k, n in cfg.mesh.items() if n > 1}
  told = re.search(rf"  {variant} .*\n( +\w+=\d+\n)*",
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
  module, row = build.vae_of(cfg), rows_of(vae_config.__doc__)[variant]
  params = traced_flops.params_of(functools.partial(vae.init, module))
  assert row[1] == f"{params / 1e6:.0f}"
  assert row[3] == "x".join(map(str, vae.stride(module)))
  assert int(row[4]) == module.z
  pixels = {t * h * w * n for t, h, w, n, _ in cfg.data.buckets}
  assert pixels == {int(row[-1].replace(",", ""))}
  assert row[5:7] == [cfg.topology, f"data={cfg.mesh.data}"]


@pytest.mark.parametrize("variant", PODS)
def test_every_parameter_has_one_rule_that_its_mesh_divides(variant):
  cfg = dit_config.get_config(variant)
  module, encoder = transformer(variant), build.text_encoder_of(cfg)
  for init, rules in ((functools.partial(dit.init, module), mesh_lib.DIT_RULES),
                      (functools.partial(encoder_lib.init, encoder),
                       mesh_lib.TEXT_RULES)):
    params = jax.eval_shape(init, jax.random.key(0))
    specs = mesh_lib.param_specs(params, rules)
    split = 0
    for x, spec in zip(jax.tree.leaves(params), jax.tree.leaves(
        specs, is_leaf=lambda s: not isinstance(s, dict))):
      for n, axis in zip(x.shape, spec):
        over = axis if isinstance(axis, tuple) else (axis,) if axis else ()
        assert n % math.prod(cfg.mesh[a] for a in over) == 0
        split += axis is not None
    assert split > 10


def test_lanes_pad_heads_and_channels():
  big = transformer("14b")
  narrow = dataclasses.replace(big, heads=16, head_size=72)
  pad = lambda d: (flops_lib.attention_flops(d, [(64, 8)], flops_lib.LANES)
                   / flops_lib.attention_flops(d, [(64, 8)]))
  assert (pad(narrow), pad(big)) == (pytest.approx(128 / 72), 1)
  small = vae.VAE(base=8, mults=(1, 1), z=4, blocks=1, temporal=(True,))
  assert (traced_flops.decode_flops(small, (5, 16, 16), flops_lib.LANES)
          > 10 * traced_flops.decode_flops(small, (5, 16, 16)))


def test_a_projection_is_the_slowest_of_what_overlaps():
  chip = chips_lib.Chip(hbm=1, flops=100., memory=10., links=5., network=1.)
  work = flops_lib.Work(flops=1000., dense=600., attention=400.)
  run = lambda *bytes_: projection.project(work, 2, chip, *bytes_)
  found = run(1., 1., 0.)
  busy = (600 / projection.RATES["dense"] + 400 / projection.RATES["attention"]) / 200
  assert found["floors"] == {
      "arithmetic": 5., "memory": .1, "links": .2, "network": 0.}
  assert found["seconds"] == pytest.approx(busy)
  assert found["mfu"] == pytest.approx(5 / busy)
  assert run(1., 1., 100.)["seconds"] == 100  # another slice is far away


def test_the_published_speed_comes_out_of_the_rates():
  """MaxDiffusion's kernels compute nine products over all pairs."""
  work = dit_programs.training_work(transformer("wan_14b"), None, 1, 75_600, 512)
  work = dataclasses.replace(work, attention=work.attention * 9
                             / splash.PRODUCTS)
  found = projection.project(work, 4, chips_lib.CHIPS["v5p"], 0, 0, 0)
  assert found["mfu"] == pytest.approx(0.296, abs=0.005)  # MaxDiffusion, v5p-8
  assert found["seconds"] == pytest.approx(36.0, abs=0.3)


@pytest.mark.parametrize("length", (8192, 65_536))
def test_attention_in_training_is_seven_products(length):
  network = transformer("14b")
  work = dit_programs.training_work(network, None, 2, length, 0)
  pair = 2 * network.layers * network.heads * network.head_size
  assert work.attention == 7 * pair * 2 * length**2


def test_layers_whose_inputs_are_kept_on_the_host_are_computed_again():
  dense = {remat: dit_programs.training_work(
      transformer("14b").clone(remat=remat), None, 1, 8192, 0).dense
           for remat in ("none", "dots", "full", "offload")}
  assert dense["none"] == dense["dots"] < dense["full"] == dense["offload"]

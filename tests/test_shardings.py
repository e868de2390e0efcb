"""Each parameter of every config has one row of the sharding rules."""

import pathlib

import jax
import jax.numpy as jnp
import layouts
import pytest

from configs import dit as dit_config
from sora_jax import mesh as mesh_lib
from sora_jax.models import dit
from sora_jax.models.text import encoder
from sora_jax.tasks import build

FOLDER = pathlib.Path(__file__).parent / "shardings"
GOLDEN = ("tiny", "14b")
VARIANTS = ("tiny", "test", *dit_config.WAN, *dit_config.PODS)
RULES = {"transformer": mesh_lib.DIT_RULES, "text_encoder": mesh_lib.TEXT_RULES}


def golden(variant):
  """One line for each parameter of a config: its path, shape and axes."""
  cfg = dit_config.get_config(variant)
  channels = 16 * 4
  models = {"transformer": (dit.init, dit.DiT(
      patch_channels=channels, out_channels=channels, **cfg.transformer))}
  if "text_encoder" in cfg:
    models["text_encoder"] = (encoder.init, build.text_encoder_of(cfg))
  lines = []
  for name, (init, module) in models.items():
    params = jax.eval_shape(lambda key, f=init, m=module: f(m, key),
                            jax.random.key(0))
    specs = mesh_lib.param_specs(params, RULES[name])
    lines += [
        f"{name}/{mesh_lib.path_name(path)} {list(x.shape)} {tuple(spec)}"
        for (path, x), spec in zip(
            jax.tree_util.tree_flatten_with_path(params)[0],
            jax.tree.leaves(specs, is_leaf=lambda s: isinstance(s, tuple)))]
  return "\n".join(lines) + "\n"


@pytest.mark.parametrize("variant", GOLDEN)
def test_shardings_are_the_golden_ones(variant):
  """After a change that is meant: `python test_shardings.py`."""
  path = FOLDER / f"dit_{variant}.txt"
  assert golden(variant) == path.read_text()


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_parameter_of_every_config_has_one_row(variant):
  lines = golden(variant).splitlines()
  split = [line for line in lines if "fsdp" in line]
  assert all(line.split(" ")[0].endswith(("kernel", "embedding"))
             for line in split)
  assert len(split) >= 10


def test_gradients_are_asked_for_as_the_parameters_lie():
  """By reduce-scatter: asked for whole, they would be sums on every device."""
  mesh = mesh_lib.make_mesh(layouts.devices("v5p:2x2x4"), fsdp=8, tensor=2)

  def loss(params):
    whole = mesh_lib.gathered(params, mesh_lib.DIT_RULES, "blocks", jnp.bfloat16)
    return jnp.sum(whole["self"]["q"]["kernel"].astype(jnp.float32))

  params = {"self": {"q": {"kernel": jnp.ones((32, 16))}}}
  program = jax.make_jaxpr(mesh_lib.on(mesh, jax.grad(loss)))(params)
  gradient = program.jaxpr.outvars[0]
  places = [tuple(e.params["sharding"].spec) for e in program.jaxpr.eqns
            if e.primitive.name == "sharding_constraint"]
  assert places[-1] == (("fsdp", "context"), "tensor")
  assert (gradient.aval.shape, gradient.aval.dtype) == ((32, 16), jnp.float32)


def test_parameters_lie_over_few_devices():
  """Over more than 16, gathers on a torus become sums of twice the bytes."""
  params = {"blocks": {"self": {"q": {"kernel": jnp.ones((1, 128, 4))}}}}

  def axes(**mesh):
    specs = mesh_lib.fit(mesh_lib.make_mesh(layouts.devices("v5p:4x4x4"), **mesh),
                         params, mesh_lib.param_specs(params, mesh_lib.DIT_RULES))
    return tuple(specs["blocks"]["self"]["q"]["kernel"])[1]

  assert axes(fsdp=4, context=4) == axes(context=16) == ("fsdp", "context")
  assert axes(fsdp=16, context=4) == axes(context=64) == "fsdp"


def test_context_is_left_out_where_it_does_not_divide():
  mesh = mesh_lib.make_mesh(layouts.devices("v5p:2x2x4"), fsdp=2, context=8)
  params = {"blocks": {"self": {
      "q": {"kernel": jnp.ones((1, 32, 4))}, "k": {"kernel": jnp.ones((1, 6, 4))}}}}
  specs = mesh_lib.fit(mesh, params,
                       mesh_lib.param_specs(params, mesh_lib.DIT_RULES))
  found = {k: tuple(v["kernel"])[1] for k, v in specs["blocks"]["self"].items()}
  assert found == {"q": ("fsdp", "context"), "k": "fsdp"}
  mesh_lib.check_division(mesh, params, specs)


if __name__ == "__main__":
  for one in GOLDEN:
    (FOLDER / f"dit_{one}.txt").write_text(golden(one))

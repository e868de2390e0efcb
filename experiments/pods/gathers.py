"""What a scanned stack of sharded products sends, by mesh and by its gradients.

  python experiments/pods/gathers.py [TOPOLOGY] > experiments/pods/gathers.txt

Claims: with a backward pass that asks for gradients as the parameters lie
(mesh.gathered) less is sent than with the transpose of the forward constraint,
which asks for them whole; and data x fsdp=16 sends less than fsdp over the whole
slice. Six layers of two 2048 x 2048 products, recomputed in the backward pass,
2,048 tokens a chip. Needs libtpu and no TPU.
"""

import functools
import importlib.metadata
import sys

import jax
import jax.numpy as jnp

from sora_jax import mesh as mesh_lib
from sora_jax.aot import hlo
from sora_jax.aot import report
from sora_jax.aot import topology

WIDTH, LAYERS = 2048, 6


def transposed(params):
  """As `mesh.gathered`, but the gradients are what jax makes of a constraint."""
  return jax.tree.map(
      lambda x: mesh_lib.constrain(x.astype(jnp.bfloat16), None, None), params)


def as_they_lie(params):
  """The parameters of a layer as the transformer computes with them."""
  return mesh_lib.gathered(params, mesh_lib.DIT_RULES, "blocks", jnp.bfloat16)


def loss(gather, params, x):
  """The sum of the last layer."""

  @jax.checkpoint
  def layer(x, params):
    params = gather(params)
    inner = jnp.tanh(x @ params["self"]["q"]["kernel"])
    x = x + inner @ params["self"]["out"]["kernel"]
    return mesh_lib.constrain(x, mesh_lib.ROWS, None), None

  return jnp.sum(jax.lax.scan(layer, x, params)[0].astype(jnp.float32))


def sent(devices, fsdp, gather) -> list[hlo.Collective]:
  """The collectives of the gradient."""
  mesh = mesh_lib.make_mesh(devices, fsdp=fsdp)
  like = lambda *axes: jax.ShapeDtypeStruct(
      (LAYERS, WIDTH, WIDTH), jnp.float32, sharding=mesh_lib.placed(mesh, *axes))
  params = {"self": {"q": {"kernel": like(None, "fsdp")},
                     "out": {"kernel": like(None, None, "fsdp")}}}
  x = jax.ShapeDtypeStruct((2048 * len(devices), WIDTH), jnp.bfloat16,
                           sharding=mesh_lib.rows(mesh))
  program = jax.jit(
      mesh_lib.on(mesh, jax.grad(functools.partial(loss, gather))),
      out_shardings=jax.tree.map(lambda x: x.sharding, params))
  text = program.lower(params, x).compile().as_text()
  return hlo.collectives(text, [0] * mesh.size)


def main() -> None:
  name = sys.argv[1] if len(sys.argv) > 1 else "v5p:4x4x4"
  devices = topology.devices(name)
  print(f"{name}, {len(devices)} chips, " + ", ".join(
      f"{p} {importlib.metadata.version(p)}" for p in ("jax", "libtpu")))
  totals = {}
  for what, fsdp, gather in (
      ("gradients whole", 16, transposed), ("as they lie", 16, as_they_lie),
      ("as they lie", len(devices), as_they_lie)):
    found = sent(devices, fsdp, gather)
    totals[what, fsdp] = sum(c.sent for c in found)
    print(f"data={len(devices) // fsdp}, fsdp={fsdp}, {what}: a chip sends "
          f"{report.number(totals[what, fsdp])}B, "
          f"{sum(c.overlapped for c in found) / totals[what, fsdp]:.0%} of it "
          "asynchronously: " + ", ".join(
              f"{c.kind} {report.number(c.sent)}B" for c in found), flush=True)
  whole, lie, all_chips = totals.values()
  held = lie < whole and lie < all_chips
  print("the claims held" if held else "the claims did NOT hold")
  sys.exit(not held)


if __name__ == "__main__":
  main()

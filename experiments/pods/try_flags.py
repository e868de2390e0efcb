"""Whether the TPU compiler here takes the flags of the environment.

  . experiments/pods/flags.sh v5p && python experiments/pods/try_flags.py v5p

Compiles a small program with collectives in a loop, for four chips or eight
that need not be there, and ends with exit code 1 and one line where the compiler
refuses: before a run, not in the middle of its start.
"""

import importlib.metadata
import os
import subprocess
import sys

SLICES = {"v4": "v4:2x2x1", "v5e": "v5e:2x2", "v5p": "v5p:2x2x1", "v6e": "v6e:2x2"}


def main(kind: str) -> int:
  """Compiles in a process of its own: unknown flags end it."""
  if kind not in SLICES:
    raise SystemExit(f"try_flags.py: give one of {', '.join(SLICES)}")
  done = subprocess.run([sys.executable, __file__, kind, "here"], text=True,
                        capture_output=True, check=False)
  versions = ", ".join(f"{name} {importlib.metadata.version(name)}"
                       for name in ("jax", "libtpu"))
  if done.returncode:
    said = [line for line in done.stderr.splitlines() if line.strip()]
    wrong = [line for line in said if "flag" in line.lower()
             or "Error" in line] or said
    print(f"try_flags.py: {versions} refuses the flags of {kind}, "
          f"{os.environ.get('LIBTPU_INIT_ARGS')}: {wrong[-1][:300]}",
          file=sys.stderr)
    return 1
  print(f"{kind}: {versions} takes its flags")
  return 0


def compile_small(kind: str) -> None:
  """Compiles a loop of sharded products, with its gradient."""
  import jax
  import jax.numpy as jnp

  from sora_jax import mesh as mesh_lib
  from sora_jax.aot import topology
  mesh = mesh_lib.make_mesh(topology.devices(SLICES[kind]), data=1, fsdp=4)
  place = lambda *axes: mesh_lib.placed(mesh, *axes)
  weights = jax.ShapeDtypeStruct((4, 1024, 1024), jnp.float32,
                                 sharding=place(None, "fsdp"))
  x = jax.ShapeDtypeStruct((64, 1024), jnp.float32, sharding=place("fsdp"))

  def loss(weights, x):
    def layer(x, w):
      w = mesh_lib.constrain(w.astype(jnp.bfloat16))
      return jnp.tanh(x @ w).astype(x.dtype), None

    return jnp.sum(jax.lax.scan(layer, x, weights)[0])

  step = jax.jit(mesh_lib.on(mesh, jax.grad(loss)),
                 out_shardings=place(None, "fsdp"))
  step.lower(weights, x).compile()


if __name__ == "__main__":
  if len(sys.argv) == 3:
    compile_small(sys.argv[1])
  else:
    sys.exit(main("".join(sys.argv[1:])))

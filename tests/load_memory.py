"""Loading onto a mesh: `XLA_FLAGS=.. python load_memory.py SMALL LARGE`.

A process of its own, because a peak cannot be taken back and for its devices.
Loads SMALL split over four devices and compares it with one device. Then
loads LARGE, and prints by how much the resident memory grew at its peak, the
bytes of the placed weights, and those of the largest local shard of a stacked
parameter.
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np

from sora_jax import mesh as mesh_lib
from sora_jax.formats import pretrained

PARTS = ("vae", "transformer")


def resident(which):
  """VmRSS or VmHWM of this process, in bytes."""
  with open("/proc/self/status", encoding="utf-8") as f:
    line, = (line for line in f if line.startswith(which))
  return 1024 * int(line.split()[1])


def main(small, large):
  split = pretrained.load(small, jnp.float32, mesh_lib.make_mesh(
      fsdp=2, tensor=2), PARTS)
  whole = pretrained.load(small, jnp.float32, None, PARTS)
  jax.tree.map(np.testing.assert_array_equal, split.transformer.params,
               whole.transformer.params)
  kernel = split.transformer.params["blocks"]["mlp"]["linear_1"]["kernel"]
  assert kernel.addressable_shards[0].data.size == kernel.size / 4

  with open("/proc/self/clear_refs", "w", encoding="utf-8") as f:
    f.write("5")  # the peak starts from here
  before = resident("VmRSS")
  model = pretrained.load(large, jnp.float32, mesh_lib.make_mesh(fsdp=4), PARTS)
  grown = resident("VmHWM") - before
  placed = sum(s.data.nbytes for part in (model.vae, model.transformer)
               for x in jax.tree.leaves(part.params)
               for s in x.addressable_shards)
  stacked = max(x.addressable_shards[0].data.nbytes
                for x in jax.tree.leaves(model.transformer.params["blocks"]))
  print(grown, placed, stacked)


if __name__ == "__main__":
  main(*sys.argv[1:])

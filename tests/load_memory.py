"""Measures the memory of loading: `python load_memory.py SMALL LARGE DEVICES`.

A process of its own, because a peak cannot be taken back. Prints the growth of
the resident memory at its peak, the bytes of the placed weights and of the
largest local shard of a stacked parameter. SMALL is loaded first, so that what
is imported and traced does not count.
"""

import os
import sys

import jax
import jax.numpy as jnp

from sora_jax import mesh as mesh_lib
from sora_jax.models import pretrained


def resident(which):
  """VmRSS or VmHWM of this process, in bytes."""
  with open("/proc/self/status", encoding="utf-8") as f:
    line, = (line for line in f if line.startswith(which))
  return 1024 * int(line.split()[1])


def main(small, large, devices):
  mesh = mesh_lib.make_mesh(fsdp=int(devices))
  pretrained.load(small, jnp.float32, mesh)
  with open("/proc/self/clear_refs", "w", encoding="utf-8") as f:
    f.write("5")  # the peak starts from here
  before = resident("VmRSS")
  model = pretrained.load(large, jnp.float32, mesh)
  grown = resident("VmHWM") - before
  shard = lambda x: x.addressable_shards[0].data.nbytes
  placed = sum(s.data.nbytes for part in (model.vae, model.transformer)
               for x in jax.tree.leaves(part.params)
               for s in x.addressable_shards)
  stacked = max(map(shard, jax.tree.leaves(model.transformer.params["blocks"])))
  print(grown, placed, stacked)


if __name__ == "__main__":
  assert f"device_count={sys.argv[3]}" in os.environ["XLA_FLAGS"]
  main(*sys.argv[1:])

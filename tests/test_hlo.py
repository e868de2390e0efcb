"""What a compiled program sends is read from its text."""

import os
import pathlib
import subprocess
import sys

import pytest

from sora_jax.aot import hlo
from sora_jax.aot import topology

ROOT = pathlib.Path(__file__).parent.parent
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


# An all-gather that starts, runs beside two products and is done, and a product
# with its reduce-scatter in a loop of the compiler's, which is unrolled twice, as
# libtpu 0.0.42 and 0.0.50 write them for v5e.
ASYNC_TEXT = """
%starts (p.1: bf16[1,8]) -> (bf16[1,8], bf16[16,8]) {
  %p.1 = bf16[1,8]{1,0} parameter(0)
  %all-gather.1 = bf16[16,8]{1,0} all-gather(%p.1), channel_id=2, GROUPS
  ROOT %custom-call.1 = (bf16[1,8], bf16[16,8]) custom-call(%all-gather.1), TARGETStart"
}

%step (p.2: bf16[1,8]) -> bf16[16,8] {
  %p.2 = bf16[1,8]{1,0} parameter(0)
  ROOT %all-gather.2 = bf16[16,8]{1,0} all-gather(%p.2), channel_id=2, GROUPS
}

%done (p.3: bf16[1,8]) -> bf16[16,8] {
  %p.3 = bf16[1,8]{1,0} parameter(0)
  %all-gather.3 = bf16[16,8]{1,0} all-gather(%p.3), channel_id=2, GROUPS
  ROOT %custom-call.2 = bf16[16,8] custom-call(%all-gather.3), TARGETDone"
}

%body (p.4: (bf16[4,8], u32[])) -> (bf16[4,8], u32[]) {
  %p.4 = (bf16[4,8], u32[]) parameter(0)
  %get.1 = bf16[4,8]{1,0} get-tuple-element(%p.4), index=0
  %permute.1 = (bf16[4,8], bf16[4,8]) collective-permute-start(%get.1), PAIRS
  %done.1 = bf16[4,8] collective-permute-done(%permute.1)
  %constant.2 = u32[] constant(2)
  %get.3 = u32[] get-tuple-element(%p.4), index=1
  %add.1 = u32[] add(%get.3, %constant.2)
  ROOT %tuple.1 = (bf16[4,8], u32[]) tuple(%done.1, %add.1)
}

%condition (p.5: (bf16[4,8], u32[])) -> pred[] {
  %p.5 = (bf16[4,8], u32[]) parameter(0)
  %constant.5 = u32[]{:T(128)} constant(8)
  %get.2 = u32[] get-tuple-element(%p.5), index=1
  ROOT %lt.1 = pred[] compare(%get.2, %constant.5), direction=LT
}

ENTRY %main (p.6: bf16[1,8]) -> bf16[16,8] {
  %p.6 = bf16[1,8]{1,0} parameter(0)
  %start.1 = (bf16[1,8], bf16[16,8]) fusion(%p.6), kind=kCustom, calls=%starts
  %fusion.1 = bf16[16,8] fusion(%p.6), kind=kCustom, calls=%step
  %fusion.2 = bf16[16,8] fusion(%p.6), kind=kCustom, calls=%step
  %done.2 = bf16[16,8] fusion(%p.6), kind=kCustom, calls=%done
  %while.1 = (bf16[4,8], u32[]) while(%p.6), condition=%condition, body=%body
  ROOT %all-gather.4 = bf16[16,8]{1,0} all-gather(%p.6), channel_id=3, GROUPS
}
""".replace("GROUPS", "replica_groups=[1,16]<=[16], dimensions={0}").replace(
    "TARGET", 'custom_call_target="AsyncCollective').replace(
        "PAIRS", "channel_id=7, source_target_pairs={{0,1},{1,0}}")


def test_an_asynchronous_collective_counts_once():
  one = 15 * 16  # bytes that a chip of 16 sends of its [1, 8]
  assert {c.kind: (c.count, c.sent, c.overlapped)
          for c in hlo.collectives(ASYNC_TEXT, [0] * 16)} == {
              "all-gather": (2, 2 * one, one),
              "collective-permute": (4, 4 * 64, 4 * 64)}


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
  read = topology.out_of_memory
  assert read("RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used "
              "17.5G of 15.75G hbm.") == 17.5 * 2**30
  assert read("RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory "
              "required for HLO temporaries (256.00M) exceeds available HBM "
              "(15.75G).") == 2**28
  assert read("Ran out of memory in memory space vmem. Used 17M.") is None

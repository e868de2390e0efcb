"""Plans: pure functions of the step, alike on any hosts; what they refuse."""

import dataclasses
import hashlib
import itertools
import os
import subprocess
import sys

import jax
import numpy as np
import pytest

from sora_jax import contracts
from sora_jax.data.loading import pipeline
from sora_jax.data.loading import plan as plan_lib
from sora_jax.data.pixels import buckets
from sora_jax.tasks import train
from sora_jax.text import tokenizer
from sora_jax.training import config_changes
import toy_data


@pytest.mark.parametrize("kind", [0, 1])
def test_a_batch_is_a_pure_function_of_the_step(pixels, cached, kind):
  plan = toy_data.plans(pixels, cached)[kind]
  for step in (0, 3, 1500, 2047, 10**6):
    batch = plan.batch(step)
    assert toy_data.equal(batch, plan.batch(step))
    fresh = toy_data.plans(pixels, cached)[kind]
    assert toy_data.equal(batch, fresh.batch(step))
    assert fresh.digest == plan.digest
  assert not toy_data.equal(
      plan.batch(0).video if kind == 0 else
      plan.batch(0).tokens.x[:4, :64].copy(),
      plan.batch(1).video if kind == 0 else
      plan.batch(1).tokens.x[:4, :64].copy())


@pytest.mark.parametrize("kind", [0, 1])
def test_hosts_and_threads_do_not_change_the_data(pixels, cached, kind):
  """50 random steps, of 1, 2 and 4 hosts with 0, 1 and 2 threads each.

  Two hosts have rows that do not follow one another, as those of a slice do.
  """
  shares = {1: [contracts.WHOLE],
            2: [contracts.Share((0, 3), 4), contracts.Share((1, 2), 4)],
            4: [contracts.Share((i,), 4) for i in (2, 0, 3, 1)]}
  plan, count = toy_data.plans(pixels, cached)[kind], 5
  starts = np.random.default_rng(kind).integers(10**5, size=10).tolist()
  for start in starts:
    want = [plan.batch(start + i) for i in range(count)]
    for hosts, threads in itertools.product((1, 2, 4), (0, 1, 2)):
      streams = [itertools.islice(pipeline.batches(
          plan, start, share, threads, 1), count) for share in shares[hosts]]
      for i, got in enumerate(zip(*streams, strict=True)):
        assert [step for step, _ in got] == [start + i] * hosts
        rows = len(jax.tree.leaves(want[i])[0])
        order = np.argsort([n for s in shares[hosts] for n in s.rows(rows)])
        whole = jax.tree.map(lambda *x: np.concatenate(x)[order],  # noqa: B023
                             *(b for _, b in got))
        assert toy_data.equal(whole, want[i])


RESUMED = """
import hashlib, sys
import jax
import numpy as np
from sora_jax import contracts
from sora_jax.data.loading import pipeline, plan, token_config
from sora_jax.data.store import manifest as store
manifest = store.open_manifest(sys.argv[1])
made = plan.token_plan(manifest, token_config.TokenConfig(
    shapes=((8, 64), (4, 128)), text_length=160, chunk=4000))
streams = [pipeline.batches(made, int(sys.argv[2]), contracts.Share((i,), 4), 1)
           for i in range(4)]
for got in list(zip(*streams, range(3)))[:3]:
  whole = jax.tree.map(lambda *x: np.concatenate(x), *(b for _, b in got[:4]))
  print(hashlib.sha256(b"".join(
      x.tobytes() for x in jax.tree.leaves(whole))).hexdigest())
"""


def test_a_new_process_on_other_hosts_goes_on_alike(cached):
  """Batches 1777 .. 1779, of one host here and of four there."""
  plan = plan_lib.token_plan(cached, toy_data.CONFIG)
  out = subprocess.run(
      [sys.executable, "-c", RESUMED, cached.root, "1777"], check=True,
      capture_output=True, text=True).stdout.split()
  stream = pipeline.batches(plan, 1774)
  here = [hashlib.sha256(b"".join(x.tobytes() for x in jax.tree.leaves(
      next(stream)[1]))).hexdigest() for _ in range(6)]
  assert out == here[3:] and len(set(here)) == 6


def test_resuming_at_any_step_gives_the_same_stream(pixels, cached):
  for plan, fresh in zip(toy_data.plans(pixels, cached),
                         toy_data.plans(pixels, cached)):
    stream = pipeline.batches(plan, 0)
    first = [next(stream) for _ in range(6)]
    again = pipeline.batches(fresh, 4)
    for step, batch in first[4:]:
      got, other = next(again)
      assert got == step and toy_data.equal(batch, other)


def test_too_little_data_is_refused_with_numbers(pixels, cached):
  with pytest.raises(ValueError, match="99 frames of 16x16: none of the 40 clips"):
    buckets.pixel_plan(pixels, buckets.PixelConfig(
        buckets=((99, 16, 16, 4, 1.0),)))
  few = dataclasses.replace(cached, entries=cached.entries[:2])
  assert plan_lib.token_plan(few, dataclasses.replace(
      toy_data.CONFIG, shapes=((64, 1024),))).repeats > 64
  with pytest.raises(ValueError, match="the longest row 2"):
    plan_lib.token_plan(cached, dataclasses.replace(
        toy_data.CONFIG, shapes=((4, 2),)))
  with pytest.raises(ValueError, match="same number"):
    plan_lib.token_plan(cached, dataclasses.replace(
        toy_data.CONFIG, shapes=((4, 64), (4, 128))))
  with pytest.raises(ValueError, match="encode"):
    plan_lib.token_plan(pixels, toy_data.CONFIG)


def test_chunks_of_a_large_manifest_are_packed_alone(cached):
  many = dataclasses.replace(cached, entries=np.tile(cached.entries, 30))  # 1200
  plan = plan_lib.token_plan(many, dataclasses.replace(
      toy_data.CONFIG, chunk=500))
  parts = [plan.chunk(i).clips for i in range(6)]
  assert [len(p) for p in parts] == [400] * 6
  for epoch in (parts[:3], parts[3:]):
    assert sorted(np.concatenate(epoch)) == list(range(1200))
  assert not np.array_equal(parts[0], parts[3])
  lengths = [len(plan.chunk(i).batches) for i in range(6)]
  print(lengths, plan.steps)
  assert max(lengths) - min(lengths) <= 0.1 * plan.steps + 2
  assert len(plan.chunks.entries) <= plan_lib.CHUNKS


def test_a_small_memory_only_costs_time(cached):
  small = plan_lib.token_plan(cached, dataclasses.replace(
      toy_data.CONFIG, cache_bytes=20_000))
  large = plan_lib.token_plan(cached, toy_data.CONFIG)
  assert all(toy_data.equal(small.batch(s), large.batch(s)) for s in range(10))
  assert small.loader.clips.weight <= 20_000


@pytest.mark.parametrize("kind", [0, 1])
def test_a_run_goes_on_with_another_memory(pixels, cached, kind):
  """And with nothing else that decides the batches."""
  plan = toy_data.plans(pixels, cached)[kind]
  other = lambda **to: dataclasses.replace(
      plan, cfg=dataclasses.replace(plan.cfg, **to))
  record = lambda plan: {"plan": plan.digest, "data": dataclasses.asdict(
      plan.cfg)}
  small = other(cache_bytes=20_000)
  assert small.digest == plan.digest and small.cfg != plan.cfg
  config_changes.refuse(record(plan), record(small), train.FREE)
  assert other(seed=1).digest != plan.digest
  with pytest.raises(ValueError, match="data.seed: 0 -> 1; plan: "):
    config_changes.refuse(record(plan), record(other(seed=1)), train.FREE)


def test_another_tokenizer_is_refused(pixels, tmp_path):
  manifest = toy_data.synthetic(pixels, tmp_path)
  tokenizer.train(["other words"], os.path.join(tmp_path, "tokenizer.model"))
  with pytest.raises(ValueError, match="not the tokenizer"):
    plan_lib.token_plan(manifest, toy_data.CONFIG).batch(0)


@pytest.mark.slow
def test_planning_from_latents_needs_no_decoder():
  code = ("import sys\nfrom sora_jax.data.loading import plan, pipeline\n"
          "print([m for m in ('av', 'tensorflow_datasets', 'sora_jax.worlds') "
          "if m in sys.modules])")
  out = subprocess.run([sys.executable, "-c", code], capture_output=True,
                       text=True, check=True).stdout
  assert out.strip() == "[]"

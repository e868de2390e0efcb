"""How fast batches are made, and what a training waits for them.

  python experiments/bench/loader.py [--clips=300] [--steps=40] [--run=DIR]

Claim: the tiny VAE, which decodes and crops video at every step, waits for data
less than 2 % of its time. Printed besides: clips, frames and pixels a second
that the loader makes from a prepared data set with 0, 1 and 2 threads, and
tokens a second of packed rows from cached latents, which a training of the
transformer takes.

The clips are of simulated worlds at the sizes of the README's chain. The
training shares the machine with its loader, as it always does.
"""

import argparse
import json
import os
import tempfile
import time

import numpy as np

from sora_jax import main as program
from sora_jax.data.loading import pipeline
from sora_jax.data.loading import plan as plan_lib
from sora_jax.data.loading import token_config
from sora_jax.data.pixels import buckets
from sora_jax.data.store import latents
from sora_jax.data.store import manifest as manifest_lib
from sora_jax.data.store import records
from sora_jax.data.store import shards
from sora_jax.geometry import sizes
from sora_jax.text import tokenizer

STRIDE, PATCH, CHANNELS = (4, 8, 8), (1, 2, 2), 16
BUCKETS = ((1, 32, 32, 48, 0.25), (5, 32, 32, 10, 0.25), (9, 32, 32, 5, 0.25),
           (17, 32, 32, 3, 0.25))  # of configs/vae.py:tiny_cpu
GOAL = .02


def run(*argv):
  """Runs a verb of the program."""
  if program.main(list(argv)):
    raise SystemExit(f"sora-jax {' '.join(argv)} failed")


def rate(plan, threads, seconds, count):
  """(units a second, batches a second, units a second of the processor)."""
  stream = pipeline.batches(plan, 0, threads=threads)
  for _ in range(4):
    next(stream)
  found, batches, start, own = 0, 0, time.perf_counter(), time.process_time()
  while time.perf_counter() - start < seconds:
    found += count(next(stream)[1])
    batches += 1
  spent = time.perf_counter() - start
  return found / spent, batches / spent, found / (time.process_time() - own)


def synthetic_latents(data, out):
  """Random latents of a prepared data set, of the sizes of its clips."""
  pixels = manifest_lib.open_manifest(data)
  info = latents.describe(pixels.info, "none", STRIDE, PATCH, CHANNELS, 0,
                          latents.Extras(0, 0, False))
  latents.start(out, data, info)
  rng, tok = np.random.default_rng(0), tokenizer.of(pixels)

  def each():
    for i in range(len(pixels)):
      item = records.read(pixels, i)
      size = item.frames, item.height, item.width
      z = rng.standard_normal((*sizes.latent_size(size, STRIDE),
                               CHANNELS)).astype(np.float16)
      record = latents.Record(z, item.captions, item.fps, size)
      yield latents.encode(record), latents.entry(record, tok)

  shards.write_shard(out, "train", 0, each(), latents.LATENTS)
  shards.finish(out, shards.collect(out, {"train": 1}, info))
  return manifest_lib.open_manifest(out)


def waiting(workdir):
  """(share of its time that a run waited for data, steps/s, lines read)."""
  with open(os.path.join(workdir, "metrics.jsonl"), encoding="utf-8") as f:
    lines = [json.loads(line)["timing"] for line in f]
  lines = lines[len(lines) // 2:]  # after all shapes were compiled
  span = [1 / x["steps_per_s"] for x in lines]
  share = np.average([x["data_share"] for x in lines], weights=span)
  return float(share), len(span) / sum(span), len(span)


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
  parser.add_argument("--clips", type=int, default=300)
  parser.add_argument("--steps", type=int, default=40)
  parser.add_argument("--seconds", type=float, default=15)
  parser.add_argument("--run", help="the work folder of a run of the tiny VAE, "
                      "which is read in place of training one")
  flags = parser.parse_args()
  print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
  with tempfile.TemporaryDirectory() as folder:
    data = os.path.join(folder, "worlds")
    run("prepare", "world:balls,occluder", f"--out={data}",
        f"--count={flags.clips}", "--workers=0")
    manifest = manifest_lib.open_manifest(data)
    config = buckets.PixelConfig(buckets=BUCKETS, candidates=4)
    packed = plan_lib.token_plan(
        synthetic_latents(data, os.path.join(folder, "latents")),
        token_config.TokenConfig())
    for threads in (0, 1, 2):
      plan = buckets.pixel_plan(manifest, config)
      clips, steps, own = rate(plan, threads, flags.seconds,
                               lambda b: len(b.video))
      each = np.average([b[0] for b in BUCKETS],
                        weights=[b[3] * b[4] for b in BUCKETS])
      print(f"pixels, {threads} threads: {steps:7.1f} batches/s {clips:9,.0f} "
            f"clips/s {clips * each:9,.0f} frames/s; of one processor's whole "
            f"time {own:,.0f} clips/s", flush=True)
    for threads in (0, 1, 2):
      found, steps, own = rate(packed, threads, flags.seconds,
                               lambda b: int((b.tokens.seg > 0).sum()))
      print(f"tokens, {threads} threads: {steps:7.1f} batches/s {found:9,.0f} "
            f"tokens/s; of one processor's whole time {own:,.0f} tokens/s",
            flush=True)
    workdir = flags.run or os.path.join(folder, "run")
    if not flags.run:
      run("train", "--config=configs/vae.py:tiny_cpu", f"--data={data}",
          f"--workdir={workdir}", f"--config.steps={flags.steps}",
          "--config.loop.log_every=4")
    share, steps, lines = waiting(workdir)
  print(f"the tiny VAE, {steps:.2f} steps/s over the last {lines} lines of its "
        f"metrics, waits {share:.2%} of its time for data (goal "
        f"{GOAL:.0%}): {'held' if share < GOAL else 'NOT HELD'}")
  print(f"load {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
  main()

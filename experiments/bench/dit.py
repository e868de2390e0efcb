"""The transformer's speed beside its reference implementation, in one run.

  python experiments/bench/dit.py [--runs=7] [--tokens=512,2048,8192]

Claims: with equal weights and equal outputs, float32, on CPU, the forward pass
takes at most 0.6 times and the train step (forward and backward) at most 1.0
times as long as WanTransformer3DModel of `diffusers` in PyTorch, and the memory
of attention does not grow with the square of the tokens.

The sides take turns within a run, so that a busy machine hits both; a turn is a
second or one call, and its fastest call counts, as the first finds the caches and
the threads of the other side. The ratio is of the minima. The row is one clip,
without segment ids on both sides. PyTorch with bfloat16 autocast is shown too; XLA
gains nothing from bfloat16 on CPU. The floor is the time of the forward pass'
matrix products alone in XLA, over PyTorch's whole forward pass: what the ratio
would be if all else took no time.
"""

import argparse
import os
import statistics
import time

import diffusers
import jax
import jax.numpy as jnp
import numpy as np
import torch

from sora_jax import types
from sora_jax.formats import dit_mapping
from sora_jax.geometry import patches
from sora_jax.models import dit
from sora_jax.models.attention import attend

PARAMETERS = 15_594_688
TEXT = (64, 256)  # tokens and width of the prompt
CHANNELS = 16
GRIDS = {512: (8, 8, 8), 2048: (8, 16, 16), 8192: (8, 32, 32)}  # patches
MODULE = dit.DiT(layers=6, heads=6, head_size=64, ffn=1536,
                 patch_channels=4 * CHANNELS, out_channels=4 * CHANNELS,
                 text_width=TEXT[1], freq_dim=128)
GOALS = {"forward": .6, "train step": 1.}
TURN = 1.  # seconds


def reference():
  """The reference with random weights, none of them zero."""
  torch.manual_seed(0)
  model = diffusers.WanTransformer3DModel(
      num_layers=MODULE.layers, num_attention_heads=MODULE.heads,
      attention_head_dim=MODULE.head_size, ffn_dim=MODULE.ffn,
      in_channels=CHANNELS, out_channels=CHANNELS, text_dim=MODULE.text_width,
      freq_dim=MODULE.freq_dim)
  assert sum(p.numel() for p in model.parameters()) == PARAMETERS
  return model


def inputs(grid):
  """Noisy latents [1, t, h, w, C] of a grid of patches, a time, a prompt."""
  rng = np.random.default_rng(0)
  draw = lambda *s: rng.standard_normal(s).astype(np.float32)
  nt, nh, nw = grid
  return (draw(1, nt, 2 * nh, 2 * nw, CHANNELS), np.array([[.5]], np.float32),
          draw(1, *TEXT))


def torch_side(model, z, t, text, bfloat16=False):
  """(forward, train step) without arguments."""
  z = torch.from_numpy(z).permute(0, 4, 1, 2, 3).contiguous()
  t, text = torch.from_numpy(1000 * t[:, 0]), torch.from_numpy(text)

  def predict():
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
      return model(z, t, text, return_dict=False)[0]

  @torch.no_grad()
  def forward():
    return predict().permute(0, 2, 3, 4, 1)

  def step():
    model.zero_grad(set_to_none=True)
    loss = (predict().float() - z).square().mean()
    loss.backward()
    return float(loss.detach())

  return forward, step


def jax_side(params, z, t, text):
  """(forward, train step) without arguments."""
  tokens = patches.patchify(z)
  time_ = types.Times(t=t, time_index=np.zeros(tokens.seg.shape, np.int32))
  tokens = tokens.replace(seg=None)
  text = types.TextStates(states=text, seg=np.ones(text.shape[:2], np.int32))
  args = jax.device_put((tokens, time_, text))

  def loss(params, tokens, time_, text):
    out = dit.denoise(MODULE, params, tokens, time_, text)
    return jnp.mean((out - tokens.x)**2)

  predict = jax.jit(lambda *a: dit.denoise(MODULE, *a))
  grad = jax.jit(jax.value_and_grad(loss))

  def forward():
    out = np.asarray(predict(params, *args))
    return patches.unpatchify(out, z.shape[1:4])

  def step():
    return float(jax.block_until_ready(grad(params, *args))[0])

  return forward, step


def measure(sides, runs):
  """Seconds of each side's function: {name: [seconds of each run]}."""
  seconds = {name: [] for name in sides}
  for run in range(runs + 1):  # the first compiles and warms up
    for name, fn in sides.items():
      best = turn(fn)
      if run:
        seconds[name].append(best)
  return seconds


def turn(fn):
  """Seconds of the fastest call within a second, or of the one that fits."""
  first = start = time.perf_counter()
  best = float("inf")
  while start - first < TURN:
    fn()
    end = time.perf_counter()
    best, start = min(best, end - start), end
  return best


def report(what, length, seconds):
  """Prints every side and the ratio; returns whether the claim held."""
  best = {name: min(s) for name, s in seconds.items()}
  for name, s in seconds.items():
    print(f"  {what:10} {name:15} min {1e3 * best[name]:8.1f} ms   median "
          f"{1e3 * statistics.median(s):8.1f} ms", flush=True)
  ratio, goal = best["jax"] / best["torch"], GOALS[what]
  print(f"  {what:10} jax / torch {ratio:.2f} (goal {goal:.1f}: "
        f"{'held' if ratio <= goal else 'NOT HELD'}), {length} tokens, load "
        f"{os.getloadavg()[0]:.1f}", flush=True)
  return ratio <= goal


def products(length):
  """Seconds of the large matrix products of a forward pass alone, in XLA."""
  width, rows = MODULE.heads * MODULE.head_size, min(length, 1024)
  blocks = MODULE.heads * length // rows
  counts = {(length, width, width): 6, (length, width, MODULE.ffn): 1,
            (length, MODULE.ffn, width): 1,
            (rows, MODULE.head_size, length): blocks,
            (rows, length, MODULE.head_size): blocks}
  product, total = jax.jit(jnp.matmul), 0.
  for (m, k, n), count in counts.items():
    a, b = jax.device_put((np.ones((m, k), np.float32),
                           np.ones((k, n), np.float32)))
    call = lambda a=a, b=b: product(a, b).block_until_ready()
    total += count * min(measure({"": call}, 1)[""])
  return MODULE.layers * total


def attention_memory(length):
  """Bytes of temporary memory of attention forward and backward."""
  x = jax.ShapeDtypeStruct((1, length, MODULE.heads, MODULE.head_size),
                           np.float32)
  seg = jax.ShapeDtypeStruct((1, length), np.int32)

  def loss(q, k, v, seg):
    return jnp.sum(attend.attend(q, k, v, seg, seg))

  compiled = jax.jit(jax.grad(loss, (0, 1, 2))).lower(x, x, x, seg).compile()
  return compiled.memory_analysis().temp_size_in_bytes


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
  parser.add_argument("--runs", type=int, default=7)
  parser.add_argument("--tokens", default="512,2048,8192")
  flags = parser.parse_args()

  model = reference()
  weights = {k: v.numpy() for k, v in model.state_dict().items()}
  params = jax.device_put(dit_mapping.to_flax(weights, MODULE))
  assert dit.count(params) == PARAMETERS
  print(f"{PARAMETERS:,} parameters on both sides, float32, {os.cpu_count()} "
        f"cores, torch {torch.__version__} with {torch.get_num_threads()} "
        f"threads, jax {jax.__version__}, load {os.getloadavg()[0]:.1f}")
  held = []
  for length in map(int, flags.tokens.split(",")):
    values = inputs(GRIDS[length])
    theirs, ours = torch_side(model, *values), jax_side(params, *values)
    half = torch_side(model, *values, bfloat16=True)
    wanted, found = np.asarray(theirs[0]()), ours[0]()
    error = np.max(np.abs(found - wanted)) / np.max(np.abs(wanted))
    print(f"{length} tokens: outputs differ by {error:.1e}")
    assert error <= 1e-4, "the two sides do not compute the same"
    for i, what in enumerate(GOALS):
      sides = {"torch": theirs[i], "jax": ours[i], "torch bf16": half[i]}
      seconds = measure(sides, flags.runs)
      held.append(report(what, length, seconds))
      if what == "forward":
        alone = products(length)
        print(f"  {what:10} products alone  min {1e3 * alone:8.1f} ms   floor "
              f"{alone / min(seconds['torch']):.2f}", flush=True)
  sizes = {n: attention_memory(n) for n in (2048, 4096, 8192)}
  print("attention memory: " + ", ".join(
      f"{n} tokens {b / 2**20:.1f} MiB" for n, b in sizes.items()))
  held.append(sizes[8192] < 3 * sizes[4096] and sizes[4096] < 3 * sizes[2048])
  print(f"not quadratic: {'held' if held[-1] else 'NOT HELD'}")
  print("all claims held" if all(held) else "some claims did not hold")


if __name__ == "__main__":
  main()

"""The VAE's speed beside its reference implementation, in one run.

  python experiments/bench/vae.py [--runs=7] [--video=17x64x64]

Claims: with equal weights and equal outputs, float32, on CPU, encoding a clip
takes at most 1.0 times and decoding it at most 0.75 times as long as
AutoencoderKLWan of `diffusers` in PyTorch, in the layouts of Wan 2.2 and 2.1.

The sides take turns within a run, so that a busy machine hits both; the ratio
is of the minima. PyTorch with bfloat16 autocast is shown too; XLA gains nothing
from bfloat16 on CPU.
"""

import argparse
import os
import statistics
import time

import diffusers
import jax
import numpy as np
import torch

from sora_jax.formats import vae_mapping
from sora_jax.models.vae import vae as vae_lib

GOALS = {"encode": 1.0, "decode": 0.75}
NETWORKS = {
    "wan22 layout, 24 channels": vae_lib.VAE(base=24, mults=(1, 2, 2)),
    "wan21 layout, 32 channels": vae_lib.VAE(
        base=32, mults=(1, 2, 4, 4), z=16, temporal=(False, True, True),
        patch=1, residual=False),
}


def reference(vae):
  """The reference network of the same sizes, with random weights."""
  torch.manual_seed(0)
  return diffusers.AutoencoderKLWan(
      base_dim=vae.base, z_dim=vae.z, dim_mult=list(vae.mults),
      num_res_blocks=vae.blocks, temperal_downsample=list(vae.temporal),
      is_residual=vae.residual, in_channels=3 * vae.patch**2,
      out_channels=3 * vae.patch**2,
      patch_size=vae.patch if vae.patch > 1 else None).eval()


def torch_side(net, video, z, bfloat16=False):
  """{"encode", "decode"} without arguments, results [B, T, H, W, C]."""
  video, z = (torch.from_numpy(x).permute(0, 4, 1, 2, 3).contiguous()
              for x in (video, z))

  def call(fn, x):
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16,
                                         enabled=bfloat16):
      return fn(x).permute(0, 2, 3, 4, 1).float().numpy()

  return {"encode": lambda: call(lambda x: net.encode(x).latent_dist.mean,
                                 video),
          "decode": lambda: call(lambda x: net.decode(x).sample, z)}


def jax_side(vae, params, video, z):
  """{"encode", "decode"} without arguments, results [B, T, H, W, C]."""
  video, z = jax.device_put((video, z))
  encode = jax.jit(lambda p, x: vae_lib.encode(vae, p, x)[0])
  decode = jax.jit(lambda p, x: vae_lib.decode(vae, p, x).clip(-1, 1))
  return {"encode": lambda: np.asarray(encode(params, video)),
          "decode": lambda: np.asarray(decode(params, z))}


def measure(sides, runs):
  """Seconds of each side's function: {name: [seconds of each run]}."""
  seconds = {name: [] for name in sides}
  for run in range(runs + 1):  # the first warms up
    for name, fn in sides.items():
      start = time.perf_counter()
      fn()
      if run:
        seconds[name].append(time.perf_counter() - start)
  return seconds


def report(what, seconds):
  """Prints every side and the ratio; returns whether the claim held."""
  best = {name: min(s) for name, s in seconds.items()}
  for name, s in seconds.items():
    print(f"  {what:8} {name:15} min {1e3 * best[name]:8.1f} ms   median "
          f"{1e3 * statistics.median(s):8.1f} ms")
  ratio, goal = best["jax"] / best["torch"], GOALS[what]
  print(f"  {what:8} jax / torch {ratio:.2f} (goal {goal:.2f}: "
        f"{'held' if ratio <= goal else 'NOT HELD'}), load "
        f"{os.getloadavg()[0]:.1f}", flush=True)
  return ratio <= goal


def compare(name, vae, size, runs):
  """Checks and times one network; returns whether both claims held."""
  net = reference(vae)
  weights = {k: v.numpy() for k, v in net.state_dict().items()}
  params = jax.device_put(vae_mapping.to_flax(weights, vae))
  count = sum(x.size for x in jax.tree.leaves(params))
  assert count == sum(p.numel() for p in net.parameters())
  print(f"{name}: {count:,} parameters on both sides, video {size}")

  rng = np.random.default_rng(0)
  video = rng.uniform(-1, 1, (1, *size, 3)).astype(np.float32)
  latents = [(n + s - 1) // s for n, s in zip(size, vae_lib.stride(vae))]
  z = rng.standard_normal((1, *latents, vae.z)).astype(np.float32)
  sides = {"jax": jax_side(vae, params, video, z),
           "torch": torch_side(net, video, z),
           "torch bfloat16": torch_side(net, video, z, bfloat16=True)}
  held = []
  for what in GOALS:
    ours, theirs = sides["jax"][what](), sides["torch"][what]()
    error = np.abs(ours - theirs).max() / np.abs(theirs).max()
    print(f"  {what:8} outputs differ by {error:.1e}")
    assert error <= 1e-4, f"{what} differs from the reference by {error}"
    held.append(report(what, measure({k: s[what] for k, s in sides.items()},
                                     runs)))
  return all(held)


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
  parser.add_argument("--runs", type=int, default=7)
  parser.add_argument("--video", default="17x64x64", help="frames x H x W")
  flags = parser.parse_args()
  size = tuple(int(n) for n in flags.video.split("x"))
  print(f"float32, {os.cpu_count()} cores, torch {torch.__version__} with "
        f"{torch.get_num_threads()} threads, jax {jax.__version__}, load "
        f"{os.getloadavg()[0]:.1f}")
  held = [compare(name, vae, size, flags.runs)
          for name, vae in NETWORKS.items()]
  return 0 if all(held) else 1


if __name__ == "__main__":
  raise SystemExit(main())

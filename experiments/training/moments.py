"""What it costs to keep the moments of the optimiser in bfloat16.

  python experiments/training/moments.py --data=LATENTS --vae=MODEL

Claim: at equal steps, data and seeds the loss of the transformer with moments in
bfloat16 is that with float32 within the spread of the seeds.

Trains configs/dit.py:test, widened, with AdamW and Muon, both ways, from --seeds
seeds, and compares the mean loss of the last fifth of the steps.
"""

import argparse
import json
import pathlib
import sys
import tempfile

import numpy as np

import sora_jax
from sora_jax.tasks import config

ROOT = pathlib.Path(__file__).parents[2]
RATES = {"adamw": 1e-3, "muon": 3e-3}


def loss(args, name: str, moments: str, seed: int) -> float:
  """The mean loss of the last fifth of a run."""
  cfg = config.load(f"{ROOT}/configs/dit.py:test")
  cfg.seed, cfg.steps = seed, args.steps
  cfg.transformer.update(heads=4, head_size=32, ffn=512)
  cfg.optimizer.update(name=name, moments=moments, warmup=50,
                       learning_rate=RATES[name])
  cfg.data.shapes = ((8, 64),)
  cfg.loop.update(log_every=1, save_every=10**6, preview_every=0)
  with tempfile.TemporaryDirectory() as workdir:
    sora_jax.train(cfg, args.data, workdir, args.vae)
    lines = (pathlib.Path(workdir) / "metrics.jsonl").read_text().splitlines()
  found = [json.loads(line)["loss"] for line in lines]
  return float(np.mean(found[-len(found) // 5:]))


def main() -> int:
  parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
  parser.add_argument("--data", required=True)
  parser.add_argument("--vae", required=True)
  parser.add_argument("--steps", type=int, default=600)
  parser.add_argument("--seeds", type=int, default=3)
  args = parser.parse_args()
  good = True
  print(__doc__.split("\n\n")[2] + "\n")
  for name in RATES:
    runs = {m: [loss(args, name, m, seed) for seed in range(args.seeds)]
            for m in ("float32", "bfloat16")}
    for moments, found in runs.items():
      print(f"{name:>6} {moments:>8}: loss of the last fifth "
            + ", ".join(f"{x:.5f}" for x in found)
            + f"; mean {np.mean(found):.5f}", flush=True)
    change = np.subtract(runs["bfloat16"], runs["float32"])
    spread = np.std(runs["float32"], ddof=1)
    held = abs(change.mean()) <= spread
    good &= bool(held)
    print(f"{name:>6} bfloat16 - float32: {change.mean():+.5f} "
          f"({change.mean() / np.mean(runs['float32']):+.2%}), spread of the seeds "
          f"{spread:.5f}: {'held' if held else 'did not hold'}", flush=True)
  return 0 if good else 1


if __name__ == "__main__":
  sys.exit(main())

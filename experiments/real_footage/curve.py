"""Reconstruction of real footage against training steps.

  python experiments/real_footage/collect.py --out=DIR
  python experiments/real_footage/curve.py --clips=DIR --out=OUT

Trains the tiny VAE from scratch on DIR/train at a constant learning rate,
stops at every number of --steps, exports the averaged weights there and
measures PSNR and SSIM on DIR/heldout, all by the commands that a user has.
Prints the curve as a table and writes it to OUT/curve.md; OUT/*/real.png show
the clips above their reconstructions. Run again, it goes on where it was.
"""

import argparse
import json
import pathlib
import subprocess
import sys

from sora_jax import files
from sora_jax.evaluation import report

CONFIG = "configs/vae.py:tiny_cpu"
# A batch takes no clip twice, and there are fewer than the config's 48.
BUCKETS = ("((1,32,32,32,0.25),(5,32,32,10,0.25),(9,32,32,5,0.25),"
           "(17,32,32,3,0.25))")
CLIPS = 16  # held-out ones at most, and of the worlds, out of the VAE's domain


def sora_jax(*args: str) -> None:
  """Runs one command of the package; its failure ends the experiment."""
  done = subprocess.run([sys.executable, "-m", "sora_jax", *args], check=False)
  if done.returncode:
    sys.exit(f"curve: sora-jax {args[0]} ended with {done.returncode}")


def measure(args, steps: int) -> dict:
  """Trains to `steps` and scores that model; what results.json holds."""
  model, scores = args.out / f"model_{steps}", args.out / f"scores_{steps}"
  if not (scores / "results.json").exists():
    sora_jax("train", f"--config={CONFIG}", f"--data={args.out / 'data'}",
             f"--workdir={args.out / 'run'}", f"--config.steps={steps}",
             f"--config.data.buckets={BUCKETS}",
             "--config.optimizer.decay=0.0", "--config.loop.preview_every=0")
    sora_jax("export", f"--workdir={args.out / 'run'}", f"--out={model}")
    sora_jax("evaluate", "--suite=vae", f"--model={model}",
             f"--count={CLIPS}", f"--real={args.clips / 'heldout'}",
             f"--out={scores}")
  return json.loads((scores / "results.json").read_text(encoding="utf-8"))


def main() -> None:
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--clips", required=True, type=pathlib.Path,
                      help="what collect.py wrote")
  parser.add_argument("--out", required=True, type=pathlib.Path)
  parser.add_argument("--steps", type=lambda s: [int(n) for n in s.split(",")],
                      default=[250, 500, 1000, 2000], help="ascending")
  args = parser.parse_args()
  if not (args.out / "data" / "dataset.json").exists():
    sora_jax("prepare", f"folder:{args.clips / 'train'}",
             f"--out={args.out / 'data'}")
  rows = []
  for steps in args.steps:
    real = measure(args, steps)["real"]
    rows.append((steps, *(f"{real[k]['value']:.{n}f} ({real[k]['low']:.{n}f} "
                          f"to {real[k]['high']:.{n}f})"
                          for k, n in (("psnr", 2), ("ssim", 3))),
                 real["psnr"]["n"]))
  table = report.markdown(("steps", "PSNR, dB", "SSIM", "clips"), rows)
  files.write_text(args.out / "curve.md", table)
  print(table)


if __name__ == "__main__":
  main()

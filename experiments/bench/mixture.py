"""A manifest of clips as the world has them: sizes, shapes, lengths and rates.

  python experiments/bench/mixture.py --out=DIR [--clips=100000] [--even]

Writes the manifest of a prepared data set without its clips, enough for
`sora-jax plan-data --data=DIR --stride=4x16x16`. A fifth are images. Short
sides go from 240 to 1080 pixels, aspect ratios from 9:16 to 21:9; seven of ten
clips have a common size, the others any. Videos take 1 to 20 seconds, evenly in
the logarithm (shots of edited film are mostly short) or, with --even, evenly in
seconds, at 24, 25, 30 or 60 frames a second.
"""

import argparse
import os

import numpy as np

from sora_jax import files
from sora_jax.data.store import manifest as manifest_lib

IMAGES = 0.2
COMMON = 0.7
SIDES = {240: .10, 360: .15, 480: .25, 720: .30, 1080: .20}
ASPECTS = {16 / 9: .50, 9 / 16: .20, 4 / 3: .12, 3 / 4: .05, 1.: .05,
           21 / 9: .08}
RATES = {24: .40, 25: .15, 30: .40, 60: .05}
SECONDS = (1, 20)


def draw(clips: int, even: bool = False, seed: int = 0) -> np.ndarray:
  """[clips] rows of shards.PIXELS."""
  rng = np.random.default_rng(seed)
  pick = lambda table: rng.choice(list(table), clips, p=list(table.values()))
  between = lambda low, high: np.exp(rng.uniform(np.log(low), np.log(high),
                                                 clips))
  common = rng.random(clips) < COMMON
  side = np.where(common, pick(SIDES), between(min(SIDES), max(SIDES)))
  aspect = np.where(common, pick(ASPECTS), between(min(ASPECTS), max(ASPECTS)))
  even_sides = lambda x: (np.round(x / 2) * 2).astype(int)
  seconds = rng.uniform(*SECONDS, clips) if even else between(*SECONDS)
  rows = np.zeros(clips, manifest_lib.PIXELS)
  rows["record"] = np.arange(clips)
  rows["width"] = even_sides(side * np.maximum(aspect, 1))
  rows["height"] = even_sides(side / np.minimum(aspect, 1))
  rows["fps"] = pick(RATES)
  rows["frames"] = np.where(rng.random(clips) < IMAGES, 1,
                            np.maximum(np.round(seconds * rows["fps"]), 2))
  rows["words"] = np.where(rng.random(clips) < .5, rng.integers(6, 25, clips),
                           rng.integers(40, 120, clips))
  return rows


def manifest(clips: int, even: bool = False, seed: int = 0) -> manifest_lib.Manifest:
  """The manifest in memory."""
  name = "even lengths" if even else "mostly short"
  info = {"kind": "pixels", "source": f"mixture, {name}", "seed": seed,
          "shards": {"train": 1}, "clips": {"train": clips}, "rejected": 0}
  return manifest_lib.Manifest(info["source"], "train", draw(clips, even, seed), info)


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
  parser.add_argument("--out", required=True)
  parser.add_argument("--clips", type=int, default=100_000)
  parser.add_argument("--even", action="store_true")
  parser.add_argument("--seed", type=int, default=0)
  flags = parser.parse_args()
  found = manifest(flags.clips, flags.even, flags.seed)
  os.makedirs(flags.out, exist_ok=True)
  np.save(os.path.join(flags.out, "train.npy"), found.entries)
  files.write_json(os.path.join(flags.out, "dataset.json"), found.info)
  print(f"{flags.out}: {len(found)} clips")


if __name__ == "__main__":
  main()

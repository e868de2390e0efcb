"""How fast `sora-jax prepare` is, beside decoding the same files and no more.

  python experiments/bench/prepare.py [--clips=24] [--size=640x360] [--frames=48]

Prints clips, frames and MB a second of decoding alone (one thread, what any
tool must do that looks at every frame), of a survey with writing where files
are kept as they are, and of one where every clip is reduced and re-coded; with
one worker and with one per core. Claim: keeping files as they are takes at
most twice as long as decoding them.
"""

import argparse
import os
import pathlib
import sys
import tempfile
import time

import numpy as np

from sora_jax.data.prepare import filters
from sora_jax.data.prepare import prepare
from sora_jax.media import containers
from sora_jax.media import video_io


def clips(folder: pathlib.Path, count: int, size, frames: int) -> int:
  """Writes moving pictures with captions; returns their bytes."""
  width, height = size
  y, x = np.mgrid[:height, :width].astype(np.float32)
  for i in range(count):
    rng = np.random.default_rng(i)
    waves = rng.uniform(0.01, 0.08, (3, 2))
    video = np.stack([np.stack([
        127 + 90 * np.sin(a * x + b * y + 0.2 * t + i) for a, b in waves], -1)
                      for t in range(frames)])
    video += rng.normal(0, 4, video.shape[1:])  # grain, as cameras have
    data = video_io.encode(iter(video.clip(0, 255).astype(np.uint8)), 24)
    (folder / f"{i:04d}.mp4").write_bytes(data)
    (folder / f"{i:04d}.txt").write_text(f"waves, number {i}")
  return sum(p.stat().st_size for p in folder.glob("*.mp4"))


def decode(folder: pathlib.Path) -> None:
  """Decodes every frame of every file, and converts none."""
  for path in sorted(folder.glob("*.mp4")):
    with containers.open_frames(str(path)) as (_, frames):
      for _ in frames:
        pass


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
  parser.add_argument("--clips", type=int, default=24)
  parser.add_argument("--size", default="640x360")
  parser.add_argument("--frames", type=int, default=48)
  args = parser.parse_args()
  size = tuple(int(n) for n in args.size.split("x"))
  with tempfile.TemporaryDirectory() as at:
    folder = pathlib.Path(at, "in")
    folder.mkdir()
    weight = clips(folder, args.clips, size, args.frames) / 1e6
    small = filters.Rules(max_tokens=13 * 60, token=(4, 32, 32))
    print(f"{args.clips} clips of {args.frames} frames of {args.size}, "
          f"{weight:.1f} MB; {os.cpu_count()} cores, load "
          f"{os.getloadavg()[0]:.1f}")

    def measure(name, call, *a, **k):
      wall, before = time.perf_counter(), os.times()
      call(*a, **k)
      wall, after = time.perf_counter() - wall, os.times()
      cpu = sum(after[:4]) - sum(before[:4])  # with ended worker processes
      print(f"{name:28} {args.clips / wall:7.2f} clips/s "
            f"{args.clips * args.frames / wall:8.0f} frames/s "
            f"{weight / wall:6.2f} MB/s; of a CPU second: "
            f"{args.clips / cpu:.2f} clips, "
            f"{args.clips * args.frames / cpu:.0f} frames", flush=True)
      return cpu

    alone = measure("decode alone", decode, folder)
    run = lambda name, workers, rules: measure(
        name, prepare.prepare, f"folder:{folder}", pathlib.Path(at, name),
        test_share=0, workers=workers, shard=8, quiet=True, rules=rules)
    kept = run("kept as they are", 0, filters.Rules())
    run("reduced and re-coded", 0, small)
    run("kept, a worker per core", None, filters.Rules())
  held = kept <= 2 * alone
  print(f"CPU time of keeping / of decoding: {kept / alone:.2f} (at most 2: "
        f"{'held' if held else 'NOT HELD'})")
  sys.exit(not held)


if __name__ == "__main__":
  main()

"""Any size and any length: whether it runs, how long it takes, what it needs.

  python experiments/prompting/sizes.py [--model=tiny] [--only=NAME,..]

Claims: 1920x1080 and 1080x1920 with 5 frames and an image of 2048x2048 pixels,
about 16k tokens each, run through the whole path in less than 16 GB; decoding
960 frames needs at most 20 % more memory than 96. Printed besides: a minute at
16 frames a second in windows and in one piece. Each is a process of its own
whose peak of memory is what the system says; time includes starting and
compiling.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time

PROMPT = "--prompt=a red ball moves to the right"
QUICK = ("--steps=4", "--guidance=1")
RUNS = {
    "wide": ("generate", PROMPT, "--size=1920x1080", "--frames=5", *QUICK,
             "--out=wide.mp4"),
    "tall": ("generate", PROMPT, "--size=1080x1920", "--frames=5", *QUICK,
             "--out=tall.mp4"),
    "image": ("generate", PROMPT, "--size=2048x2048", "--frames=1", *QUICK,
              "--out=image.png"),
    "minute_windows": ("generate", PROMPT, "--size=64x64", "--frames=961",
                       "--fps=16", "--window=49", "--out=windows.mp4"),
    "minute_whole": ("generate", PROMPT, "--size=64x64", "--frames=961",
                     "--fps=16", "--out=whole.mp4"),
    "decode_96": ("decode", "96"), "decode_960": ("decode", "960"),
}
CHILD = r"""
import json, pathlib, re, sys
argv = json.loads(sys.argv[1])
if argv[0] == "decode":
  # Random latents of so many frames, written as they are decoded.
  import numpy as np
  import sora_jax
  from sora_jax.generation import result
  model = sora_jax.load(argv[2])
  canvas = model.requests.generate("", (64, 64), int(argv[1]), 16.).canvas
  z = np.random.default_rng(0).standard_normal(canvas.z.shape, np.float32)
  frames = result.Result(model.model, canvas, z).frames()
  sora_jax.save_video("decoded.mp4", frames, 16.)
else:
  from sora_jax import main
  if main.main(argv):
    sys.exit(1)
status = pathlib.Path("/proc/self/status").read_text()
print("peak", int(re.search(r"VmHWM:\s+(\d+)", status)[1]) >> 10)
"""


def measure(argv, model: str, folder: str) -> tuple[float, int]:
  """Seconds and MiB of one run in a process of its own."""
  argv = [*argv, model if argv[0] == "decode" else f"--model={model}"]
  start = time.monotonic()
  done = subprocess.run(
      [sys.executable, "-c", CHILD, json.dumps(argv)], cwd=folder,
      capture_output=True, text=True)
  if done.returncode:
    raise SystemExit(done.stderr)
  for line in done.stdout.splitlines():
    if not line.startswith("peak"):
      print("  " + line)
  return time.monotonic() - start, int(re.search(r"peak (\d+)", done.stdout)[1])


def main():
  """Runs all and prints what held."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--model", default="tiny")
  parser.add_argument("--only", default=",".join(RUNS))
  parser.add_argument("--work", default="")
  args = parser.parse_args()
  model = os.path.abspath(args.model) if os.path.isdir(args.model) else args.model
  folder, peaks = args.work or tempfile.mkdtemp(), {}
  for name in args.only.split(","):
    load = os.getloadavg()[0]
    seconds, peaks[name] = measure(RUNS[name], model, folder)
    print(f"{name}: {seconds:.0f} s, peak {peaks[name]} MiB, load {load:.1f}",
          flush=True)
  held = [peaks[n] < 16_000 for n in ("wide", "tall", "image") if n in peaks]
  if {"decode_96", "decode_960"} <= set(peaks):
    ratio = peaks["decode_960"] / peaks["decode_96"]
    print(f"memory of decoding 960 frames over 96: {ratio:.2f}")
    held.append(ratio <= 1.2)
  print(f"the claims {'held' if all(held) else 'did NOT hold'}")
  sys.exit(not all(held))


if __name__ == "__main__":
  main()

"""Kills a saving training run with -9 at random instants, and goes on each time.

  python experiments/pods/kills.py --data=LATENTS --vae=MODEL --out=FOLDER

The run is `sora-jax train --config=configs/dit.py:test`, saving every step, in a
process of its own each time. An instant is drawn between 0 and --seconds after
the first new step. The next run says from which step it went on, after every
leaf of it was compared with its digest. At the end the run, which was killed
--kills times, is compared with one that never was: every leaf of the last
checkpoint, and metrics.jsonl.
"""

import argparse
import json
import pathlib
import random
import re
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).parents[2]


def start(args, workdir, save_every):
  """The training in a process of its own; its stderr is a file."""
  with open(workdir.with_suffix(".log"), "w", encoding="utf-8") as log:
    return subprocess.Popen(
        [sys.executable, "-m", "sora_jax", "train",
         f"--config={ROOT}/configs/dit.py:test", f"--data={args.data}",
         f"--vae={args.vae}", f"--workdir={workdir}",
         "--config.data.shapes=((8,64),)", f"--config.steps={args.steps}",
         f"--config.loop.save_every={save_every}",
         "--config.loop.preview_every=0"], cwd=ROOT, stderr=log)


def metrics(workdir):
  """The lines of metrics.jsonl without what depends on the clock."""
  path = workdir / "metrics.jsonl"
  text = path.read_text() if path.exists() else ""
  return [{k: v for k, v in json.loads(line).items() if k != "timing"}
          for line in text.splitlines() if line.endswith("}")]


def found(workdir):
  """(step that the run went on from, steps found damaged), by what it said."""
  said = workdir.with_suffix(".log").read_text()
  step = re.search(r"going on from step (\d+)", said)
  return int(step[1]) if step else 0, re.findall(r"step (\d+) is damaged", said)


def saved(workdir):
  """The steps on the disk that are whole by their name."""
  return sorted(int(p.name) for p in (workdir / "checkpoints").glob("*")
                if p.name.isdigit())


def leaves(workdir, step):
  """'dtype shape digest' of every leaf of a checkpoint."""
  file, = (workdir / "checkpoints" / str(step) / "meta").glob("*metadata*")
  return json.loads(file.read_text())["leaves"]


def main():
  flags = argparse.ArgumentParser(description=__doc__)
  flags.add_argument("--data", required=True)
  flags.add_argument("--vae", required=True)
  flags.add_argument("--out", required=True, type=pathlib.Path)
  flags.add_argument("--kills", type=int, default=20)
  flags.add_argument("--seconds", type=float, default=2.0)
  flags.add_argument("--steps", type=int, default=400)
  flags.add_argument("--seed", type=int, default=0)
  args = flags.parse_args()
  args.out.mkdir(parents=True, exist_ok=True)
  killed, whole = args.out / "killed", args.out / "whole"
  rng, before = random.Random(args.seed), None
  print("kill  seconds  on the disk  went on from  damaged  lines", flush=True)
  for n in range(args.kills + 1):
    last, had = n == args.kills, len(metrics(killed))
    run = start(args, killed, 100 if last else 1)
    begun = None
    while not begun and run.poll() is None:
      time.sleep(.01)
      text = killed.with_suffix(".log").read_text()
      begun = re.search(r"^step \d+/\d+ loss", text, re.M)
    wait = rng.uniform(0, args.seconds)
    if not last:
      time.sleep(wait)
      run.kill()
    code = run.wait()
    if before is not None:
      step, damaged = found(killed)
      print(f"{n:4}  {before[0]:7.3f}  {before[1]!s:>11}  {step:12}  "
            f"{len(damaged):7}  {had:5}", flush=True)
      assert step in before[1] or not before[1], (step, before)
    if not last and code != -9:
      sys.exit(f"the run ended by itself ({code}) before kill {n + 1}: give more "
               "--steps or fewer --seconds")
    before = wait, saved(killed)
  assert code == 0, killed.with_suffix(".log").read_text()
  assert start(args, whole, 100).wait() == 0
  a, b = (leaves(w, args.steps) for w in (killed, whole))
  assert a == b, [k for k in a if a[k] != b.get(k)]
  assert metrics(killed) == metrics(whole)
  print(f"killed {args.kills} times and never: {len(a)} leaves and "
        f"{len(metrics(whole))} lines of metrics.jsonl are equal")


if __name__ == "__main__":
  main()

"""One training over 1, 2 and 4 processes of this machine, stopped and killed.

  python experiments/pods/hosts.py --data=LATENTS --vae=MODEL --out=FOLDER

Claims: `sora-jax train --config=configs/dit.py:test` gives the same losses on 2
and 4 processes as on one; SIGTERM at one of four saves one step in all, which 1,
2 and 4 processes go on from with the same data (clips and known tokens equal)
and losses within 5e-7 over at least 20 steps; of two processes one of which is
killed with -9 the other ends with one line.

The four have four devices each, which lie in the mesh data=2 x fsdp=4 x
context=2 as the chips of the four hosts of v5p:2x2x4 do.
"""

import argparse
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).parents[2]
TRAIN = ("-m", "sora_jax", "train")
# The same, on a mesh whose devices lie as those of a slice.
LAYOUT, AXES = "v5p:2x2x4", dict(data=2, fsdp=4, context=2)
AS_ON_A_SLICE = """
import sys
import jax
sys.path.insert(0, {tests!r})
import layouts
from sora_jax import main
from sora_jax import mesh
make = mesh.make_mesh
mesh.make_mesh = lambda devices=None, **axes: make(devices or layouts.as_on(
    {layout!r}, jax.devices(), {axes!r}), **axes)
sys.exit(main.main(["train", *sys.argv[1:]]))
""".format(tests=str(ROOT / "tests"), layout=LAYOUT, axes=AXES)
SAME = ("step", "clips", "known_share", "tokens")  # of a line: of the data alone


def start(args, workdir, count):
  """The training in `count` processes: of four devices if four, else of one."""
  with socket.socket() as s:
    s.bind(("127.0.0.1", 0))
    address = f"127.0.0.1:{s.getsockname()[1]}"
  many = count == 4
  env = os.environ | {
      "JAX_PLATFORMS": "cpu", "XLA_FLAGS":
      f"--xla_force_host_platform_device_count={4 if many else 1}"}
  begin = ("-c", AS_ON_A_SLICE) if many else TRAIN
  mesh = [f"--config.mesh.{k}={n}" for k, n in AXES.items()] if many else []
  runs = []
  for i in range(count):
    with open(args.out / f"{workdir.name}.{i}.log", "w") as log:
      runs.append(subprocess.Popen(
          [sys.executable, *begin, f"--config={ROOT}/configs/dit.py:test",
           f"--data={args.data}", f"--vae={args.vae}", f"--workdir={workdir}",
           *mesh, "--config.data.shapes=((8,64),)", f"--config.steps={args.steps}",
           "--config.loop.save_every=1000", "--config.loop.preview_every=0",
           *([f"--processes={i}/{count}@{address}"] if count > 1 else [])],
          cwd=ROOT, stdout=subprocess.DEVNULL, stderr=log, env=env))
  return runs


def metrics(workdir):
  """The whole lines of metrics.jsonl."""
  path = workdir / "metrics.jsonl"
  text = path.read_text() if path.exists() else ""
  return [json.loads(line) for line in text.splitlines(True)
          if line.endswith("\n")]


def finish(args, workdir, count):
  """Runs to the last step."""
  codes = [r.wait() for r in start(args, workdir, count)]
  assert codes == [0] * count, (codes, workdir)


def signalled(args, workdir, count, number):
  """Signals the last process after 8 steps; (exit codes, seconds)."""
  runs = start(args, workdir, count)
  while len(metrics(workdir)) < 8:
    assert all(r.poll() is None for r in runs), workdir
    time.sleep(.02)
  runs[-1].send_signal(number)
  begun = time.monotonic()
  return [r.wait() for r in runs], time.monotonic() - begun


def compare(name, run, whole):
  """Prints how far the losses of a run are from those of one process."""
  run, whole = metrics(run), metrics(whole)
  data = [{k: m[k] for k in SAME if k in m} for m in run] == [
      {k: m[k] for k in SAME if k in m} for m in whole]
  far = max(abs(a["loss"] - b["loss"]) / abs(b["loss"])
            for a, b in zip(run, whole))
  print(f"{name}: {len(run)} steps, data equal: {data}, losses differ by at most "
        f"{far:.1e}", flush=True)
  return data and far <= 5e-7


def main():
  flags = argparse.ArgumentParser(description=__doc__)
  flags.add_argument("--data", required=True)
  flags.add_argument("--vae", required=True)
  flags.add_argument("--out", required=True, type=pathlib.Path)
  flags.add_argument("--steps", type=int, default=40)
  args = flags.parse_args()
  args.out.mkdir(parents=True, exist_ok=True)
  one = args.out / "one"
  finish(args, one, 1)
  two = args.out / "two"
  finish(args, two, 2)
  held = [compare("2 processes", two, one)]

  four = args.out / "four"
  codes, _ = signalled(args, four, 4, signal.SIGTERM)
  steps = sorted(p.name for p in (four / "checkpoints").iterdir()
                 if p.name.isdigit())
  print(f"4 processes, SIGTERM at the last: exit codes {codes}, saved step "
        f"{', '.join(steps)}", flush=True)
  held.append(codes == [0] * 4 and len(steps) == 1
              and args.steps - int(steps[0]) >= 20)
  for count in (4, 2, 1):
    again = args.out / f"four_{count}"
    shutil.copytree(four, again)
    finish(args, again, count)
    held.append(compare(f"4 processes to step {steps[0]}, then {count}", again,
                        one))

  codes, seconds = signalled(args, args.out / "killed", 2, signal.SIGKILL)
  said = (args.out / "killed.0.log").read_text().splitlines()[-1]
  print(f"2 processes, kill -9 of the last: exit codes {codes} after "
        f"{seconds:.1f} s, the other says: {said}", flush=True)
  held.append(codes == [1, -signal.SIGKILL] and "another process" in said)
  print("the claims held" if all(held) else "the claims did NOT hold")
  sys.exit(not all(held))


if __name__ == "__main__":
  main()

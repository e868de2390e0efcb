"""Claim: a command that is killed, and given again, ends as if it never had been.

  python experiments/faults/kills.py > experiments/faults/kills.txt

Real processes of `train` (dit:test), `prepare` (a folder of clips), `encode`,
`export` and `generate --prompts` are killed with -9, with all their workers, at an
instant drawn from the first sign of work on, 10 times each, `generate` 3 times.
The same command is given again until it ends by itself: a chain. Then its folder is
compared, file for file, with that of a run that was never killed. After every kill
what has its final name in the folder must be whole.

Of `train` two things are no function of the command: the times in metrics.jsonl,
and the names and times that orbax writes into a checkpoint. So metrics.jsonl is
compared without "timing", and a checkpoint by its step and the digests of its
leaves. Everything else is compared byte by byte.
"""

import argparse
from collections.abc import Callable
import dataclasses
import hashlib
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from sora_jax.data.prepare import prepare
from sora_jax.data.sources import world
from sora_jax.data.store import manifest
from sora_jax.data.store import records

ROOT = pathlib.Path(__file__).parents[2]
CLIPS = 30
UNFINISHED = ("parts/", "checkpoints/", "metrics.jsonl", "lock")
Tree = dict[str, str]


@dataclasses.dataclass(frozen=True)
class Command:
  """A command that is killed.

  Attributes:
    argv: without --out=DIR or --workdir=DIR, whose name is `out`.
    begun: (its folder, what it said) -> whether it works by now.
    kills: how many.
    out: the flag of its folder.
    over: a folder that lies there before.
  """

  argv: tuple[str, ...]
  begun: Callable[[pathlib.Path, str], bool]
  kills: int = 10
  out: str = "out"
  over: pathlib.Path | None = None


def folder_of_clips(at: pathlib.Path) -> None:
  """Small clips of a world as files, each with its captions beside it."""
  prepare.prepare("world:balls", at / "world", world.WorldOptions(
      count=CLIPS, sizes=(((32, 32), 2), ((48, 32), 1)), frames=((5, 2), (9, 1)),
      fps=((8, 1),)), workers=0, test_share=0, quiet=True)
  found = manifest.open_manifest(at / "world")
  (at / "clips").mkdir()
  for i in range(len(found)):
    item = records.read(found, i)
    (at / "clips" / f"{i:02}.mp4").write_bytes(item.data)
    (at / "clips" / f"{i:02}.txt").write_text("\n".join(item.captions))


def commands(at: pathlib.Path) -> dict[str, Command]:
  """What is killed, in an order in which each finds what it reads."""
  (at / "prompts.jsonl").write_text("".join(json.dumps(
      {"prompt": text, "seed": i}) + "\n" for i, text in enumerate((
          "a red ball moves to the right", "a blue square", "a green disc",
          "a ball bounces"))))
  parts = lambda out, said: (out / "parts").exists()
  return {
      "prepare": Command(("prepare", f"folder:{at}/clips", "--shard=4",
                          "--held_out=.1", "--workers=2"), parts),
      "encode": Command(("encode", "--vae=tiny", f"--data={at}/prepare-whole",
                         "--batch=4"), parts),
      "train": Command((
          "train", f"--config={ROOT}/configs/dit.py:test",
          f"--data={at}/encode-whole", "--vae=tiny",
          "--config.data.shapes=((4,64),)", "--config.steps=60",
          "--config.loop.save_every=5", "--config.loop.preview_every=60"),
          lambda out, said: " loss " in said, out="workdir"),
      "export": Command(("export", f"--workdir={at}/train-whole"),
                        lambda out, said: writing(out).exists(),
                        over=at / "older"),
      "generate": Command((
          "generate", f"--prompts={at}/prompts.jsonl", "--size=32x32",
          "--frames=5", "--steps=4"), lambda out, said: out.exists(), 3)}


def writing(out: pathlib.Path) -> pathlib.Path:
  """Where `export` writes a folder."""
  return out.with_name(f"{out.name}.writing")


class Life:
  """A process of a command, with all that it starts."""

  def __init__(self, command: Command, out: pathlib.Path):
    self.log = out.with_name("said.log")
    with open(self.log, "w", encoding="utf-8") as log:
      self.process = subprocess.Popen(
          [sys.executable, "-m", "sora_jax", *command.argv,
           f"--{command.out}={out}"], cwd=ROOT, stdout=log, stderr=log,
          start_new_session=True)
    self.command, self.out = command, out

  def said(self) -> str:
    """Its output so far."""
    return self.log.read_text(errors="replace")

  def work(self) -> float | None:
    """When it began to work; None where it ended before."""
    while self.process.poll() is None:
      if self.command.begun(self.out, self.said()):
        return time.monotonic()
      time.sleep(.002)
    return None

  def end(self) -> None:
    """Waits for its end, which must be a good one."""
    if self.process.wait():
      sys.exit(f"{' '.join(self.command.argv)} ended with "
               f"{self.process.returncode}:\n{self.said()}")

  def kill(self, after: float) -> bool:
    """Kills it after so many seconds of work; False where it ended before."""
    if self.work() is None:
      self.end()
      return False
    time.sleep(after)
    if self.process.poll() is not None:
      self.end()
      return False
    os.killpg(self.process.pid, signal.SIGKILL)
    self.process.wait()
    return True


def tree(out: pathlib.Path) -> Tree:
  """What a folder holds: a digest of every file, by its path."""
  found = {}
  for path in sorted(p for p in out.rglob("*") if not p.is_dir()):
    name = str(path.relative_to(out))
    if not name.startswith("checkpoints/"):
      data = path.read_bytes()
      if name == "metrics.jsonl":
        data = json.dumps([{k: v for k, v in json.loads(line).items()
                            if k != "timing"}
                           for line in data.splitlines()]).encode()
      found[name] = hashlib.sha256(data).hexdigest()
    elif path.parent.name == "meta" and "leaves" in (text := path.read_text()):
      leaves = json.dumps(json.loads(text)["leaves"], sort_keys=True)
      found[name] = hashlib.sha256(leaves.encode()).hexdigest()
  return found


def halves(out: pathlib.Path, *known: Tree) -> list[str]:
  """The files with a final name that are as in none of the known trees."""
  return [name for name, digest in tree_of_final(out).items()
          if all(digest != one.get(name) for one in known)]


def tree_of_final(out: pathlib.Path) -> Tree:
  """What has its final name while the command has not ended."""
  found = {}
  for path in out.rglob("*") if out.exists() else ():
    name = str(path.relative_to(out))
    if path.is_file() and not name.startswith(UNFINISHED):
      found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
  return found


def drill(name: str, command: Command, at: pathlib.Path,
          rng: random.Random) -> bool:
  """Kills a command; whether all its chains ended as a run that was not."""
  whole = at / f"{name}-whole"
  if command.over:
    shutil.copytree(command.over, whole)
  before = tree(whole) if command.over else {}
  life = Life(command, whole)
  begun = life.work()
  life.end()
  span = time.monotonic() - (begun or 0)
  wanted = tree(whole)
  beside = {p.name for p in at.iterdir()}
  kills, chains, good, instants = 0, 0, True, [0.0]
  out = at / "killed"
  while kills < command.kills:
    if command.over:
      shutil.copytree(command.over, out)
    while kills < command.kills and Life(command, out).kill(
        instant := rng.uniform(0, span)):
      kills += 1
      instants.append(instant)
      if bad := halves(out, before, wanted):
        print(f"{name}: killed after {instant:.2f} s, half: {' '.join(bad)}")
        good = False
    if kills == command.kills:
      Life(command, out).end()
    chains += 1
    got = tree(out)
    other = sorted(n for n in {*got, *wanted} if got.get(n) != wanted.get(n))
    left = sorted({p.name for p in at.iterdir()} - beside - {"killed", "said.log"})
    if other or left:
      print(f"{name}: differs after a chain: {' '.join(other + left)}")
      good = False
    shutil.rmtree(out)
  print(f"{name}: killed {kills} times, {min(instants[1:] or [0]):.2f} to "
        f"{max(instants):.2f} s of {span:.2f} s of work, in "
        f"{chains} chains: {len(wanted)} files "
        f"{'equal' if good else 'DIFFER'}", flush=True)
  return good


def main() -> int:
  """Prints every command; 0 where the claim holds."""
  flags = argparse.ArgumentParser(description=__doc__)
  flags.add_argument("--only", default="", help="some of the commands, as "
                     "export,generate; what they need runs once")
  flags.add_argument("--kills", type=int, default=10, help="of each, at most")
  flags.add_argument("--seed", type=int, default=0)
  args = flags.parse_args()
  only = args.only.split(",") if args.only else []
  begun, rng, good = time.monotonic(), random.Random(args.seed), []
  with tempfile.TemporaryDirectory() as name:
    at = pathlib.Path(name)
    folder_of_clips(at)
    for verb, command in commands(at).items():
      if command.over:
        first = dataclasses.replace(command, argv=(*command.argv, "--dtype=float32"))
        Life(first, command.over).end()
      command = dataclasses.replace(command, kills=min(
          command.kills, args.kills) if not only or verb in only else 0)
      good.append(drill(verb, command, at, rng))
      if only[-1:] == [verb]:
        break
  print(f"{time.monotonic() - begun:.0f} s: the claim "
        f"{'holds' if all(good) else 'does not hold'}")
  return int(not all(good))


if __name__ == "__main__":
  sys.exit(main())

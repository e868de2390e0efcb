"""Claim: a full disk ends every writer in one line, harms nothing, and is all.

  python experiments/faults/disk.py > experiments/faults/disk.txt

A small file system in memory is mounted (by root, or under `unshare -rm`) and filled
but for a share of what a command writes. The command then runs as a process of its
own: `prepare`, `encode`, `train`, whose checkpoints and whose metrics do not fit,
`export`, videos of `generate --prompts`, `evaluate`, and `caption` of a data set.
Good is exit code 1 and one line that says so; what has its final name is whole, old
or new, and nothing unfinished lies about but what the same command goes on from;
and with the space given back that command makes what it makes on a disk that never
was full.
"""

import argparse
import dataclasses
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

import kills

MEGABYTES = 256
SHARES = (0, .2, .5, .9)
DRAWN = ("generate", "--size=32x32", "--frames=9", "--steps=2", "--out=OUT")
SCORED = ("evaluate", "--count=2", "--sizes=32x32", "--frames=5", "--steps=2",
          "--batch=2", "--worlds=balls", "--out=OUT")
READ = ("prepare", "encode", "train")  # by the commands after them
JOB = "/job.json"  # from which `caption` goes on
UNFINISHED = re.compile(r"\.tmp$|\.writing$|\.replaced$")


@dataclasses.dataclass(frozen=True)
class Writer:
  """A command whose output does not fit.

  Attributes:
    argv: of the command; OUT is where it writes.
    before: of the command that has written there before, () if none has.
    beside: whether it leaves what lies there, so that only more needs space.
  """

  argv: tuple[str, ...]
  before: tuple[str, ...] = ()
  beside: bool = False


def writers(at: pathlib.Path) -> dict[str, Writer]:
  """The commands, in an order in which each finds what it reads."""
  known = {name: (*command.argv, f"--{command.out}=OUT")
           for name, command in kills.commands(at).items()}
  steps = lambda n, save: (
      *known["train"], f"--config.steps={n}", f"--config.loop.save_every={save}",
      f"--config.loop.preview_every={n}")
  drawn = (*DRAWN, f"--prompts={at}/prompts.jsonl")
  return {
      "prepare": Writer(known["prepare"]),
      "encode": Writer(known["encode"]),
      "videos": Writer(drawn, (*drawn, "--guidance=1")),
      "evaluate": Writer(SCORED, (*SCORED, "--seed=1")),
      "caption": Writer(("caption", "--data=OUT"),
                        (*known["encode"], "--vae=sora_jax/weights/worlds/vae"),
                        beside=True),
      "train": Writer(steps(20, 5), steps(5, 5), beside=True),
      "metrics": Writer(steps(60, 1000), steps(3, 1000), beside=True),
      "export": Writer((*known["export"], "--dtype=float32"), known["export"])}


def run(argv: tuple[str, ...], out: pathlib.Path) -> tuple[int, str]:
  """(exit code, what it said) of a command in a process of its own."""
  done = subprocess.run(
      [sys.executable, "-m", "sora_jax", *(a.replace("OUT", str(out)) for a in argv)],
      cwd=kills.ROOT, capture_output=True, text=True, check=False)
  return done.returncode, done.stdout + done.stderr


def good(argv: tuple[str, ...], out: pathlib.Path) -> None:
  """Runs a command that must end well."""
  code, said = run(argv, out)
  if code:
    sys.exit(f"{' '.join(argv)} ended with {code}:\n{said}")


def line_of(verb: str, said: str) -> str:
  """The one line of an error, "" where it is none or more."""
  lines = [line for line in re.split(r"[\r\n]+", said)
           if line.startswith(f"sora-jax {verb}:")]
  if len(lines) != 1 or "Traceback" in said:
    return ""
  return lines[0] if "space" in lines[0].lower() else ""


def fill(disk: pathlib.Path, left: int) -> None:
  """Fills a file system but for so many bytes."""
  free = shutil.disk_usage(disk).free
  with open(disk / "ballast", "wb") as file:
    os.posix_fallocate(file.fileno(), 0, max(free - left, 1))


def unfinished(disk: pathlib.Path) -> list[str]:
  """What a command leaves that has no final name and that none goes on from."""
  return sorted(str(p.relative_to(disk)) for p in disk.rglob("*")
                if UNFINISHED.search(p.name))


def drill(name: str, writer: Writer, at: pathlib.Path, disk: pathlib.Path,
          shares: tuple[float, ...]) -> bool:
  """Whether a command ends well at every share of the space that it needs."""
  whole, before, out = at / f"{name}-whole", at / f"{name}-before", disk / "out"
  if writer.before and shares:
    good(writer.before, before)
  else:
    before.mkdir()
  shutil.copytree(before, out)
  good(writer.argv, out)
  shutil.move(out, whole)
  wanted, had = kills.tree(whole), kills.tree(before)
  used = lambda folder: sum(p.stat().st_size for p in folder.rglob("*"))
  need = used(whole) - used(before) * writer.beside
  ended, all_good = 0, True
  for share in shares:
    shutil.copytree(before, out)
    fill(disk, round(share * need))
    code, said = run(writer.argv, out)
    line = line_of(writer.argv[0], said)
    harmed = [name for name in kills.halves(out, had, wanted)
              if not name.endswith(JOB)] + unfinished(disk)
    (disk / "ballast").unlink()
    again, more = run(writer.argv, out)
    got = kills.tree(out)
    other = sorted(n for n in {*got, *wanted} if got.get(n) != wanted.get(n))
    fine = (code == 0 or code == 1 and line) and not (harmed or again or other)
    ended += code == 1 and bool(line)
    all_good &= bool(fine)
    text = (line or said[-1000:]) if code else "it fits"
    text = text.replace(str(at), "DIR").replace(sys.prefix, "PYTHON")
    print(f"{'good' if fine else 'BAD':4} {name}, {share:.0%} of "
          f"{need / 1024:.0f} KB: exit {code}, {text!r}", flush=True)
    if not fine:
      print(f"     harmed {harmed}, then exit {again}, other {other} "
            f"{more[-1000:] if again else ''}", flush=True)
    for path in disk.iterdir():
      shutil.rmtree(path)
  if shares:
    print(f"{name}: {ended} of {len(shares)} ended in one line, the rest had space",
          flush=True)
  return all_good and 2 * ended >= len(shares)


def main() -> int:
  """Prints every case; 0 where the claim holds."""
  flags = argparse.ArgumentParser(description=__doc__)
  flags.add_argument("--only", default="", help="some of the writers, as "
                     "train,metrics; what they need runs once")
  args = flags.parse_args()
  only = args.only.split(",") if args.only else []
  begun, held = time.monotonic(), []
  with tempfile.TemporaryDirectory() as name:
    at, disk = pathlib.Path(name), pathlib.Path(name) / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "none",
                       disk], check=False).returncode:
      sys.exit("no file system can be mounted: run it as root, or as `unshare -rm "
               "python experiments/faults/disk.py`")
    try:
      kills.folder_of_clips(at)
      for name_of, writer in writers(at).items():
        asked = not only or name_of in only
        if asked or name_of in READ:
          held.append(drill(name_of, writer, at, disk, SHARES if asked else ()))
    finally:
      subprocess.run(["umount", disk], check=True)
  print(f"{time.monotonic() - begun:.0f} s: the claim "
        f"{'holds' if all(held) else 'does not hold'}")
  return int(not all(held))


if __name__ == "__main__":
  sys.exit(main())

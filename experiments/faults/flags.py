"""Claim: every flag of every verb, with 12 wrong values, ends in one line.

  python experiments/faults/flags.py > experiments/faults/flags.txt

Inputs, models and data sets are names that are not there, so that a value that a
flag takes ends in a line about those. Good is exit code 1 or 2 with one line, and no
traceback, within 20 seconds. The numbers say how many values the flag itself
refuses.
"""

import collections
import contextlib
import io
import os
import re
import sys
import tempfile

import hostile

from sora_jax import main

VALUES = ("", "x", "-1", "0", "1e9", "1e400", "nan", "-inf", "99999999999999999999",
          "1x0", "../\u202e.png", "[" * 3000)
GONE = "/nowhere"
# What a verb needs to come as far as its work, but for a flag that is tried.
NEEDED = {
    "prepare": ["folder:/nowhere", "--out=/nowhere/out"],
    "plan-data": ["--config=configs/dit.py:test", "--data=/nowhere"],
    "plan": ["--config=configs/dit.py:test", "--topology=none:1"],
    "train": ["--config=configs/dit.py:test", "--data=/nowhere",
              "--workdir=/nowhere/run"],
    "encode": ["--vae=/nowhere/m", "--data=/nowhere", "--out=/nowhere/out"],
    "export": ["--workdir=/nowhere", "--out=/nowhere/out"],
    "caption": ["--data=/nowhere", "--captioner=/nowhere/m"],
    "evaluate": ["--model=/nowhere/m", "--out=/nowhere/out"],
}
# What goes with a flag that is of no use alone.
WITH = {"expander": ["--expand"], "llm_url": ["--expand", "--llm_model=m"],
        "llm_model": ["--expand", "--llm_url=http://127.0.0.1:9/v1"]}
DRAWN = ["--model=/nowhere/m", "--prompt=a", "--out=x.mp4"]
INPUTS = {"generate": 0, "loop": 1, "connect": 2}


def needed(verb: str) -> list[str]:
  """The arguments of a verb besides the flag that is tried."""
  inputs = [f"{GONE}/{i}.mp4" for i in range(INPUTS.get(verb, 1))]
  return NEEDED.get(verb, [*inputs, *DRAWN])


def call(argv: list[str]) -> tuple[int, str]:
  """(exit code, what is printed) of a command; -1 where it ends otherwise."""
  out = io.StringIO()
  try:
    with hostile.in_time(), contextlib.redirect_stdout(out), (
        contextlib.redirect_stderr(out)):
      code = main.main(argv)
  except BaseException as e:  # pylint: disable=broad-except
    return -1, f"{type(e).__name__}: {e}"
  return code, out.getvalue().strip()


def flags_of(verb: str) -> list[str]:
  """The flags of a verb, by its help."""
  text = call([verb, "--help"])[1]
  return sorted(set(re.findall(r"^ +--(?:\[no\])?(\w+)", text, re.MULTILINE)))


def cases() -> list[tuple[str, str, str]]:
  """(verb, flag, value) of every case."""
  return [(verb, flag, value) for verb in main.VERBS for flag in flags_of(verb)
          for value in VALUES]


def judge(verb: str, flag: str, value: str) -> tuple[str, str]:
  """("refused", "passed on" or "BAD", what is said) of a case."""
  argv = [a for a in needed(verb) if not a.startswith(f"--{flag}=")]
  beside = WITH.get(flag, [])
  if verb == "caption" and beside:  # its --captioner is what an endpoint replaces
    argv, beside = ["--data=/nowhere"], beside[1:]
  code, said = call([verb, *argv, *beside, f"--{flag}={value}"])
  lines = [line for line in said.splitlines() if "WARNING" not in line
           and "looking for" not in line]
  if code not in (1, 2) or len(lines) != 1 or "Traceback" in said:
    return "BAD", f"{code} {said}"
  return ("refused" if flag in said else "passed on"), said


def run() -> int:
  """Prints the flags of every verb; 0 where the claim holds."""
  counts: collections.Counter = collections.Counter()
  bad = []
  tried = cases()
  at = os.getcwd()
  by_flag: dict = collections.defaultdict(collections.Counter)
  with tempfile.TemporaryDirectory() as name:
    os.symlink(os.path.join(at, "configs"), os.path.join(name, "configs"))
    os.chdir(name)
    for verb, flag, value in tried:
      verdict, said = judge(verb, flag, value)
      counts[verdict] += 1
      by_flag[verb, flag][verdict] += 1
      if verdict == "BAD":
        bad.append(f"BAD {verb} --{flag}={value[:20]}: {said[:300]}")
    os.chdir(at)
  for (verb, flag), found in by_flag.items():
    print(f"{verb} --{flag}: {found['refused']} of {len(VALUES)} refused by the flag")
  print("\n".join(bad))
  print(f"{len(tried)} values of {len(by_flag)} flags: {counts['refused']} refused by "
        f"the flag, {counts['passed on']} in one line about what is not there, "
        f"{counts['BAD']} otherwise: the claim "
        f"{'holds' if not counts['BAD'] else 'does not hold'}")
  return int(bool(bad))


if __name__ == "__main__":
  sys.exit(run())

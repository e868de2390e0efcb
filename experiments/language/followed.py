"""Are the facts that a short prompt asks for drawn, and are they when it is expanded?

  python experiments/language/followed.py --out=DIR [--model=tiny] [--count=300]

The held-out prompts of `sora-jax evaluate` in their short form, each drawn twice
from the same noise: as it is, and as the local expander writes it. What is seen is
compared with the facts of the case. Claim: the difference, paired by prompt, has a
lower bound above -3 points.
Videos are kept in DIR, so the same command goes on where it was stopped.
"""

import argparse
import dataclasses
import pathlib

import numpy as np

import sora_jax
from sora_jax.evaluation import cases as cases_lib
from sora_jax.evaluation import report
from sora_jax.evaluation import sheets
from sora_jax.evaluation import statistics
from sora_jax.evaluation import videos
from sora_jax.evaluation import worlds as suite
from sora_jax.language import expand
from sora_jax.language import local

LEAST = -0.03  # the lower bound of the difference that is claimed
SHOWN = 12  # pairs on the sheet


def main() -> None:
  """Draws, scores and prints."""
  parser = argparse.ArgumentParser()
  parser.add_argument("--out", required=True, type=pathlib.Path)
  parser.add_argument("--model", default="tiny")
  parser.add_argument("--expander", default="worlds/expander")
  parser.add_argument("--count", type=int, default=300)
  parser.add_argument("--seed", type=int, default=0)
  args = parser.parse_args()
  pipeline, expander = sora_jax.load(args.model), local.load(args.expander)
  # Every second case of the suite has its short caption as the prompt.
  short = cases_lib.draw(2 * args.count, args.seed, [(64, 64)])[::2]
  found = [expand.expand(expander, case.prompt, seed=i)
           for i, case in enumerate(short)]
  long = [dataclasses.replace(case, prompt=one.text)
          for case, one in zip(short, found)]
  drawn = {name: videos.generate(pipeline, todo, args.out / name, 8)
           for name, todo in (("short", short), ("expanded", long))}
  answers = {name: [suite.answers(case, case.parse(video))
                    for case, video in zip(short, some)]
             for name, some in drawn.items()}
  ceiling = [suite.answers(case, case.parse(pipeline.reconstruct(case.render())))
             for case in short]
  print(f"{args.count} short prompts, {sum(not one.note for one in found)} expanded, "
        f"to {np.mean([len(one.text.split()) for one in found]):.1f} words from "
        f"{np.mean([len(case.prompt.split()) for case in short]):.1f}; model "
        f"{args.model}\n")
  print(report.markdown(
      ("right", "short", "expanded", "difference", "interval", "ceiling", "n"),
      [line(name, answers["short"], answers["expanded"], ceiling)
       for name in (*suite.ATTRIBUTES, *suite.TOGETHER)]))
  both = [np.mean([[float(a[name]) for name in suite.ATTRIBUTES] for a in some], 1)
          for some in (answers["short"], answers["expanded"])]
  mean = statistics.mean(both[1] - both[0])
  print(f"asked facts: {100 * both[0].mean():.1f} % short, {100 * both[1].mean():.1f} "
        f"% expanded, difference {points(mean)}, n = {mean['n']}: the lower bound is "
        f"{'' if mean['low'] > LEAST else 'NOT '}above {100 * LEAST:.0f} points")
  sheets.sheet(args.out / "sheet.png",
               [v for pair in zip(drawn["short"], drawn["expanded"])
                for v in pair][:2 * SHOWN],
               [c.prompt for pair in zip(short, long) for c in pair][:2 * SHOWN],
               scale=2)


def line(name: str, short: list, expanded: list, ceiling: list) -> tuple:
  """A line of the table: an attribute, and its paired difference."""
  a, b, c = (np.asarray([float(one[name]) for one in some])
             for some in (short, expanded, ceiling))
  change = statistics.mean(b - a)
  low, high = (100 * change[k] for k in ("low", "high"))
  return (name, report.percent(a.mean()), report.percent(b.mean()),
          f"{100 * change['value']:+.1f}", f"{low:+.1f} to {high:+.1f}",
          report.percent(c.mean()), change["n"])


def points(change: dict) -> str:
  """A difference of shares with its interval, in points."""
  return (f"{100 * change['value']:+.1f} ({100 * change['low']:+.1f} .. "
          f"{100 * change['high']:+.1f})")


if __name__ == "__main__":
  main()

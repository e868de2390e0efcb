"""Figures and tables from the committed runs, without training.

  python experiments/scaling/report.py experiments/scaling/hour [--own=FILE.jsonl ..]

Writes tables.md, loss.png, facts.png and sheet.png beside runs.jsonl. A line that
was edited is refused, and so is a prediction that is newer than the run it is of.
Runs of --own enter no fit and no verdict: they are drawn apart, as rings.
"""

import argparse
from collections.abc import Sequence
import pathlib
import sys
from typing import Any

import figure
import lines
import measure
import numpy as np
import predict
import tiers

from sora_jax import files

PUBLISHED = ("published exponents of N_opt ~ C^x: images .568, video .415 "
             "(both begin at 1e17 FLOPs)")


def write(results: pathlib.Path, own: Sequence[lines.Line] = ()) -> None:
  """Draws all that is there.

  Args:
    results: the folder of runs.jsonl.
    own: the runs of users.

  Raises:
    ValueError: no run, one that was edited, or a prediction that is too new.
  """
  runs = lines.read(results)
  if not runs:
    raise ValueError(f"{results} has 0 runs: run ladder.py first")
  lines.one_kind(runs)
  sealed = {name: lines.check(files.read_json(path), str(path))
            for name in ("rule", "prediction", "verdict")
            if (path := results / f"{name}.json").exists()}
  tops = [r for r in runs if r["role"] == "top"]
  if tops and "prediction" in sealed:
    predict.refuse_other_runs(sealed["prediction"], runs)
    predict.refuse_late(sealed["prediction"], tops[0])
  tier = tiers.TIERS[runs[0]["tier"]]
  good, left = lines.usable(runs)
  text = [f"# Tier {tier.name}: {len(runs)} runs\n",
          f"{runs[0]['hardware']}; data {runs[0]['data']}, revision "
          f"{runs[0]['revision']}, base {tier.base:.3g} FLOPs.\n", table(runs)]
  if left:
    text.append("Left out of all fits: " + "; ".join(left) + ".\n")
  if own:
    text.append("## Runs of others, in no fit\n\n" + table(own))
  widths = sealed.get("rule", {}).get("widths", {})
  text += [told(sealed), collapse(good, widths), spread(good),
           apart(good, widths, tier.base)]
  files.write_text(results / "tables.md", "\n".join(filter(None, text)))
  draw(results, good, own, sealed, tier)


def table(runs: Sequence[lines.Line]) -> str:
  """A line a run, as Markdown."""
  rows = ["| role | width | N | FLOPs | tokens | epochs | rate | seed | loss | "
          "colour | shape | direction | all three | GFLOP/s |",
          "|---|" + "---|" * 13]
  for r in sorted(runs, key=lambda r: (r["budget"], r["width"], r["seed"])):
    share = lambda name, r=r: "-" if not r.get("facts") else (
        "{value:.0%} ({low:.0%} to {high:.0%}; {floor:.0%}, {ceiling:.0%})"
        .format(**r["facts"][name]))
    done = r["status"] == "done"
    rows.append(
        f"| {r['role']} | {r['width']} | {r['params'] / 1e6:.2f} M | "
        f"{r['flops']:.2e} | {r['tokens']:.2e} | {r['epochs']:.1f} | "
        f"{r['rate']:.1e} | {r['seed']} | "
        + (f"{r['loss']['all']:.4f}" if done else r["status"]) + " | "
        + " | ".join(share(name) for name in measure.FACTS)
        + f" | {r.get('gflops_per_s', 0):.0f} |")
  return "\n".join(rows) + ("\n\nFacts: right (95 % interval; floor, ceiling).\n")


def told(sealed: dict[str, Any]) -> str:
  """The prediction and the verdict in words."""
  if "prediction" not in sealed:
    return "No prediction yet: the runs at base and 4x are not all there.\n"
  p, v = sealed["prediction"], sealed.get("verdict")
  law = p["law"]
  low, high = p["growth"]["interval"]
  text = [f"## Predicted at 32x, width {p['width']}\n",
          f"Law: L = {law['E']:.3f} + {law['A']:.3f} N^-{law['a']} + {law['B']:.3f} "
          f"D^-{law['b']} ({law['unit']}). N_opt ~ C^{p['growth']['value']:.2f} "
          f"({low:.2f} to {high:.2f}); {PUBLISHED}.\n",
          "Rehearsal, 4x from below 2x: " + (", ".join(
              f"{name} {error:+.1%}"
              for name, error in p["rehearsal"]["errors"].items())
              or "no run") + ".\n"]
  for name in ("loss", "score"):
    if p.get(name):
      low, high = p[name]["interval"]
      line = f"{name}: {p[name]['value']:.4f}, 90 % {low:.4f} to {high:.4f}"
      if v and name in v:
        line += (f"; found {v[name]['value']:.4f}: "
                 + ("held" if v[name]["held"] else "FAILED"))
      text.append(line + ".\n")
  text.append(f"Verdict: {'held' if v['held'] else 'FAILED'}.\n" if v else
              "No verdict: **the run at 32x is not there.**\n")
  return "\n".join(text)


def collapse(runs: Sequence[lines.Line], widths: dict[str, int]) -> str:
  """How far the curves L(x) / L(1) of the runs of the rule lie apart.

  x is the share of a run. Scaling collapse (arXiv 2507.02119) wants them equal.
  """
  found = {}
  for r in chain(runs, widths):
    steps, values = np.array(r["curve"], float).T
    found[r["role"]] = np.interp([0.2, 0.4, 0.6, 0.8], steps / steps[-1],
                                 values / values[-1])
  if len(found) < 2:
    return ""
  rows = [f"| {role} | " + " | ".join(f"{v:.3f}" for v in values) + " |"
          for role, values in found.items()]
  most = float(np.max(np.ptp(np.stack(list(found.values())), axis=0)))
  return "\n".join([
      "## Do the loss curves fall on one another?\n",
      "Validation loss over its last value, at shares of a run.\n",
      "| | .2 | .4 | .6 | .8 |", "|---|---|---|---|---|", *rows,
      f"\nLargest difference {most:.3f}.\n"])


def spread(runs: Sequence[lines.Line]) -> str:
  """The interval that another seed is expected in, at base."""
  groups: dict[int, list[float]] = {}
  for r in runs:
    if r["role"] == "base":
      groups.setdefault(r["width"], []).append(r["loss"]["all"])
  width, losses = max(groups.items(), key=lambda item: len(item[1]),
                      default=(0, []))
  if len(losses) < 2:
    return ""
  mean, off = np.mean(losses), 2 * np.std(losses, ddof=1)
  return (f"## Seeds\n\n{len(losses)} seeds at base, width {width}: loss "
          f"{mean:.4f} +- {off:.4f} (two standard deviations).\n")


def apart(runs: Sequence[lines.Line], widths: dict[str, int], base: float) -> str:
  """Whether base < 4x < 32x in facts, by intervals that do not overlap."""
  chosen = chain(runs, widths)
  if len(chosen) < 2 or any(not r["facts"] for r in chosen):
    return ""
  rows = []
  for name in measure.FACTS:
    ends = [r["facts"][name] for r in chosen]
    rises = all(a["high"] < b["low"] for a, b in zip(ends, ends[1:]))
    rows.append(f"| {name} | " + " | ".join(
        f"{e['value']:.1%} ({e['low']:.1%} to {e['high']:.1%}), n {e['n']}"
        for e in ends) + f" | {'yes' if rises else 'no'} |")
  heads = " | ".join(f"{r['budget'] / base:.0f}x" for r in chosen)
  return "\n".join([
      "## Do facts rise?\n", f"| | {heads} | 95 % intervals apart |",
      "|---|" + "---|" * (len(chosen) + 1), *rows, ""])


def chain(runs: Sequence[lines.Line], widths: dict[str, int]
          ) -> list[lines.Line]:
  """The runs of seed 0 at base, 4x and 32x, of the sizes of the rule."""
  return [r for role in ("base", "four", "top") for r in runs
          if r["role"] == role and r["seed"] == 0
          and r["width"] == widths.get(role)]


def draw(results: pathlib.Path, runs: Sequence[lines.Line],
         own: Sequence[lines.Line], sealed: dict[str, Any], tier: Any) -> None:
  """Writes loss.png, facts.png and sheet.png."""
  runs = [r for r in runs if r["role"] != "pilot"]
  if not runs:
    return
  rule = sealed.get("rule", {}).get("widths", {})
  series = [figure.Series(
      f"width {w}", [(r["flops"], r["loss"]["all"]) for r in runs
                     if r["width"] == w], figure.COLOURS[i % len(figure.COLOURS)])
            for i, w in enumerate(sorted({r["width"] for r in runs}))]
  others = [r for r in own if r["status"] == "done"]
  if others:
    series.append(figure.Series("others'", [
        (r["flops"], r["loss"]["all"]) for r in others], "grey", hollow=True))
  if p := sealed.get("prediction"):
    series.append(figure.Series(
        "predicted, 90 %", [(p["budget"], p["loss"]["value"])], "black",
        hollow=True, bars=[p["loss"]["interval"]]))
  figure.plot(results / "loss.png", series, "held-out loss against training compute",
              "training FLOPs", "loss")
  asked = [r for r in runs if r["facts"]]
  if asked:
    figure.plot(results / "facts.png", [figure.Series(
        name, [(r["flops"], r["facts"][name]["value"]) for r in asked],
        figure.COLOURS[i]) for i, name in enumerate(measure.FACTS)],
                "facts right against training compute", "training FLOPs", "share",
                log_y=False)
  shown = [(f"{r['budget'] / tier.base:.0f}x, {r['budget']:.1e} FLOPs",
            results / "samples" / f"{r['name']}.png") for r in chain(runs, rule)]
  shown = [(title, path) for title, path in shown if path.exists()]
  if shown:
    drawn = min(measure.SHOWN, *filter(None, tier.prompts.values()))
    figure.columns(results / "sheet.png", shown, [
        case.prompt for case in measure.cases(tier, drawn)])


def main(argv: list[str]) -> int:
  parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
  parser.add_argument("results")
  parser.add_argument("--own", nargs="*", default=[])
  args = parser.parse_args(argv)
  try:
    write(pathlib.Path(args.results),
          [line for path in args.own for line in lines.read(path)])
  except ValueError as e:
    print(e, file=sys.stderr)
    return 2
  print(f"{args.results}: tables.md and figures")
  return 0


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))

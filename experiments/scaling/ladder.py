"""Quality rises with training compute: base, 4x and 32x, predicted before 32x.

  python experiments/scaling/ladder.py --tier=smoke --out=DIR
  python experiments/scaling/ladder.py --tier=hour --out=DIR --until=prediction
  python experiments/scaling/ladder.py --tier=gpu --plan

One command a tier, which goes on where it was stopped and skips what exists:

  data          prepared and encoded, under DIR
  pilot         learning rates at the two smallest widths -> the rule of the rate
  surface       small runs, the budgets of a width being decays of one trunk
                -> the rule of the size
  base, 4x      at the size of the rule, with seeds; and one fixed size
  prediction    DIR/results/prediction.json. With --until=prediction it ends here,
                so that it can be committed first
  32x           the size of the rule, then the fixed size
  verdict       DIR/results/verdict.json, and the report

Nothing is fitted after the prediction. Exit code 2 and one line for bad input.
"""

import argparse
import pathlib
import subprocess
import sys
import time
from typing import Any

import family
import fit
import jax
import lines
import predict
import report
import run
import tiers

from sora_jax import files
from sora_jax.data.store import manifest as manifest_lib

FOUR, TOP = 4, predict.TOP


def data(tier: tiers.Tier, out: pathlib.Path) -> None:
  """Prepares and encodes what is not there.

  Raises:
    ValueError: a command failed, whose own line stands above.
  """
  for folder, args in ((out / "clips", ("prepare", *tier.prepare)), (
      out / "latents", ("encode", f"--vae={tier.vae}", f"--data={out / 'clips'}",
                        *tier.encode))):
    if not (folder / "dataset.json").exists():
      done = subprocess.run([sys.executable, "-m", "sora_jax", *args,
                             f"--out={folder}"], check=False)
      if done.returncode:
        raise ValueError(f"sora-jax {args[0]} ended with {done.returncode}: see "
                         "what it says above; then the same command goes on")


def keep_programs(folder: pathlib.Path) -> None:
  """Keeps compiled programs there, unless JAX is told of another place."""
  if not jax.config.jax_compilation_cache_dir:
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


def pilot(tier: tiers.Tier) -> list[run.Job]:
  """The runs that the rule of the learning rate is made of."""
  return [run.Job("pilot", width, tier.pilot * tier.base, rate)
          for width in tier.surface[:2] for rate in tier.rates]


def rate_rule(tier: tiers.Tier, done: list[lines.Line]) -> tuple[float, float]:
  """(a, b) of the learning rate a width^-b, from the pilot."""
  best = {}
  for width in tier.surface[:2]:
    good = sorted((r["rate"], r["loss"]["all"]) for r in done
                  if r["role"] == "pilot" and r["width"] == width
                  and r["status"] == "done")
    if not good:
      raise ValueError(f"all {len(tier.rates)} pilots of width {width} diverged: "
                       "give lower rates")
    best[width] = family.best_rate(*zip(*good))
  if len(best) == 1:
    return best.popitem()[1], 0.0
  return family.rate_rule(best)


def surface(tier: tiers.Tier, rate: Any) -> list[run.Job]:
  """The small runs; those of the whole base have facts as the base has."""
  return [run.Job("base" if share == 1 else "surface", width, share * tier.base,
                  rate(width))
          for width in tier.surface for share in sorted(tier.fractions)]


def above(tier: tiers.Tier, rate: Any, widths: dict[str, int]
          ) -> tuple[list[run.Job], list[run.Job]]:
  """The runs at base and 4x, and those at 32x."""
  base, four, top = (widths[k] for k in ("base", "four", "top"))
  job = lambda role, width, times, seed=0: run.Job(
      role, width, times * tier.base, rate(width), seed)
  low = [job("base", base, 1, seed) for seed in range(tier.seeds[0])]
  low += [job("four", four, FOUR, seed) for seed in range(tier.seeds[1])]
  high = [job("top", top, TOP)]
  if tier.fixed:
    low.append(job("four", base, FOUR))
    high.append(job("fixed", base, TOP))
  unique = lambda jobs: list({one.name: one for one in jobs}.values())
  return unique(low), unique(high)


def works(tier: tiers.Tier, out: pathlib.Path) -> dict[int, family.Work]:
  """The arithmetic of every width of a tier."""
  manifest = manifest_lib.open_manifest(out / "latents")
  return {width: family.work(family.config(tier, width, 10, 1e-3, 0), manifest)
          for width in tier.widths}


def rule(tier: tiers.Tier, out: pathlib.Path, known: dict[int, Any],
         done: list[lines.Line]) -> lines.Line:
  """Sizes by the law of the surface, written once: results/rule.json."""
  path = out / "results" / "rule.json"
  if path.exists():
    return lines.check(files.read_json(path), str(path))
  a, b = rate_rule(tier, done)
  good, left = lines.usable([r for r in done if r["role"] != "pilot"])
  law = fit.law(fit.points(good))
  found = lines.sealed({
      "tier": tier.name, "rate": {"a": a, "b": b}, "growth": law.growth,
      "left_out": left, "widths": {
          name: fit.best_width(law, times * tier.base, known)
          for name, times in (("base", 1), ("four", FOUR), ("top", TOP))}})
  files.write_json(path, found)
  return found


def climb(tier: tiers.Tier, out: pathlib.Path, until: str) -> None:
  """All of a ladder, from where it is."""
  results = out / "results"
  results.mkdir(parents=True, exist_ok=True)
  keep_programs(out / "cache")
  if not tier.optimised:
    jax.config.update("jax_disable_most_optimizations", True)
  data(tier, out)
  known = works(tier, out)

  def run_all(jobs, prediction=None):
    done = lines.read(results)
    lines.one_kind(done)
    for job in jobs:
      if job.name not in {r["name"] for r in done}:
        print(f"{time.strftime('%H:%M:%S')} {job.role} {job.name}", flush=True)
        done.append(run.train(tier, job, out, prediction))
    return done

  done = run_all(pilot(tier))
  a, b = rate_rule(tier, done)
  rate = lambda width: a * width ** -b
  done = run_all(surface(tier, rate))
  widths = rule(tier, out, known, done)["widths"]
  low, high = above(tier, rate, widths)
  done = run_all(low)
  path = results / "prediction.json"
  if not path.exists():
    files.write_json(path, predict.predict(tier, done, widths["top"], known))
  prediction = lines.check(files.read_json(path), str(path))
  print(f"{path}: loss {prediction['loss']['value']:.4f} at 32x")
  if until == "prediction":
    print("commit it; the same command without --until goes on")
    return
  for job in high:
    done = run_all([job], prediction["digest"])
    files.write_json(results / "verdict.json", predict.verdict(prediction, done))
  report.write(results)


def plan(tier: tiers.Tier) -> str:
  """What a tier costs, by its own parts, in FLOPs."""
  share = sum(tier.fractions[:-1]) * family.DECAY + 1
  parts = {"pilot": tier.pilot * len(tier.rates) * 2,
           "surface": len(tier.surface) * share,
           "base, other seeds": tier.seeds[0] - 1.0,
           "4x": FOUR * tier.seeds[1], "32x": float(TOP),
           "one size through all": (FOUR + TOP - (1 + FOUR) * (1 - family.DECAY)
                                    if tier.fixed else 0.0)}
  total = sum(parts.values())
  return "\n".join([
      f"tier {tier.name}: {tier.where}, base {tier.base:.3g} FLOPs, 32x "
      f"{TOP * tier.base:.3g}",
      *(f"  {name:22} {n:6.1f} x base" for name, n in parts.items()),
      f"  {'all':22} {total:6.1f} x base = {total * tier.base:.3g} FLOPs: "
      + ", ".join(f"{total * tier.base / rate / 3600:.3g} h at {name}"
                  for name, rate in (("40 GFLOP/s", 4e10), ("18 TFLOP/s", 1.8e13),
                                     ("10 PFLOP/s", 1e16)))])


def main(argv: list[str]) -> int:
  parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
  parser.add_argument("--tier", choices=tiers.TIERS, required=True)
  parser.add_argument("--out")
  parser.add_argument("--until", choices=("prediction", "verdict"),
                      default="verdict")
  parser.add_argument("--plan", action="store_true")
  args = parser.parse_args(argv)
  tier = tiers.TIERS[args.tier]
  print(plan(tier), flush=True)
  if args.plan:
    return 0
  try:
    if not args.out:
      raise ValueError("--out=DIR is needed: where data, runs and results lie")
    climb(tier, pathlib.Path(args.out), args.until)
  except ValueError as e:
    print(e, file=sys.stderr)
    return 2
  except KeyboardInterrupt as e:
    print(f"{e}; the same command goes on", file=sys.stderr)
    return 130
  return 0


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))

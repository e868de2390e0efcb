"""What the last run will be, said before it is run, and whether it was so.

  rehearse      the law of the runs below 2x predicts those at 4x; by the error of
                this the interval at 32x is widened
  prediction    loss, fact score and best width at 32x with 90 % intervals, and the
                digests of the runs that it was made from
  verdict       held or failed; nothing is fitted again
"""

from collections.abc import Mapping, Sequence
import time
from typing import Any

import fit
import lines
import measure
import numpy as np

TOP = 32
NEAR = 0.03  # the loss is to be within 3 % as well as in its interval


def predict(tier: Any, runs: Sequence[lines.Line], width: int,
            works: Mapping[int, Any]) -> lines.Line:
  """The prediction of the loss, the score and the size at 32x, sealed.

  Args:
    tier: a tiers.Tier.
    runs: all so far; none may be above 4x.
    width: that will be run at 32x.
    works: family.Work of every width of the tier.

  Raises:
    ValueError: fewer than 3 budgets, or a run above 4x.
  """
  lines.one_kind(runs)
  if late := [r["name"] for r in runs if r["budget"] > 4.01 * tier.base]:
    raise ValueError(f"{late[0]} is above 4x: a prediction is made before it")
  good, out = lines.usable([r for r in runs if r["role"] != "pilot"])
  small = [r for r in good if r["budget"] < 2 * tier.base]
  four = [r for r in good if r["budget"] > 2 * tier.base]
  before = fit.law(fit.points(small))
  errors = {r["name"]: float(before.loss(r["params"], r["tokens"])
                             / r["loss"]["all"] - 1) for r in four}
  error = max(map(abs, errors.values()), default=0.0)
  found = fit.points(good)
  law = fit.law(found)
  laws = fit.bootstrap(found, tier.draws)
  budget = TOP * tier.base
  losses = [fit.loss_at(one, budget, works[width]) for one in laws]
  low, high = fit.interval(losses)
  low, high = low * (1 - error), high * (1 + error)
  loss = fit.loss_at(law, budget, works[width])
  widths = [fit.best_width(one, budget, dict(works)) for one in laws]
  return lines.sealed({
      "tier": tier.name, "made": time.time(), "budget": budget, "width": width,
      "law": {"E": law.e, "A": law.a_scale, "a": law.a, "B": law.b_scale,
              "b": law.b, "unit": "N and D in millions"},
      "growth": {"value": law.growth, "interval": fit.interval(
          [one.growth for one in laws])},
      "rehearsal": {"law of": [r["name"] for r in small], "errors": errors},
      "loss": {"value": loss, "interval": [low, high]},
      "score": _score(good, loss, (low, high), tier.draws),
      "best_width": {"value": fit.best_width(law, budget, dict(works)),
                     "interval": [int(w) for w in fit.interval(widths)]},
      "left_out": out, "runs": {r["name"]: r["digest"] for r in runs}})


def _score(runs, loss, span, draws) -> dict[str, Any] | None:
  """The fact score at a loss, through a link that the runs with facts give."""
  asked = [r for r in runs if r["facts"]]
  if len(asked) < 3:
    return None
  x = np.array([r["loss"]["all"] for r in asked])
  y = np.array([measure.score(r["facts"]) for r in asked])
  ends = [float(np.mean([[r["facts"][name][end] for name in measure.FACTS[:3]]
                         for r in asked])) for end in ("floor", "ceiling")]
  link = fit.link(x, y, *ends)
  rng, drawn = np.random.default_rng(0), []
  n = min(r["facts"]["colour"]["n"] for r in asked)
  for _ in range(draws):
    which = rng.integers(len(x), size=len(x))
    noise = np.sqrt(y * (1 - y) / (3 * n))[which] * rng.standard_normal(len(x))
    one = fit.link(x[which], np.clip(y[which] + noise, 0, 1), *ends)
    drawn.append(float(one.score(rng.uniform(*span))))
  return {"value": float(link.score(loss)), "interval": fit.interval(drawn),
          "link": {"floor": ends[0], "ceiling": ends[1], "k": link.k,
                   "middle": link.middle}, "runs": len(asked)}


def refuse_late(prediction: lines.Line, top: lines.Line) -> None:
  """Refuses a prediction that is not older than the run that it is of.

  Raises:
    ValueError: it is newer, or the run was begun with another one.
  """
  if prediction["made"] >= top["began"]:
    raise ValueError(
        f"prediction.json is newer than the run {top['name']}: made "
        f"{prediction['made']:.0f}, the run began {top['began']:.0f}")
  if top["prediction"] != prediction["digest"]:
    raise ValueError(
        f"the run {top['name']} was begun with the prediction "
        f"{str(top['prediction'])[:12]}, this is {prediction['digest'][:12]}")


def refuse_other_runs(prediction: lines.Line, runs: Sequence[lines.Line]) -> None:
  """Refuses runs that are not those of a prediction.

  Raises:
    ValueError: one is gone or was run again.
  """
  now = {r["name"]: r["digest"] for r in runs}
  for name, digest in prediction["runs"].items():
    if now.get(name) != digest:
      raise ValueError(f"prediction.json was made from the run {name} "
                       f"{digest[:12]}, and there is "
                       f"{str(now.get(name))[:12]}")


def verdict(prediction: lines.Line, runs: Sequence[lines.Line]) -> lines.Line:
  """Whether the prediction held, sealed.

  Raises:
    ValueError: no run at 32x, or one that the prediction is not older than.
  """
  lines.check(prediction, "prediction.json")
  refuse_other_runs(prediction, runs)
  top = [r for r in runs if r["role"] == "top"]
  if not top:
    raise ValueError("there are 0 runs at 32x: run it first")
  refuse_late(prediction, top[0])
  if top[0]["status"] != "done":
    return lines.sealed({"held": False, "why": f"the run {top[0]['status']}"})
  low, high = prediction["loss"]["interval"]
  value = top[0]["loss"]["all"]
  off = value / prediction["loss"]["value"] - 1
  found = {"loss": {"value": value, "predicted": prediction["loss"]["value"],
                    "interval": [low, high], "off": off,
                    "held": abs(off) <= NEAR and low <= value <= high}}
  if prediction["score"]:
    low, high = prediction["score"]["interval"]
    value = measure.score(top[0]["facts"])
    found["score"] = {"value": value, "predicted": prediction["score"]["value"],
                      "interval": [low, high], "held": low <= value <= high}
  return lines.sealed({
      "tier": prediction["tier"], "prediction": prediction["digest"],
      "run": top[0]["name"], "run_digest": top[0]["digest"], **found,
      "held": all(part["held"] for part in found.values())})

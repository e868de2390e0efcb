"""Does a model do what images and videos prompt it to? Asked of the worlds.

Each way of prompting is tried on held-out clips (prompting_modes.py says what
is asked of it); the scores go into results.json and tables.md, and sheets/
shows what was made.
"""

from collections.abc import Sequence
import json
import pathlib
from typing import Any

import numpy as np
import tqdm

from sora_jax import files
from sora_jax.evaluation import cases
from sora_jax.evaluation import prompting_modes
from sora_jax.evaluation import report
from sora_jax.evaluation import sheets
from sora_jax.evaluation import statistics
from sora_jax.generation import pipeline as pipeline_lib
from sora_jax.worlds import facts as facts_lib

FEWER = {"drift": 5, "upscale": 4, "long": 50}  # so many times fewer cases

load = pipeline_lib.load


def evaluate(model: Any, request: cases.Request) -> dict[str, Any]:
  """Writes results.json, tables.md, sheets/*.png and parts/*.json.

  A run that was stopped goes on.

  Args:
    model: with the verbs of pipeline.Pipeline.
    request: its modes are of prompting_modes.MODES; all if it names none.

  Returns:
    What results.json holds.

  Raises:
    ValueError: an unknown mode, or a case of a world without objects.
  """
  todo, out, digest = request.cases, request.out, model.model.digest
  modes, how = request.modes or tuple(prompting_modes.MODES), dict(request.how)
  for case in todo:
    if not isinstance(case.facts, facts_lib.Facts):
      raise ValueError(f"the world '{case.cell.world}' has no objects that "
                       "prompting could be scored by")
  for folder in ("parts", "sheets"):
    (out / folder).mkdir(parents=True, exist_ok=True)
  found = {}
  for name in modes:
    some = todo[::FEWER.get(name, 1)]
    key = repr((digest, name, how, some))
    part = out / "parts" / f"{name}.json"
    found[name] = _read(part, key)
    if found[name] is None:
      scores = [prompting_modes.MODES[name](
          model, case, todo[(todo.index(case) + 1) % len(todo)], how)
                for case in tqdm.tqdm(some, desc=name, unit="case")]
      found[name] = summary(scores)
      files.write_json(part, {"key": key, "metrics": found[name]})
      shown = scores[::-(-len(scores) // 12)]
      wide = max(s.video.shape[2] for s in shown)
      sheets.sheet(out / "sheets" / f"{name}.png", [s.video for s in shown],
                   [s.caption for s in shown], frames=max(600 // wide, 3),
                   scale=2)
  result = {"suite": "prompting", "model_digest": digest, "seed": request.seed,
            "count": len(todo), **how, "modes": found}
  report.write(out, result, tables(result))
  return result


def summary(scores: Sequence[prompting_modes.Scores]
            ) -> dict[str, dict[str, Any]]:
  """{metric: {value, low, high, n, ceiling, floor}}."""
  found = {}
  for name in dict.fromkeys(n for s in scores for n in s.values):
    rows = [s.values[name] for s in scores if name in s.values]
    whole = np.median if name.endswith("ratio") else np.mean
    own, best, least = zip(*rows)
    known = lambda v: [x for x in v if x is not None]
    found[name] = {**statistics.summary(own, of=whole),
                   "ceiling": statistics.average(known(best), whole),
                   "floor": statistics.average(known(least), whole)}
  return found


def tables(result: dict[str, Any]) -> str:
  """The scores as Markdown."""
  fewer = ", ".join(f"{name} one in {n}" for name, n in FEWER.items())
  text = [f"# {result['count']} cases, seed {result['seed']}, model "
          f"{result['model_digest'][:12]}\n",
          "psnr in dB, drift in 255ths, ratios are medians, all else shares or "
          "means; with the 95 % interval. n is the number of cases; costly modes "
          f"have fewer ({fewer}).\n"]
  for mode, metrics in result["modes"].items():
    form = lambda v: "-" if v is None else f"{v:.3g}"
    rows = [(name, form(m["value"]), f"{form(m['low'])} to {form(m['high'])}",
             form(m["ceiling"]), form(m["floor"]), m["n"])
            for name, m in metrics.items()]
    text += [f"## {mode}\n", report.markdown(
        ("metric", "value", "interval", "ceiling", "floor", "n"), rows)]
  return "\n".join(text)


def _read(path: pathlib.Path, key: str) -> dict | None:
  """The scores of a mode that were found before, None if of something else."""
  try:
    stored = json.loads(path.read_text(encoding="utf-8"))
    return stored["metrics"] if stored["key"] == key else None
  except (OSError, ValueError, KeyError):
    return None

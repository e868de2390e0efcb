"""Does a model do what images and videos prompt it to? Asked of the worlds.

Each way of prompting is tried on held-out clips (prompted.py says what is asked
of it); the scores go into results.json and tables.md, and sheets/ shows what
was made.
"""

from collections.abc import Sequence
import dataclasses
import json
import pathlib

import numpy as np
import tqdm

from sora_jax import files
from sora_jax.evaluation import cases
from sora_jax.evaluation import prompting_modes
from sora_jax.evaluation import statistics

DEAR = {"drift": 5, "upscale": 4, "long": 50}  # so many times fewer cases


def evaluate(model, digest: str, todo: Sequence[cases.Case], out: pathlib.Path,
             *, seed: int, modes: Sequence[str] = tuple(prompting_modes.MODES),
             **how) -> dict:
  """Runs the suite and writes it to a folder; a run that was stopped goes on.

  Args:
    model: with the verbs of pipeline.Pipeline.
    digest: of the model, written beside the scores.
    todo: the cases, from `cases.draw`.
    out: gets results.json, tables.md, sheets/*.png and parts/*.json.
    seed: of the cases.
    modes: of prompted.MODES.
    **how: steps, guidance and method of the sampler, where they are not the
      model's defaults.

  Returns:
    What results.json holds.
  """
  for folder in ("parts", "sheets"):
    (out / folder).mkdir(parents=True, exist_ok=True)
  found = {}
  for name in modes:
    some = todo[::DEAR.get(name, 1)]
    key = repr((digest, name, how, [dataclasses.astuple(c) for c in some]))
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
      statistics.sheet(out / "sheets" / f"{name}.png", [s.video for s in shown],
                   [s.caption for s in shown], frames=max(600 // wide, 3),
                   scale=2)
  result = {"suite": "prompting", "model_digest": digest, "seed": seed,
            "count": len(todo), **how, "modes": found}
  files.write_json(out / "results.json", result)
  files.write_text(out / "tables.md", tables(result))
  return result


def summary(scores: Sequence[prompting_modes.Scores]) -> dict:
  """{metric: {value, low, high, n, ceiling, floor}}."""
  found = {}
  for name in dict.fromkeys(n for s in scores for n in s.values):
    rows = [s.values[name] for s in scores if name in s.values]
    whole = np.median if name.endswith("ratio") else np.mean
    own, best, least = zip(*rows)
    other = lambda v, of=whole: None if v[0] is None else float(
        of(np.array(v, float)))
    total = (statistics.share(own) if isinstance(own[0], bool | np.bool_) else
             statistics.mean(own, of=whole))
    found[name] = {**total, "ceiling": other(best), "floor": other(least)}
  return found


def tables(result: dict) -> str:
  """The scores as Markdown."""
  fewer = ", ".join(f"{name} one in {n}" for name, n in DEAR.items())
  text = [f"# {result['count']} cases, seed {result['seed']}, model "
          f"{result['model_digest'][:12]}\n",
          "psnr in dB, drift in 255ths, ratios are medians, all else shares or "
          "means; with the 95 % interval. n is the number of cases: of the dear "
          f"modes fewer ({fewer}).\n"]
  for mode, metrics in result["modes"].items():
    form = lambda v: "-" if v is None else f"{v:.3g}"
    rows = [(name, form(m["value"]), f"{form(m['low'])} to {form(m['high'])}",
             form(m["ceiling"]), form(m["floor"]), m["n"])
            for name, m in metrics.items()]
    text += [f"## {mode}\n", statistics.markdown(
        ("metric", "value", "interval", "ceiling", "floor", "n"), rows)]
  return "\n".join(text)


def _read(path: pathlib.Path, key: str) -> dict | None:
  """The scores of a mode that were found before, None if of something else."""
  try:
    stored = json.loads(path.read_text(encoding="utf-8"))
    return stored["metrics"] if stored["key"] == key else None
  except (OSError, ValueError, KeyError):
    return None

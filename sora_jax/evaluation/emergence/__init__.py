"""Does what the report says emerges emerge? Asked of worlds with exact truth.

Report: "These properties emerge without any explicit inductive biases for 3D,
objects, etc. - they are purely phenomena of scale." Each world states rows
(worlds/rows.py), and each row is asked of the same videos: the truth, the truth
through the VAE (the ceiling), the model's from the caption alone and from the
first frames alone, and videos that must fail (the floor).
"""

from collections.abc import Mapping, Sequence
import json
import pathlib
import time
from typing import Any

import tqdm

from sora_jax import files
from sora_jax import worlds
from sora_jax.evaluation import cases
from sora_jax.evaluation import report
from sora_jax.evaluation import sheets
from sora_jax.evaluation.emergence import clips
from sora_jax.evaluation.emergence import judge
from sora_jax.evaluation.emergence import tables
from sora_jax.generation import pipeline as pipeline_lib

SHOWN = 4  # cases of a contact sheet

load = pipeline_lib.load


def draw(count: int, seed: int, sizes: Sequence[tuple[int, int]],
         frames: int = 17, fps: float = 8.0,
         names: Sequence[str] = worlds.DEFAULT,
         only: Mapping[str, Sequence[Any]] | None = None) -> list[cases.Case]:
  """As cases.draw, but `count` cases of each world whose packages are there.

  Raises:
    ValueError: also if no world is left.
  """
  left = [n for n in names if not worlds.missing(n)]
  if not left:
    raise ValueError("; ".join(map(worlds.missing, names)))
  return [case for name in left for case in cases.draw(
      count, seed, sizes, frames, fps, [name], only)]


def evaluate(model: Any, request: cases.Request) -> dict[str, Any]:
  """Writes results.json, tables.md, sheets/*.png, videos/ and parts/*.json.

  A run that was stopped goes on: with the next world, and in it with the next
  video.

  Args:
    model: with `generate_batch`, `extend` and `reconstruct`.
    request: what is asked.

  Returns:
    What results.json holds.
  """
  out, digest = request.out, model.model.digest
  for folder in ("parts", "sheets"):
    (out / folder).mkdir(parents=True, exist_ok=True)
  found: dict[str, Any] = {n: {"left_out": worlds.missing(n)}
                           for n in request.worlds if worlds.missing(n)}
  for name in dict.fromkeys(c.cell.world for c in request.cases):
    todo = [c for c in request.cases if c.cell.world == name]
    part = out / "parts" / f"{name}.json"
    rows = judge.rows(todo[0].world)
    key = repr((digest, dict(request.how), todo, [
        (r.name, r.controls) for r in rows]))
    found[name] = _read(part, key)
    if found[name] is None:
      found[name] = _world(model, name, todo, request)
      files.write_json(part, {"key": key, "found": found[name]})
  result = {"suite": "emergence", "model_digest": digest, "seed": request.seed,
            "count": sum(c.cell.world == request.cases[0].cell.world
                         for c in request.cases),
            **request.how, "worlds": found}
  report.write(out, result, tables.markdown(result))
  return result


def _world(model, name, todo, request):
  """All rows of one world."""
  begin, rows = time.monotonic(), judge.rows(todo[0].world)
  folder = request.out / "videos"
  names = list(dict.fromkeys(c for r in rows for c in r.controls))
  ways = {"truth": [clips.control(case, "") for case in todo],
          "vae": [clips.through(model, case) for case in todo],
          "text": clips.from_text(model, todo, folder / f"{name}-text",
                                  request.batch, **request.how),
          "clip": clips.from_clip(model, todo, folder / f"{name}-clip",
                                  **request.how),
          **{c: [clips.control(case, c) for case in todo] for c in names}}
  of = {}
  for way, shows in ways.items():
    bar = tqdm.tqdm(todo, desc=f"{name}, {way}", unit="clip")
    of[way] = [clips.verdict(case, show, way == "text")
               for case, show in zip(bar, shows)]
  made = []
  for way in ("text", "clip"):
    for row in rows:
      if way == "clip" and row.told:
        continue
      made.append({**tables.row(row, of, way), "by_hidden": tables.by_hidden(
          row, [c.facts for c in todo], of[way])})
  _sheet(request.out / "sheets" / f"{name}.png", todo, ways, made)
  return {"unparsed": {way: tables.unparsed(of[way])
                       for way in ("truth", "vae", "text", "clip")},
          "rows": made, "clips": {way: [
              {"prompt": case.prompt, "seed": case.seed, **v}
              for case, v in zip(todo, of[way])] for way in ("text", "clip")},
          "seconds": time.monotonic() - begin}


def _sheet(path, todo, ways, made):
  """Truth, truth through the VAE, the model and the floor, of some cases."""
  floor = next((m["floor_is"] for m in made if m["floor_is"]), "truth")
  videos, captions = [], []
  some = [i for i, case in enumerate(todo) if case.cell.size == todo[0].cell.size]
  for i in some[:SHOWN]:
    for way in ("truth", "vae", "text", "clip", floor):
      videos.append(ways[way][i](todo[i].facts))
      captions.append(f"{way}: {todo[i].prompt}")
  sheets.sheet(path, videos, captions, frames=9, scale=2)


def _read(path: pathlib.Path, key: str) -> Any:
  """What was found of a world before, None if of something else."""
  try:
    stored = json.loads(path.read_text(encoding="utf-8"))
    return stored["found"] if stored["key"] == key else None
  except (OSError, ValueError, KeyError):
    return None

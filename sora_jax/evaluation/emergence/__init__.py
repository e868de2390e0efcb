"""Does what the report says emerges emerge? Asked of worlds with exact truth.

Report: "These properties emerge without any explicit inductive biases for 3D,
objects, etc. - they are purely phenomena of scale." Each world states rows
(worlds/rows.py), and each row is asked of the same videos: the truth, the truth
through the VAE (the ceiling), the model's from the caption alone and from the
first frames alone, and videos that must fail (the floor). Beside them stand
what-if pairs (what_if.py) and, for each law, paired surprise (surprise.py).
"""

from collections.abc import Mapping, Sequence
import functools
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
from sora_jax.evaluation import surprise
from sora_jax.evaluation import videos
from sora_jax.evaluation.emergence import clips
from sora_jax.evaluation.emergence import judge
from sora_jax.evaluation.emergence import tables
from sora_jax.evaluation.emergence import what_if
from sora_jax.generation import pipeline as pipeline_lib
from sora_jax.generation import text_states

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

  A run that was stopped goes on: with the next part of a world, and in it with
  the next video.

  Args:
    model: a pipeline.Pipeline.
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
    rows = judge.rows(todo[0].world)
    key = repr((digest, dict(request.how), todo))
    part = functools.partial(_part, out / "parts", key)
    found[name] = part(name, repr([(r.name, r.controls) for r in rows]),
                       lambda todo=todo: _world(model, todo, request))
    found[name]["what_if"] = part(f"{name}-what-if", "", (
        lambda todo=todo: _what_if(model, todo, request)))
    found[name]["surprise"] = {law: part(f"{name}-{law}", "", (
        lambda todo=todo, law=law: surprise_of(model, todo, law)))
                               for law in todo[0].world.LAWS}
  result = {"suite": "emergence", "model_digest": digest, "seed": request.seed,
            "count": sum(c.cell.world == request.cases[0].cell.world
                         for c in request.cases),
            **request.how, "worlds": found}
  report.write(out, result, tables.markdown(result))
  return result


def surprise_of(model: Any, todo: Sequence[cases.Case], law: str
                ) -> dict[str, Any]:
  """The paired surprise of as many fours as there are cases (surprise.py)."""
  facts, networks = todo[0].facts, model.model
  text = text_states.encode(networks, model.tokenizer, [""])
  asked = surprise.ask(
      networks, todo[0].cell.world, law, len(todo), todo[0].seed, facts.size,
      facts.frames, facts.fps, networks.defaults.f_ref)
  return surprise.surprise(surprise.judge_of(networks, text), asked)


def _what_if(model, todo, request):
  """The rows of what-if pairs."""
  world, folder = todo[0].world, request.out / "videos"
  name = todo[0].cell.world
  others = [what_if.other(case) for case in todo]
  own, changed = (videos.generate(model, some, folder / f"{name}-{kind}",
                                  request.batch, **request.how)
                  for some, kind in ((todo, "text"), (others, "what-if")))
  found: dict[str, list] = {"model": [], "ceiling": [], "floor": []}
  for i, (case, other) in enumerate(zip(tqdm.tqdm(
      todo, desc=f"{name}, what if", unit="pair"), others)):
    facts = (case.facts, other.facts)
    names = what_if.touched(world, facts)
    truth = [model.reconstruct(world.render(f)) for f in facts]
    for kind, pair in (("model", (own[i], changed[i])), ("ceiling", truth),
                       ("floor", (truth[0], truth[0]))):
      found[kind].append(what_if.answers(world, facts, pair, names))
  return what_if.rows(found["model"], found["ceiling"], found["floor"])


def _world(model, todo, request):
  """All rows of one world."""
  begin, rows = time.monotonic(), judge.rows(todo[0].world)
  folder, name = request.out / "videos", todo[0].cell.world
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
  shown, captions = [], []
  some = [i for i, case in enumerate(todo) if case.cell.size == todo[0].cell.size]
  for i in some[:SHOWN]:
    for way in ("truth", "vae", "text", "clip", floor):
      shown.append(ways[way][i](todo[i].facts))
      captions.append(f"{way}: {todo[i].prompt}")
  sheets.sheet(path, shown, captions, frames=9, scale=2)


def _part(folder: pathlib.Path, key: str, name: str, more: str, make: Any) -> Any:
  """What was found before under a key; made and written if nothing was."""
  path = folder / f"{name}.json"
  try:
    stored = json.loads(path.read_text(encoding="utf-8"))
    if stored["key"] == [key, more]:
      return stored["found"]
  except (OSError, ValueError, KeyError, TypeError):
    pass  # there is none, or it was cut short
  found = make()
  files.write_json(path, {"key": [key, more], "found": found})
  return found

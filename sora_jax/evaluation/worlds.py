"""Does a model draw what its prompt says? Asked of worlds whose truth is known.

Facts that the training split holds out by rule are sampled, described and
given to the model as prompts; what it draws is parsed back and compared with
the facts. Nothing parsed counts as wrong. Every share of right answers stands
beside its ceiling (the rendered truth through the VAE and back, scored the
same way) and its floor (the same videos scored against other prompts of the
same set).

What is asked is what the world scores (contracts.World), such as colour, shape,
count and direction of its objects, and in all

  all_three         colour, shape and direction, of worlds that have them
  all_attributes    these three and the count

An object that was not asked for is a mistake of the count alone: all_three does
not see it, all_attributes does. Specks in noise are parsed as objects, so the
count is above 0 by chance: read it against its floor.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
import dataclasses
import pathlib
from typing import Any

import numpy as np
import tqdm

from sora_jax.evaluation import cases
from sora_jax.evaluation import report
from sora_jax.evaluation import sheets
from sora_jax.evaluation import statistics
from sora_jax.evaluation import videos
from sora_jax.generation import pipeline as pipeline_lib

ATTRIBUTES = ("colour", "shape", "count", "direction")
TOGETHER = {"all_three": ("colour", "shape", "direction"),
            "all_attributes": ATTRIBUTES}
TITLES = {"objects": "number of objects"}  # of options, in tables
Answers = Mapping[str, bool | float]
SHIFTS = 8  # the floor pairs every video with up to this many other prompts


@dataclasses.dataclass(frozen=True)
class Scored:
  """A case with what was seen in its videos."""

  case: cases.Case
  observed: Any  # in the generated video
  score: Answers
  ceiling: Answers


def answers(case: cases.Case, observed: Any) -> Answers:
  """The metrics of what was seen in one video."""
  seen = {k: bool(v) if isinstance(v, np.bool_) else v
          for k, v in case.score(observed).items()}
  return {**seen, **{name: all(seen[k] for k in parts)
                     for name, parts in TOGETHER.items()
                     if seen.keys() >= set(parts)}}


def names(some: Iterable[Answers]) -> list[str]:
  """The metrics of some answers, in the order of the tables."""
  first = (*ATTRIBUTES, *TOGETHER)
  return sorted({name for a in some for name in a}, key=lambda name: (
      first.index(name) if name in first else len(first), name))


def score(todo: Sequence[cases.Case], drawn: Sequence[np.ndarray],
          reconstruct: Callable[[np.ndarray], np.ndarray]) -> list[Scored]:
  """Parses every generated video, and the truth through the VAE beside it."""
  scored = []
  for case, video in zip(tqdm.tqdm(todo, desc="score", unit="video"), drawn,
                         strict=True):
    truth = reconstruct(case.render())
    seen = case.parse(video)
    scored.append(Scored(case, seen, answers(case, seen),
                         answers(case, case.parse(truth))))
  return scored


def floors(scored: Sequence[Scored], seed: int = 0) -> list[Answers]:
  """The answers of videos scored against other prompts of the same world.

  The cases of each world are put in a seeded random order, and every video is
  scored against the facts of the 1st to 8th case after it.
  """
  found = []
  for world in sorted({s.case.cell.world for s in scored}):
    group = [s for s in scored if s.case.cell.world == world]
    order = np.random.default_rng(seed).permutation(len(group))
    group = [group[i] for i in order]
    for shift in range(1, min(SHIFTS, len(group) - 1) + 1):
      others = group[shift:] + group[:shift]
      found += [answers(other.case, s.observed)
                for s, other in zip(group, others)]
  return found


def metrics(scored: Sequence[Scored], seed: int = 0) -> dict[str, dict]:
  """{metric: {value, low, high, ceiling, floor, n}} of a set of cases."""
  low = floors(scored, seed)
  result = {}
  for name in names(s.score for s in scored):
    of = lambda some, name=name: [a[name] for a in some if name in a]
    result[name] = {
        **statistics.summary(of(s.score for s in scored)),
        "ceiling": statistics.average(of(s.ceiling for s in scored)),
        "floor": statistics.average(of(low))}
  return result


load = pipeline_lib.load


def evaluate(model: videos.Pipeline, request: cases.Request) -> dict[str, Any]:
  """Writes results.json, tables.md, sheets/*.png and videos/*.npz.

  Args:
    model: what draws the videos.
    request: its seed also orders the prompts of the floor.

  Returns:
    What results.json holds.
  """
  todo, out, seed = request.cases, request.out, request.seed
  digest = model.model.digest
  drawn = videos.generate(model, todo, out / "videos", request.batch,
                          **request.how)
  scored = score(todo, drawn, model.reconstruct)
  simple = [s for s in scored if s.case.cell.is_simplest]
  result = {
      "suite": "worlds", "model_digest": digest, "seed": seed,
      "count": len(todo), "frames": todo[0].facts.frames,
      "fps": todo[0].facts.fps, **request.how, "metrics": metrics(scored, seed),
      "one_object_plain": metrics(simple, seed),
      "cells": {str(cell): metrics(part, seed)
                for cell, part in groups(scored, lambda c: c)}}
  report.write(out, result, tables(scored, result))
  _sheets(out / "sheets", scored, drawn)
  return result


def groups(scored: Sequence[Scored], of: Callable[[cases.Cell], Any]
           ) -> list[tuple[Any, list[Scored]]]:
  """[(of(cell), the cases of it)], sorted; those of None are left out."""
  found: dict[Any, list[Scored]] = {}
  for s in scored:
    if (key := of(s.case.cell)) is not None:
      found.setdefault(key, []).append(s)
  return sorted(found.items(), key=lambda item: item[0])


def tables(scored: Sequence[Scored], result: dict[str, Any]) -> str:
  """The scores as Markdown: in all, by each property, and cell by cell."""
  text = [f"# {result['count']} held-out prompts, seed {result['seed']}, model "
          f"{result['model_digest'][:12]}\n",
          f"{result['frames']} frames at {result['fps']:g} a second. Percent "
          "right with the 95 % interval; ceiling: the truth through the VAE; "
          "floor: the same videos against other prompts. An object too many "
          "counts against count and all_attributes only.\n"]
  header = ("metric", "right", "interval", "ceiling", "floor", "n")
  for title, key in (("All", "metrics"),
                     ("One object, plain background", "one_object_plain")):
    lines = [(name, report.percent(m["value"]),
             f"{report.percent(m['low'])} to {report.percent(m['high'])}",
             report.percent(m["ceiling"]), report.percent(m["floor"]), m["n"])
            for name, m in result[key].items()]
    text += [f"## {title}\n", report.markdown(header, lines)]
  options = list(dict.fromkeys(
      name for s in scored for name, _ in s.case.cell.options))
  asked = names(s.score for s in scored)
  by: list[tuple[str, Callable]] = [
      ("world", lambda c: c.world),
      *((TITLES.get(name, name), lambda c, name=name: dict(c.options).get(name))
        for name in options),
      ("size (width, height)", lambda c: c.size),
      (f"cell: {', '.join(['world', *options, 'size'])}", lambda c: c)]
  for title, of in by:
    rows: list[tuple] = []
    for name, part in groups(scored, of):
      own = metrics(part, result["seed"])
      rows.append((str(name), len(part), *(
          f"{report.percent(own[m]['value'])} "
          f"({report.percent(own[m]['ceiling'])})" if m in own else "-"
          for m in asked)))
    text += [f"## By {title}\n\nPercent right (ceiling).\n",
             report.markdown(("", "n", *asked), rows)]
  return "\n".join(text)


def _sheets(folder: pathlib.Path, scored: Sequence[Scored],
            drawn: Sequence[np.ndarray], most: int = 12) -> None:
  """Writes one PNG of strips per world and size; what is wrong is named."""
  folder.mkdir(parents=True, exist_ok=True)
  video_of = {id(s): v for s, v in zip(scored, drawn, strict=True)}
  for (world, size), part in groups(scored, lambda c: (c.world, c.size)):
    part = part[::-(-len(part) // most)]
    wrong = [[k for k in names([s.score])
              if s.score[k] is False and k not in TOGETHER] for s in part]
    captions = [f"{s.case.prompt} [{'wrong: ' + ', '.join(w) if w else 'right'}]"
                for s, w in zip(part, wrong, strict=True)]
    sheets.sheet(folder / f"{world}_{size[0]}x{size[1]}.png",
                 [video_of[id(s)] for s in part], captions, scale=2)

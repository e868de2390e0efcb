"""Does a model draw what its prompt says? Asked of worlds whose truth is known.

Facts that the training split holds out by rule are sampled, described and
given to the model as prompts; what it draws is parsed back and compared with
the facts. Nothing parsed counts as wrong. Every share of right answers stands
beside its ceiling (the rendered truth through the VAE and back, scored the
same way) and its floor (the same videos scored against other prompts of the
same set).

  colour, shape, count, direction    every object has the right one
  all_three                          colour, shape and direction
  all_attributes                     these three and the count
  motion                             balls: straight on, bounce, fall, collide
  survives                           occluder: it comes out again as it was

An object that was not asked for is a mistake of the count alone: all_three does
not see it, all_attributes does. Specks in noise are parsed as objects, so the
count is above 0 by chance: read it against its floor.
"""

from collections.abc import Callable, Sequence
import dataclasses
import itertools
import pathlib
from typing import Protocol
import zipfile

import numpy as np
import tqdm

from sora_jax import files
from sora_jax.evaluation import cases
from sora_jax.evaluation import statistics
from sora_jax.worlds import parse

ATTRIBUTES = ("colour", "shape", "count", "direction")
SOME = ("motion", "survives")  # asked of one of the worlds each
METRICS = (*ATTRIBUTES, "all_three", "all_attributes", *SOME)
SHIFTS = 8  # the floor pairs every video with up to this many other prompts


class Pipeline(Protocol):
  """What evaluation asks of a model (generation/pipeline.py has it)."""

  def generate_batch(self, prompts, size, frames, fps, seeds,
                     **how) -> np.ndarray:
    """Draws uint8 [N, T, H, W, 3], one video of each prompt and seed."""

  def reconstruct(self, video: np.ndarray) -> np.ndarray:
    """Takes uint8 [T, H, W, 3] through the VAE and back."""


@dataclasses.dataclass(frozen=True)
class Scored:
  """A case with what was seen in its videos."""

  case: cases.Case
  observed: parse.Observed  # in the generated video
  score: dict[str, bool]
  ceiling: dict[str, bool]


def judge(facts, observed) -> dict[str, bool]:
  """The metrics of one video; those of another world are left out."""
  seen = parse.score(facts, observed)
  answers = {k: bool(seen[k]) for k in (*ATTRIBUTES, *SOME) if k in seen}
  three = [answers[k] for k in ATTRIBUTES if k != "count"]
  return {**answers, "all_three": all(three),
          "all_attributes": all(three) and answers["count"]}


def generate(pipeline: Pipeline, digest: str, todo: Sequence[cases.Case],
             folder: pathlib.Path, batch: int, **how) -> list[np.ndarray]:
  """Draws the video of every case, batched by size, kept in `folder`.

  A video that lies in the folder already, drawn by the same model from the
  same prompt and settings, is read and not drawn again, so that a run that was
  stopped goes on. A batch that is not full is filled with repeats: one program
  serves every batch of a size.
  """
  folder.mkdir(parents=True, exist_ok=True)
  keys = [repr((digest, c.prompt, c.cell.size, c.frames, c.fps, c.seed, how))
          for c in todo]
  videos = [_read(folder / f"{i:05d}.npz", key) for i, key in enumerate(keys)]
  missing = [i for i, video in enumerate(videos) if video is None]
  missing.sort(key=lambda i: (todo[i].cell.size, i))
  with tqdm.tqdm(total=len(todo), initial=len(todo) - len(missing),
                 desc="generate", unit="video") as bar:
    for size, group in itertools.groupby(missing, lambda i: todo[i].cell.size):
      group = list(group)
      for start in range(0, len(group), batch):
        chunk = group[start:start + batch]
        rows = [todo[i] for i in chunk + chunk[-1:] * (batch - len(chunk))]
        drawn = pipeline.generate_batch(
            [c.prompt for c in rows], size=size, frames=rows[0].frames,
            fps=rows[0].fps, seeds=[c.seed for c in rows], **how)
        for i, video in zip(chunk, drawn):
          videos[i] = np.asarray(video)
          _write(folder / f"{i:05d}.npz", keys[i], videos[i])
        bar.update(len(chunk))
  return videos


def _read(path: pathlib.Path, key: str) -> np.ndarray | None:
  """The video of a file, None if there is none with this key."""
  if not path.exists():
    return None
  try:
    with np.load(path, allow_pickle=False) as stored:
      return stored["video"] if str(stored["key"]) == key else None
  except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
    return None  # cut short by a full disk or a kill: draw it again


def _write(path: pathlib.Path, key: str, video: np.ndarray) -> None:
  with files.atomic(path) as file:
    np.savez_compressed(file, video=video, key=key)


def score(todo: Sequence[cases.Case], videos: Sequence[np.ndarray],
          reconstruct: Callable[[np.ndarray], np.ndarray]) -> list[Scored]:
  """Parses every generated video, and the truth through the VAE beside it."""
  scored = []
  for case, video in zip(tqdm.tqdm(todo, desc="score", unit="video"), videos,
                         strict=True):
    truth = reconstruct(case.render())
    seen = parse.parse(video, case.fps)
    scored.append(Scored(
        case, seen, judge(case.facts, seen),
        judge(case.facts, parse.parse(truth, case.fps))))
  return scored


def floors(scored: Sequence[Scored], seed: int = 0) -> list[dict[str, bool]]:
  """The answers of videos judged by other prompts of the same world.

  The cases of each world are put in a seeded random order and every video is
  judged by the facts of the 1st to 8th case after it.
  """
  answers = []
  for world in sorted({s.case.cell.world for s in scored}):
    group = [s for s in scored if s.case.cell.world == world]
    order = np.random.default_rng(seed).permutation(len(group))
    group = [group[i] for i in order]
    for shift in range(1, min(SHIFTS, len(group) - 1) + 1):
      others = group[shift:] + group[:shift]
      answers += [judge(other.case.facts, s.observed)
                  for s, other in zip(group, others)]
  return answers


def metrics(scored: Sequence[Scored], seed: int = 0) -> dict[str, dict]:
  """{metric: {value, low, high, ceiling, floor, n}} of a set of cases."""
  low = floors(scored, seed)
  result = {}
  for name in METRICS:
    own = statistics.share(s.score[name] for s in scored if name in s.score)
    if not own["n"]:
      continue
    result[name] = {
        **own,
        "ceiling": statistics.share(s.ceiling[name] for s in scored
                                if name in s.ceiling)["value"],
        "floor": statistics.share(a[name] for a in low if name in a)["value"]}
  return result


def evaluate(pipeline: Pipeline, digest: str, todo: Sequence[cases.Case],
             out: pathlib.Path, *, seed: int, batch: int = 8, **how) -> dict:
  """Runs the suite and writes it to a folder.

  Args:
    pipeline: the model.
    digest: of the model, written beside the scores.
    todo: the cases, from `cases.draw`.
    out: gets results.json, tables.md, sheets/*.png and videos/*.npz.
    seed: of the cases; orders the prompts of the floor.
    batch: videos drawn at a time.
    **how: steps, guidance and method of the sampler, where they are not the
      model's defaults.

  Returns:
    What results.json holds.
  """
  videos = generate(pipeline, digest, todo, out / "videos", batch, **how)
  scored = score(todo, videos, pipeline.reconstruct)
  simple = [s for s in scored if s.case.cell.objects == 1
            and s.case.cell.background == "plain"]
  result = {
      "suite": "worlds", "model_digest": digest, "seed": seed,
      "count": len(todo), "frames": todo[0].frames, "fps": todo[0].fps,
      **how, "metrics": metrics(scored, seed),
      "one_object_plain": metrics(simple, seed),
      "cells": {str(cell): metrics(part, seed)
                for cell, part in groups(scored, lambda c: c)}}
  files.write_json(out / "results.json", result)
  files.write_text(out / "tables.md", tables(scored, result))
  sheets(out / "sheets", scored, videos)
  return result


def groups(scored: Sequence[Scored], of: Callable) -> list[tuple]:
  """[(of(cell), the cases of it)], sorted."""
  found = {}
  for s in scored:
    found.setdefault(of(s.case.cell), []).append(s)
  return sorted(found.items(), key=lambda item: item[0])


def tables(scored: Sequence[Scored], result: dict) -> str:
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
    rows = [(name, statistics.percent(m["value"]),
             f"{statistics.percent(m['low'])} to {statistics.percent(m['high'])}",
             statistics.percent(m["ceiling"]), statistics.percent(m["floor"]), m["n"])
            for name, m in result[key].items()]
    text += [f"## {title}\n", statistics.markdown(header, rows)]
  for title, of in (
      ("By world", lambda c: c.world),
      ("By number of objects", lambda c: c.objects),
      ("By background", lambda c: c.background),
      ("By size (width, height)", lambda c: c.size),
      ("By cell: world, objects, background, size", lambda c: c)):
    rows = []
    for name, part in groups(scored, of):
      own = metrics(part, result["seed"])
      rows.append((str(name), len(part), *(
          f"{statistics.percent(own[m]['value'])} "
          f"({statistics.percent(own[m]['ceiling'])})" if m in own else "-"
          for m in METRICS)))
    text += [f"## {title}\n\nPercent right (ceiling).\n",
             statistics.markdown(("", "n", *METRICS), rows)]
  return "\n".join(text)


def sheets(folder: pathlib.Path, scored: Sequence[Scored],
           videos: Sequence[np.ndarray], most: int = 12) -> None:
  """Writes one PNG of strips per world and size; what is wrong is named."""
  folder.mkdir(parents=True, exist_ok=True)
  video_of = {id(s): v for s, v in zip(scored, videos, strict=True)}
  for (world, size), part in groups(scored, lambda c: (c.world, c.size)):
    part = part[::-(-len(part) // most)]
    wrong = [[k for k in (*ATTRIBUTES, *SOME) if s.score.get(k) is False]
             for s in part]
    captions = [f"{s.case.prompt} [{'wrong: ' + ', '.join(w) if w else 'right'}]"
                for s, w in zip(part, wrong, strict=True)]
    statistics.sheet(folder / f"{world}_{size[0]}x{size[1]}.png",
                 [video_of[id(s)] for s in part], captions, scale=2)

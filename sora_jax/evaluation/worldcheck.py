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
  survives                           occluder: the object comes out again
"""

from collections.abc import Callable, Sequence
import dataclasses
import itertools
import os
import pathlib
from typing import Protocol
import zipfile

import numpy as np
import tqdm

from sora_jax import worlds
from sora_jax.evaluation import report
from sora_jax.worlds import parse

ATTRIBUTES = ("colour", "shape", "count", "direction")
METRICS = (*ATTRIBUTES, "all_three", "all_attributes", "survives")
OBJECTS = (1, 2, 3)
BACKGROUNDS = ("plain", "textured")
SHIFTS = 8  # the floor pairs every video with up to this many other prompts


class Pipeline(Protocol):
  """What evaluation asks of a model (generation/pipeline.py has it)."""

  digest: str

  def generate_batch(self, prompts, size, frames, fps, seeds, steps=None,
                     guidance=None) -> np.ndarray:
    """Draws uint8 [N, T, H, W, 3], one video of each prompt and seed."""

  def reconstruct(self, video: np.ndarray) -> np.ndarray:
    """Takes uint8 [T, H, W, 3] through the VAE and back."""


@dataclasses.dataclass(frozen=True)
class Cell:
  """A kind of case: scores are also shown for each cell alone."""

  world: str
  objects: int
  background: str
  size: tuple[int, int]  # (W, H)

  def __str__(self):
    return (f"{self.world} {self.objects} {self.background} "
            f"{self.size[0]}x{self.size[1]}")


@dataclasses.dataclass(frozen=True)
class Case:
  """One prompt with its truth."""

  cell: Cell
  facts: object  # worlds.facts.Facts
  prompt: str
  frames: int
  fps: float
  seed: int

  def render(self) -> np.ndarray:
    """The truth, uint8 [T, H, W, 3]."""
    return worlds.WORLDS[self.cell.world].render(
        self.facts, self.cell.size, self.frames, self.fps)


@dataclasses.dataclass(frozen=True)
class Scored:
  """A case with what was seen in its videos."""

  case: Case
  observed: object  # what the parser saw in the generated video
  score: dict[str, bool]
  ceiling: dict[str, bool]


def cases(count: int, seed: int, sizes: Sequence[tuple[int, int]],
          frames: int = 17, fps: float = 8.0,
          names: Sequence[str] = ("balls", "occluder"),
          objects: Sequence[int] = OBJECTS,
          backgrounds: Sequence[str] = BACKGROUNDS) -> list[Case]:
  """Held-out cases, evenly over the cells world x objects x background x size.

  The first `n` of `count` cases are the cases of `count = n`.
  """
  grid = [Cell(*c) for c in itertools.product(
      names, objects, backgrounds, sizes)]
  made = []
  for i in range(count):
    turn, place = divmod(i, len(grid))
    order = np.random.default_rng((seed, turn)).permutation(len(grid))
    cell = grid[order[place]]
    draw = int(np.random.default_rng((seed, turn, place)).integers(2 ** 31))
    world = worlds.WORLDS[cell.world]
    facts = world.sample(draw, cell.size, frames / fps, objects=cell.objects,
                         plain=cell.background == "plain", held_out=True)
    # Short and descriptive captions in turn.
    prompt = world.describe(facts, draw)[i % 2]
    made.append(Case(cell, facts, prompt, frames, fps, draw))
  return made


def judge(facts, observed) -> dict[str, bool]:
  """The metrics of one video; `survives` only where something is hidden."""
  score = parse.score(facts, observed)
  answers = {k: bool(score[k]) for k in (*ATTRIBUTES, "survives")
             if score.get(k) is not None}
  three = [answers[k] for k in ATTRIBUTES if k != "count"]
  return {**answers, "all_three": all(three),
          "all_attributes": all(three) and answers["count"]}


def generate(pipeline: Pipeline, todo: Sequence[Case], folder: pathlib.Path,
             batch: int, steps: int | None = None,
             guidance: float | None = None) -> list[np.ndarray]:
  """Draws the video of every case, batched by size, kept in `folder`.

  A video that lies in the folder already, drawn by the same model from the
  same prompt and settings, is read and not drawn again, so that a run that was
  stopped goes on. A batch that is not full is filled with repeats: one program
  serves every batch of a size.
  """
  folder.mkdir(parents=True, exist_ok=True)
  keys = [repr((pipeline.digest, c.prompt, c.cell.size, c.frames, c.fps, c.seed,
                steps, guidance)) for c in todo]
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
            fps=rows[0].fps, seeds=[c.seed for c in rows], steps=steps,
            guidance=guidance)
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
  part = path.with_suffix(".part")
  with part.open("wb") as file:
    np.savez_compressed(file, video=video, key=key)
  os.replace(part, path)


def score(todo: Sequence[Case], videos: Sequence[np.ndarray],
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
    own = report.share(s.score[name] for s in scored if name in s.score)
    if not own["n"]:
      continue
    result[name] = {
        **own,
        "ceiling": report.share(s.ceiling[name] for s in scored
                                if name in s.ceiling)["value"],
        "floor": report.share(a[name] for a in low if name in a)["value"]}
  return result

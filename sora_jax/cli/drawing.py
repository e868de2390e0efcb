"""Draws what a verb asks for, for every seed, and writes the files.

A file says what made it: the model, the prompt, the seed and the command.
"""

from collections.abc import Iterable
import os
import re
import shlex
import sys
import time
from typing import Any

from absl import flags
import numpy as np

from sora_jax import messages
from sora_jax.cli import expanding
from sora_jax.generation import pipeline
from sora_jax.generation import requests
from sora_jax.generation import result as result_lib
from sora_jax.generation import sampler
from sora_jax.media import video_io


def draw_files(f: flags.FlagValues, argv: list[str], model: pipeline.Pipeline,
               request: requests.Request) -> None:
  """Draws a request for every seed, and writes and prints what was made.

  Args:
    f: the flags of the verb.
    argv: its command line, for the file.
    model: what draws.
    request: what to draw; the first of --count seeds is its own, unless --seed
      is given.
  """
  first = f.seed
  if request.seed is not None and not f["seed"].present and (
      request.seed <= sampler.SEEDS):
    first = request.seed
  request = expanding.expanded(f, argv, model, request)
  tell(f, argv, model, request)
  if f.expand == expanding.SHOW:
    return
  stem, end = os.path.splitext(f.out)
  drawn = []
  for seed in range(first, first + f.count):
    path = f.out if f.count == 1 or f.grid else f"{stem}-{seed}{end}"
    result = draw(f, model, request, seed, path)
    if f.grid:
      drawn.append(result)
    else:
      write(path, argv, model, request, result.frames(), seed)
  if f.grid:
    write(f.out, argv, model, request, result_lib.side_by_side(drawn), first)


def draw(f: flags.FlagValues, model: pipeline.Pipeline,
         request: requests.Request, seed: int, path: str
         ) -> result_lib.Result | result_lib.CrossfadeResult:
  """Draws a request as the flags say; `path` names it to who is watching."""
  return model.draw(request.canvas, request.prompt, seed,
                    report=Progress(f"sampling {path}"), **how(f))


def tell(f: flags.FlagValues, argv: list[str], model: pipeline.Pipeline,
         request: requests.Request, where: str = "") -> None:
  """Prints what a user should know before a request is drawn."""
  for line in model.notes(request.canvas, request.prompt, **how(f)):
    print(f"sora-jax {argv[0]}: {where}{line}", file=sys.stderr)


def how(f: flags.FlagValues) -> dict[str, Any]:
  """The arguments of sampler.Sampling that are flags."""
  names = ("negative", "steps", "guidance", "method", "window")
  return {name: f[name].value for name in names}


def write(path: str, argv: list[str], model: pipeline.Pipeline,
          request: requests.Request, frames: Iterable[np.ndarray],
          seed: int) -> None:
  """Writes frames with their provenance, and says so."""
  start = time.monotonic()
  # Where a file lies changes nothing in it.
  command = [a for i, a in enumerate(argv) if not re.match(r"--?out(=|$)", a)
             and argv[i - 1] not in ("--out", "-out")]
  shape, count = None, 0

  def counted():
    nonlocal shape, count
    for frame in frames:
      shape, count = frame.shape, count + 1
      yield frame

  fps = request.canvas.fps
  notes = video_io.write(path, counted(), fps, metadata=pipeline.origin(
      model.model, request.prompt, seed, request.asked) | {
          "command": shlex.join(["sora-jax", *command])})
  print(f"{path}: {messages.count(count, 'frame')} of {shape[1]}x{shape[0]} at "
        f"{fps:g} fps, seed {seed}, decoded in {time.monotonic() - start:.1f} s")
  for note in notes:
    print(f"{path}: {note}")


class Progress:
  """A line with the step and the time left, where someone is watching."""

  def __init__(self, what: str):
    self.what, self.start = what, time.monotonic()

  def __call__(self, step: int, steps: int) -> None:
    if not sys.stderr.isatty():
      return
    left = (time.monotonic() - self.start) / step * (steps - step)
    end = "\n" if step == steps else ""
    print(f"\r{self.what}: step {step}/{steps}, {left:.0f} s left ", end=end,
          file=sys.stderr, flush=True)

"""Claim: of 70 odd media every one is read, or refused in one line.

  python experiments/faults/media.py > experiments/faults/media.txt

Every file of odd_files.py, and what is no file, is given to `prepare` as the only
clip of a folder, to `animate`, as far as the canvas that it draws on, and to
load_video, by which edit, extend, loop and connect open a video. Good is that it is
read, or refused in one line that names the file, within 20 seconds and 2 GB.
"""

import collections
import dataclasses
import json
import os
import pathlib
import sys
import tempfile

import hostile
import models
import numpy as np
import odd_files

import sora_jax
from sora_jax.data.prepare import prepare
from sora_jax.formats import pretrained
from sora_jax.formats import writing
from sora_jax.generation import pipeline


def make(at: pathlib.Path) -> pipeline.Pipeline:
  """A model of random weights that takes images."""
  model = pretrained.load(str(models.make(at)))
  writing.save(str(at / "animates"), dataclasses.replace(
      model, expand_timesteps=True), np.float32)
  found = pipeline.load(str(at / "animates"))
  # What is compiled here is of no file.
  found.requests.animate(np.zeros((16, 16, 3), np.uint8), "", 1, size=(16, 16))
  return found


def write(root: pathlib.Path, every: int = 1) -> list[pathlib.Path]:
  """Writes every n-th file into a folder of its own, and what is no file."""
  found = []
  some = dict(list(odd_files.FILES.items())[::every])
  for name, make in {**some, **dict.fromkeys(
      ("pipe.mp4", "device.mp4", "folder.mp4", "loop.mp4", "hole.mp4"))}.items():
    path = root / name.replace(".", "_") / name
    path.parent.mkdir(parents=True)
    path.with_suffix(".txt").write_text("a red ball moves to the right\n")
    if make is not None:
      path.write_bytes(make())
    elif name == "pipe.mp4":
      os.mkfifo(path)
    elif name == "device.mp4":
      path.symlink_to("/dev/zero")
    elif name == "folder.mp4":
      path.mkdir()
    elif name == "loop.mp4":
      path.symlink_to(path)
    else:
      with open(path, "wb") as file:
        file.truncate(2**36)
    found.append(path)
  return found


def prepared(path: pathlib.Path) -> str:
  """What `prepare` makes of a file: "taken", or why it is left out."""
  out = path.parent.with_name(f"{path.parent.name}-out")
  try:
    prepare.prepare(f"folder:{path.parent}", out, test_share=0, workers=0, quiet=True)
  except ValueError as e:
    lines = (out / "rejects.jsonl").read_text().splitlines() if out.exists() else []
    reasons = [json.loads(line)["reason"] for line in lines]
    said = "; ".join(reasons) or str(e)
    return said if reasons or str(path) in said or "holds 0 clips" in said else (
        f"BAD: {said}")
  return "taken"


def animated(path: pathlib.Path, model: pipeline.Pipeline) -> str:
  """What the verb `animate` makes of a file, as far as its canvas."""
  try:
    model.requests.animate(path, "a red ball", 1, size=(16, 16))
  except (ValueError, OSError) as e:
    return line_of(path, e)
  return "taken"


def loaded(path: pathlib.Path) -> str:
  """What load_video makes of a file."""
  try:
    return f"taken: {sora_jax.load_video(path)}"
  except (ValueError, OSError) as e:
    return line_of(path, e)


def line_of(path: pathlib.Path, error: Exception) -> str:
  """What an error says, "BAD" in front where it names no file or has more lines."""
  text = str(error)
  return text if str(path) in text and "\n" not in text else f"BAD: {text}"


def judge(path: pathlib.Path, model: pipeline.Pipeline | None
          ) -> dict[str, tuple[str, str]]:
  """The verdict of each reader on a file, and what is said.

  Without a model `animate` is left out.
  """
  found, readers = {}, {"prepare": prepared, "load_video": loaded}
  if model:
    readers["animate"] = lambda path: animated(path, model)
  for name, read in readers.items():
    try:
      with hostile.in_time():
        said = read(path)
      verdict = ("taken" if said.startswith("taken") else "BAD" if said.startswith(
          "BAD") or "\n" in said else "one line")
    except (Exception, hostile.TooLate) as e:  # pylint: disable=broad-except
      verdict, said = "BAD", f"{type(e).__name__}: {e}"
    found[name] = verdict, said.replace(str(path.parent), "DIR")
  return found


def run() -> int:
  """Prints every file; 0 where the claim holds."""
  counts: collections.Counter = collections.Counter()
  with tempfile.TemporaryDirectory() as name:
    model = make(pathlib.Path(name))
    for path in write(pathlib.Path(name) / "in"):
      for reader, (verdict, said) in judge(path, model).items():
        counts[verdict] += 1
        hostile.tell(verdict, (path.name, reader), said)
  return hostile.conclude(counts, "readings of odd files")


if __name__ == "__main__":
  sys.exit(run())

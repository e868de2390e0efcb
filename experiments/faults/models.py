"""Claim: of 200 edited model folders every one is read, or refused in one line.

  python experiments/faults/models.py > experiments/faults/models.txt

A small model of random weights is written and its files are edited: each key of
each JSON file gets values that it cannot have, files become links to devices,
pipes, folders, garbage or half of themselves. Each folder is then loaded, and a
video asked of it as far as a canvas and its steps. Good is that this works, or one
line that names the folder, within 20 seconds and 2 GB.
"""

import collections
import json
import os
import pathlib
import random
import sys
import tempfile

import hostile
import jax
import numpy as np

from sora_jax.formats import pretrained
from sora_jax.formats import weight_files
from sora_jax.formats import writing
from sora_jax.generation import pipeline
from sora_jax.generation import sampler
from sora_jax.models import dit
from sora_jax.models.text import encoder
from sora_jax.models.vae import vae
from sora_jax.text import tokenizer

CASES = 200
VALUES = (None, -1, 0, 10**9, 10**30, 1.5, float("nan"), float("inf"), "x", "", [],
          [-1], {}, {"a": 1}, True, [[1]])
FILES = ("model_index.json", "transformer/config.json", "vae/config.json",
         "text_encoder/config.json", "scheduler/scheduler_config.json")
WEIGHTS = ("transformer/diffusion_pytorch_model.safetensors",
           "tokenizer/tokenizer.model", "SHA256SUMS", *FILES)


def make(at: pathlib.Path) -> pathlib.Path:
  """A model folder of random weights."""
  words = tokenizer.train(["a red ball moves up", "a blue box"], at / "tokenizer")
  drawn = lambda init, module: pretrained.Component(module, jax.tree.map(
      lambda x: np.full(x.shape, .1, np.float32),
      jax.eval_shape(lambda: init(module, jax.random.key(0)))))
  network = dit.DiT(layers=2, heads=2, head_size=12, ffn=32, patch_channels=16,
                    out_channels=16, text_width=8)
  model = pretrained.Model(
      drawn(vae.init, vae.VAE(base=4, mults=(1, 1, 1), z=4, blocks=1)),
      np.zeros(4), np.ones(4), drawn(dit.init, network),
      drawn(encoder.init, encoder.TextEncoder(
          vocab=words.vocab_size, width=8, layers=1, heads=2, ffn=16)),
      words.model, {
          "_class_name": "UniPCMultistepScheduler", "use_flow_sigmas": True,
          "flow_shift": 2.0, "prediction_type": "sample", "sora_jax": {
              "process": {"prediction": "x0"}, "steps": 4, "guidance": 3.0,
              "guidance_interval": (0.0, 1.0), "fps": 8.0, "method": "folder",
              "f_ref": 8.0, "max_tokens": 999, "text_limit": 9}})
  writing.save(str(at / "model"), model, np.float32)
  return at / "model"


def edits() -> list[tuple]:
  """What is done to a folder: ("key", file, path, value) or (what, file)."""
  return [(what, file) for file in WEIGHTS for what in (
      "gone", "empty", "half", "noise", "zero", "pipe", "folder", "deep",
      "outside")] + [("sums", line) for line in (
          "/dev/zero", "../../etc/passwd", "pipe", "no", "x" * 5000)]


def key_edits(folder: pathlib.Path) -> list[tuple]:
  """Every key of every JSON file with every value."""
  found = []

  def walk(file, value, path):
    if isinstance(value, dict):
      for key, inner in value.items():
        walk(file, inner, (*path, key))
    if path:
      found.extend(("key", file, path, new) for new in VALUES)

  for file in FILES:
    walk(file, json.loads((folder / file).read_text()), ())
  return found


def cases(folder: pathlib.Path) -> list[tuple]:
  """CASES edits, the same at every call."""
  others = edits()
  keys = random.Random(0).sample(key_edits(folder), CASES - len(others))
  return others + keys


def edit(folder: pathlib.Path, case: tuple) -> None:
  """Does an edit; the sums go with it where they would tell at once."""
  what, name = case[:2]
  path = folder / name if what != "sums" else folder / weight_files.SUMS
  if what == "sums":
    if name == "pipe":
      os.mkfifo(folder / "pipe")
    with open(path, "a", encoding="utf-8") as f:
      f.write(f"{'0' * 64}  {name}\n" if name != "no" else "no\n")
    return
  if name != weight_files.SUMS:
    (folder / weight_files.SUMS).unlink()
  if what == "key":
    value = json.loads(path.read_text())
    *outer, last = case[2]
    at = value
    for key in outer:
      at = at[key]
    at[last] = case[3]
    path.write_text(json.dumps(value))
    return
  hostile.damage(path, what)


def use(folder: pathlib.Path) -> str:
  """Loads a folder and asks for a video."""
  model = pipeline.load(str(folder))
  request = model.requests.generate("a red ball", (16, 16), 5)
  sampler.check(model.model, request.canvas, sampler.Sampling())
  return "taken"


def judge(folder: pathlib.Path, case: tuple, at: pathlib.Path) -> tuple[str, str]:
  """The verdict on a case and what is said, `hostile.judge`."""
  return hostile.judge(folder, at, lambda copy: edit(copy, case), use)


def run() -> int:
  """Prints every case; 0 where the claim holds."""
  counts: collections.Counter = collections.Counter()
  with tempfile.TemporaryDirectory() as name:
    folder = make(pathlib.Path(name))
    for i, case in enumerate(cases(folder)):
      kind, said = judge(folder, case, pathlib.Path(name) / f"case-{i}")
      counts[kind] += 1
      hostile.tell(kind, case, said)
  return hostile.conclude(counts, "edited folders")


if __name__ == "__main__":
  sys.exit(run())

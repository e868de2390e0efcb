"""`sora-jax generate`: a prompt becomes a video or an image file.

--prompts=FILE.jsonl draws many, one file each in the folder --out. A line holds
{"prompt": ..} and, where it differs from the flags, seed, size, frames and fps.
The name of a file follows from its line, so what exists is skipped and a run
that was stopped goes on.
"""

from collections.abc import Callable, Iterable
import hashlib
import json
import os
import re
from typing import Any

from absl import flags

from sora_jax import files
from sora_jax import messages
from sora_jax.cli import drawing
from sora_jax.cli import expanding
from sora_jax.cli import sampling
from sora_jax.generation import canvas as canvas_lib
from sora_jax.generation import pipeline
from sora_jax.generation import requests
from sora_jax.generation import sampler
from sora_jax.media import limits

KEYS: dict[str, type | tuple[type, ...]] = {
    "prompt": str, "seed": int, "size": str, "frames": int,
    "fps": (int, float)}


SHOWN = 20  # bad lines that are told of


def run(argv: list[str]) -> int:
  """Runs the verb."""
  f = sampling.define(requests.Requests.generate)
  flags.DEFINE_string("prompts", None, "A file of prompts, one JSON object a "
                      "line, instead of --prompt; --out is then a folder.",
                      flag_values=f)
  sampling.parse(f, argv)
  if f.prompts:
    return _many(f, argv)
  if not f.prompt.strip():
    raise ValueError("--prompt is empty: say what to show")
  sampling.ending(f)
  size = sampling.parse_size(f.size)
  model = sampling.load(f)
  drawing.draw_files(f, argv, model, model.requests.generate(
      f.prompt, size, f.frames, f.fps))
  return 0


def _many(f: flags.FlagValues, argv: list[str]) -> int:
  """Draws every line of a file that has not been drawn."""
  if f.prompt or f.grid or f.count > 1 or not f.out:
    raise ValueError("--prompts=FILE goes with --out=FOLDER and without "
                     "--prompt, --count and --grid")
  texts = [(i, text) for i, text in enumerate(open_text(f.prompts), 1)
           if text.strip()]
  if not texts:
    raise ValueError(f"{f.prompts} holds no prompt")
  lines = _all_good(f, texts, lambda text: parse_line(text, f.prompts))
  model, done = sampling.load(f), 0
  there = lambda line: os.path.exists(os.path.join(
      f.out, name_of(line, f, model)))
  _all_good(f, ((i, line) for (i, _), line in zip(texts, lines, strict=True)
                if not there(line)), lambda line: _request(f, model, line))
  show = f.expand == expanding.SHOW
  if not show:
    os.makedirs(f.out, exist_ok=True)
  for i, line in enumerate(lines):
    path = os.path.join(f.out, name_of(line, f, model))
    if there(line):
      done += 1
      continue
    request, seed = _request(f, model, line), line.get("seed", f.seed)
    where = f"{f.prompts}: prompt {i + 1}: "
    request = expanding.expanded(f, argv, model, request, where)
    drawing.tell(f, argv, model, request, where)
    if show:
      continue
    result = drawing.draw(f, model, request, seed, f"{i + 1} of {len(lines)}")
    drawing.write(path, argv, model, request, result.frames(), seed)
  print(f"{f.out}: {messages.count(len(lines), 'prompt')}, {done} of them "
        "there already")
  return 0


def _request(f: flags.FlagValues, model: pipeline.Pipeline,
             line: dict) -> requests.Request:
  """What a line asks for; a canvas that the model cannot draw is refused."""
  get = lambda key: line.get(key, getattr(f, key))
  request = model.requests.generate(
      line["prompt"], sampling.parse_size(get("size")), get("frames"),
      get("fps"))
  canvas = request.canvas
  if isinstance(canvas, canvas_lib.Canvas):
    sampler.check(model.model, canvas, sampler.Sampling(**drawing.how(f)))
  return request


def _all_good(f: flags.FlagValues, lines: Iterable[tuple[int, Any]],
              make: Callable[[Any], Any]) -> list:
  """make(line) of all lines, so that all bad ones are told before any is drawn.

  Raises:
    ValueError: the bad lines, by their numbers.
  """
  good, bad = [], []
  for i, line in lines:
    try:
      good.append(make(line))
    except ValueError as e:
      bad.append(f"{i}: {str(e).removeprefix(f'{f.prompts}: ')}")
  if bad:
    more = f"; and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
    raise ValueError(f"{f.prompts}:{'; '.join(bad[:SHOWN])}{more}")
  return good


def open_text(path: str) -> list[str]:
  """The lines of a file; only a line feed ends one, with or without a return.

  Raises:
    ValueError: no regular file, or another encoding.
  """
  return [line.removesuffix("\r") for line in files.read_text(path).split("\n")]


def parse_line(text: str, where: str) -> dict:
  """A line of a batch file.

  Raises:
    ValueError: not an object with a prompt, or a key that is not one of KEYS.
  """
  try:
    line = files.parse_json(text)
  except ValueError as e:
    raise ValueError(f"{where}: {e}") from e
  if not isinstance(line, dict) or not str(line.get("prompt", "")).strip():
    raise ValueError(f'{where}: write {{"prompt": "what to show"}}')
  for key, value in line.items():
    if key not in KEYS:
      raise ValueError(f"{where}: there is no key {key!r}: {', '.join(KEYS)}")
    if not isinstance(value, KEYS[key]) or isinstance(value, bool):
      raise ValueError(f"{where}: {key} is {value!r}")
  if not 0 <= line.get("seed", 0) <= sampler.SEEDS:
    raise ValueError(f"{where}: seed is {line['seed']}, not 0 to 2^62")
  if "fps" in line:
    limits.check_fps(line["fps"], f"{where}: fps")
  return line


def name_of(line: dict, f: flags.FlagValues,
            model: pipeline.Pipeline) -> str:
  """The file of a line: words of its prompt, and a hash of all it depends on."""
  words = re.sub(r"[^a-z0-9]+", "-", line["prompt"].lower()).strip("-")[:48]
  keys = ("seed", "size", "frames", "fps", "negative", "steps", "guidance",
          "method", "window", "dtype")
  more = ("expand", "expander", "llm_url", "llm_model") if f.expand else ()
  fields = {k: getattr(f, k) for k in keys + more} | line
  told = json.dumps([model.model.digest, fields], sort_keys=True)
  ending = ".png" if fields["frames"] == 1 else ".mp4"
  return f"{words}-{hashlib.sha256(told.encode()).hexdigest()[:12]}{ending}"

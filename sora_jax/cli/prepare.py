"""`sora-jax prepare SOURCE.. --out=DIR`: captioned clips become shards."""

from collections.abc import Callable
import dataclasses
import functools
import math
from typing import Any

from absl import flags

from sora_jax import messages
from sora_jax.cli import options
from sora_jax.data.prepare import filters
from sora_jax.data.prepare import job
from sora_jax.data.prepare import prepare
from sora_jax.data.sources import world as world_lib
from sora_jax.text import tokenizer

# Help of the flags that are made of filters.Rules, each of the field's type.
RULES = {
    "min_frames": "Frames of a clip, at least.",
    "min_seconds": "Seconds of a video, at least; 0 is any.",
    "max_seconds": "Seconds of a video, at most; 0 is any.",
    "min_side": "Pixels of the short side, at least.",
    "max_aspect": "Long side / short side, at most; 0 is any.",
    "min_fps": "Frames a second of a video, at least; 0 is any.",
    "min_motion": "Mean change from frame to frame in levels of 255, at least.",
    "max_motion": "The same, at most; 0 is any.",
    "max_static": "Share of frames that equal the one before, at most; 1 is any.",
    "max_combed": "Share of combed frames, where no tag says interlaced, at "
                  "most; 1 is any.",
    "min_brightness": "Mean brightness in 0 .. 1, at least.",
    "max_brightness": "Mean brightness in 0 .. 1, at most.",
    "min_words": "Words of the first caption, at least.",
    "max_repeats": "Files that may share a first caption; where more do, all of "
                   "them are left out; 0 is any.",
    "duplicates": "Leave out files that are equal, byte for byte.",
    "phash_distance": "Leave out clips whose perceptual hashes of 192 bits "
                      "differ in at most so many, up to 11; -1 is off.",
    "max_tokens": "Tokens of a clip; a larger one is reduced, keeping its "
                  "aspect; 0 is any.",
    "token": "Frames, height and width in pixels that a token covers, for "
             "--max_tokens.",
}
# The same of world.WorldOptions: flag -> (field, help).
WORLD = {
    "size": ("sizes", "WxH[:WEIGHT],.. in pixels, of a world's clips."),
    "frames": ("frames", "N[:WEIGHT],.. of a world's clips; 1 makes images."),
    "fps": ("fps", "F[:WEIGHT],.. frames a second of a world's clips."),
    "objects": ("objects", "N[:WEIGHT],.. objects of a world's clips."),
}


def run(argv: list[str]) -> int:
  """Runs the verb."""
  f = _flags()
  names = f(argv)[1:]
  if not names:
    raise ValueError("name one source or several, such as world:balls or "
                     "folder:DIR; got 0")
  if not f.out:
    raise ValueError("--out=DIR is needed: the folder to write")
  info = prepare.prepare(
      names, f.out, _world(f), f.test_share, f.workers, f.shard, f.vocab,
      rules=_rules(f), cuts=f.cuts, chunk_seconds=f.chunk_seconds,
      held_out=f.held_out, dry_run=f.dry_run,
      beam=None if f.beam is None else tuple(f.beam.split()))
  clips = ", ".join(f"{n} {split}" for split, n in info["clips"].items())
  shards = messages.count(sum(info.get("shards", {}).values()), "shard")
  if f.dry_run and "shards" not in info:
    print(f"{f.out}: a dry run: {clips} clips, {info['rejected']} rejected; see "
          f"{f.out}/report.html and rejects.jsonl")
    return 0
  print(f"{f.out}: {clips} clips in {shards}, "
        f"{info['rejected']} rejected, tokenizer of {info['vocab_size']} ids; "
        f"see {f.out}/report.html")
  return 0


def _flags() -> options.Flags:
  """The flags of the verb, not read yet."""
  f, worlds = options.Flags(), world_lib.WorldOptions()
  text, whole, number, switch = (
      functools.partial(define, flag_values=f) for define in (
          flags.DEFINE_string, flags.DEFINE_integer, flags.DEFINE_float,
          flags.DEFINE_boolean))
  text("out", None, "The folder to write.")
  whole("count", worlds.count, "Clips of a world.", lower_bound=1)
  whole("seed", worlds.seed, "Of a world's clips and of the division into train "
        "and test.", lower_bound=0)
  number("test_share", job.TEST_SHARE, "The share in 0 .. 1 that is held back "
         "as split test.")
  number("held_out", 0.0, "The share in 0 .. 1 of files that are held out of all "
         "training as split val, 1 to 512 clips; `train` tells the loss on it. "
         "0 makes none.")
  for name, (attribute, what) in WORLD.items():
    text(name, _text(getattr(worlds, attribute)), what)
  number("plain", worlds.plain, "The share in 0 .. 1 of a world's clips with a "
         "plain background; the others are textured.", lower_bound=0,
         upper_bound=1)
  whole("workers", None, "Processes; all cores by default, 0 works in this one.",
        lower_bound=0)
  whole("shard", job.SHARD, "Clips of a shard.", lower_bound=1)
  whole("vocab", tokenizer.VOCAB, "Ids of the tokenizer, at most.",
        lower_bound=16)
  for field in dataclasses.fields(filters.Rules):
    value: Any = field.default
    define: Any = {bool: switch, int: whole, float: number}.get(
        type(value), text)
    define(field.name, "x".join(map(str, value)) if define is text else value,
           RULES[field.name])
  switch("cuts", False, "Cut files into shots (extra `data`).")
  switch("follow_links", worlds.follow_links, "Follow links that lead out of a "
         "folder.")
  number("chunk_seconds", 0.0, "Divide longer videos and shots into equal chunks "
         "of at most so many seconds; 0 leaves them whole.", lower_bound=0)
  switch("dry_run", False, "Scan and report, write no shards; the scan is kept "
         "for the run itself.")
  text("beam", None, "Run on Apache Beam (extra `beam`) with these flags of "
       "its own, such as \"--runner=DirectRunner\".")
  return f


def _rules(f: options.Flags) -> filters.Rules:
  """The thresholds of a command line."""
  values: dict[str, Any] = {name: f[name].value for name in RULES}
  return filters.Rules(**{**values, "token": _token(f.token)})


def _world(f: options.Flags) -> world_lib.WorldOptions:
  """The options of worlds of a command line."""
  kinds: dict[str, Callable[[str], Any]] = {
      "size": _size, "frames": int, "fps": float, "objects": int}
  given = {field: _weighted(name, f[name].value, kinds[name])
           for name, (field, _) in WORLD.items() if f[name].present}
  return world_lib.WorldOptions(
      count=f.count, seed=f.seed, plain=f.plain,
      follow_links=f.follow_links,
      **{k: v for k, v in given.items() if v})


def _text(weighted: tuple) -> str:
  """(((64, 64), 4), ((96, 56), 1)) as '64x64:4,96x56:1'."""
  return ",".join(
      ("x".join(map(str, v)) if isinstance(v, tuple) else str(v)) + f":{w}"
      for v, w in weighted)


def _weighted(name: str, text: str | None, kind: Callable[[str], Any]) -> tuple:
  """'64x64:4,96x56' to (((64, 64), 4.0), ((96, 56), 1.0)); () of ''."""
  pairs: list[tuple[Any, float]] = []
  for part in text.split(",") if text else ():
    value, _, weight = part.partition(":")
    try:
      pairs.append((kind(value), float(weight or 1)))
    except ValueError as e:
      raise ValueError(f"--{name}={text}: cannot read {part!r}, give "
                       "VALUE[:WEIGHT],..") from e
    size = pairs[-1][0] if isinstance(pairs[-1][0], tuple) else pairs[-1][:1]
    if not all(0 < n < math.inf for n in size) or not 0 < pairs[-1][1] < 1e9:
      raise ValueError(f"--{name}={text}: {part!r} must be above 0 and finite")
  return tuple(pairs)


def _size(text: str) -> tuple[int, int]:
  width, height = text.lower().split("x")
  return int(width), int(height)


def _token(text: str) -> tuple[int, ...]:
  try:
    return tuple(int(n) for n in text.lower().split("x"))
  except ValueError as e:
    raise ValueError(f"--token={text}: give FRAMESxHEIGHTxWIDTH") from e

"""`sora-jax prepare SOURCE.. --out=DIR`: captioned clips become shards."""

import dataclasses

from absl import flags

from sora_jax.cli import options
from sora_jax.data.prepare import filters
from sora_jax.data.prepare import prepare
from sora_jax.data.sources import world as world_lib

LIMITS = {
    "min_frames": "Frames of a video, at least.",
    "min_seconds": "Seconds of a video, at least.",
    "max_seconds": "Seconds of a video, at most; 0 is any.",
    "min_side": "Pixels of the short side, at least.",
    "max_aspect": "Long side / short side, at most; 0 is any.",
    "min_fps": "Frames a second of a video, at least.",
    "min_motion": "Mean change from frame to frame in levels of 255, at least.",
    "max_motion": "The same, at most; 0 is any.",
    "max_static": "Share of frames that equal the one before; 1 is any.",
    "min_brightness": "Mean brightness in 0 .. 1, at least.",
    "max_brightness": "Mean brightness in 0 .. 1, at most.",
    "min_words": "Words of the first caption, at least.",
    "near": "Leave out clips whose picture hashes of 192 bits differ in at most "
            "so many, up to 11; -1 is off.",
    "max_tokens": "Tokens of a clip; a larger one is reduced, keeping its "
                  "aspect; 0 is any.",
}


def run(argv: list[str]) -> int:
  """Runs the verb."""
  f = options.Flags()
  defaults, rules = world_lib.WorldOptions(), filters.Rules()
  text = lambda *a: flags.DEFINE_string(*a, flag_values=f)
  whole = lambda *a, **k: flags.DEFINE_integer(*a, flag_values=f, **k)
  switch = lambda *a: flags.DEFINE_boolean(*a, flag_values=f)
  text("out", None, "The folder to write.")
  whole("count", defaults.count, "Clips of a world.", lower_bound=1)
  whole("seed", 0, "Of the clips and of the division into train and test.",
        lower_bound=0)
  flags.DEFINE_float("test_share", 0.05, "The share that is held back as split "
                     "test.", flag_values=f)
  text("size", None, "WxH[:WEIGHT],.. of a world's clips, such as "
       "64x64:4,128x72:2.")
  text("frames", None, "N[:WEIGHT],.. of a world's clips; 1 makes images.")
  text("fps", None, "F[:WEIGHT],.. of a world's clips.")
  text("objects", None, "N[:WEIGHT],.. objects of a world's clips.")
  flags.DEFINE_float("plain", defaults.plain, "The share of plain backgrounds; "
                     "the others are textured.", 0, 1, flag_values=f)
  whole("workers", None, "Processes; all cores by default.", lower_bound=0)
  whole("shard", prepare.SHARD, "Clips of a shard.", lower_bound=1)
  whole("vocab", 512, "Ids of the tokenizer, at most.", lower_bound=16)
  for name, what in LIMITS.items():
    value = getattr(rules, name)
    define = flags.DEFINE_integer if isinstance(value, int) else (
        flags.DEFINE_float)
    define(name, value, what, flag_values=f)
  switch("duplicates", rules.duplicates, "Leave out files that are equal.")
  text("token", "4x32x32", "Frames, height and width that a token covers, for "
       "--max_tokens.")
  switch("cuts", False, "Cut files into shots (extra `data`).")
  flags.DEFINE_float("piece_seconds", 0, "Divide longer videos and shots into "
                     "equal pieces of at most so many seconds; 0 is never.", 0,
                     flag_values=f)
  switch("dry_run", False, "Survey and report, write no shards; the survey is "
         "kept for the run itself.")
  text("beam", None, "Run on Apache Beam (extra `beam`) with these flags of "
       "its own, such as \"--runner=DirectRunner\".")
  names = f([a.replace("--dry-run", "--dry_run", 1) for a in argv])[1:]
  if not names:
    raise ValueError("name one source or several, such as world:balls or "
                     "folder:DIR; got 0")
  if not f.out:
    raise ValueError("--out=DIR is needed: the folder to write")
  world = world_lib.WorldOptions(
      count=f.count, seed=f.seed, plain=f.plain,
      objects=_weighted("objects", f.objects, int) or defaults.objects,
      sizes=_weighted("size", f.size, _size) or defaults.sizes,
      frames=_weighted("frames", f.frames, int) or defaults.frames,
      fps=_weighted("fps", f.fps, float) or defaults.fps)
  limits = dataclasses.replace(
      rules, duplicates=f.duplicates, token=_token(f.token),
      **{name: f[name].value for name in LIMITS})
  info = prepare.prepare(
      names, f.out, world, f.test_share, f.workers, f.shard, f.vocab,
      rules=limits, cuts=f.cuts, piece_seconds=f.piece_seconds,
      dry_run=f.dry_run, beam=None if f.beam is None else tuple(f.beam.split()))
  clips = ", ".join(f"{n} {split}" for split, n in info["clips"].items())
  if f.dry_run and "shards" not in info:
    print(f"{f.out}: a dry run: {clips} clips, {info['rejected']} rejected; see "
          f"{f.out}/report.html and rejects.jsonl")
    return 0
  print(f"{f.out}: {clips} clips in {sum(info['shards'].values())} shards, "
        f"{info['rejected']} rejected, tokenizer of {info['vocab_size']} ids; "
        f"see {f.out}/report.html")
  return 0


def _weighted(name: str, text: str | None, kind):
  """'64x64:4,96x56' to (((64, 64), 4.0), ((96, 56), 1.0))."""
  if not text:
    return ()
  pairs = []
  for part in text.split(","):
    value, _, weight = part.partition(":")
    try:
      pairs.append((kind(value), float(weight or 1)))
    except ValueError as e:
      raise ValueError(f"--{name}={text}: cannot read {part!r}, give "
                       "VALUE[:WEIGHT],..") from e
    size = pairs[-1][0] if isinstance(pairs[-1][0], tuple) else pairs[-1][:1]
    if min(*size, 1e9) <= 0 or not 0 < pairs[-1][1] < 1e9:
      raise ValueError(f"--{name}={text}: {part!r} must be above 0")
  return tuple(pairs)


def _size(text: str) -> tuple[int, int]:
  width, height = text.lower().split("x")
  return int(width), int(height)


def _token(text: str) -> tuple[int, ...]:
  try:
    return tuple(int(n) for n in text.lower().split("x"))
  except ValueError as e:
    raise ValueError(f"--token={text}: give FRAMESxHEIGHTxWIDTH") from e

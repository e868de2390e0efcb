"""`sora-jax prepare SOURCE --out=DIR`: captioned clips become shards."""

from absl import flags

from sora_jax.data import prepare
from sora_jax.data import sources


def run(argv: list[str]) -> int:
  """Runs the verb."""
  f = flags.FlagValues()
  defaults = sources.WorldOptions()
  text = lambda *a: flags.DEFINE_string(*a, flag_values=f)
  whole = lambda *a, **k: flags.DEFINE_integer(*a, flag_values=f, **k)
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
  whole("vocab", 512, "Ids of the tokenizer, at most.", lower_bound=16)
  source = f(argv)[1:]
  if len(source) != 1:
    raise ValueError(f"name one source, such as world:balls or folder:DIR; got "
                     f"{len(source)}")
  if not f.out:
    raise ValueError("--out=DIR is needed: the folder to write")
  options = sources.WorldOptions(
      count=f.count, seed=f.seed, plain=f.plain,
      objects=_weighted("objects", f.objects, int) or defaults.objects,
      sizes=_weighted("size", f.size, _size) or defaults.sizes,
      frames=_weighted("frames", f.frames, int) or defaults.frames,
      fps=_weighted("fps", f.fps, float) or defaults.fps)
  info = prepare.prepare(source[0], f.out, options, f.test_share, f.workers,
                         vocab=f.vocab)
  clips = ", ".join(f"{n} {split}" for split, n in info["clips"].items())
  print(f"{f.out}: {clips} clips in {sum(info['shards'].values())} shards, "
        f"{info['rejected']} rejected, tokenizer of {info['vocab_size']} ids")
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

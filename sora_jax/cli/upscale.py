"""`sora-jax upscale VIDEO --size=WxH`: a prototype at full size.

A video that was made at a low size says in its file from which prompt and seed;
these are used again where the flags do not say otherwise.
"""

from absl import flags

from sora_jax.cli import sampling
from sora_jax.data import video_io
from sora_jax.generation import prompting


def run(argv: list[str]) -> int:
  """Runs the verb."""
  f = sampling.define()
  flags.DEFINE_float("strength", 0.5, "0 only enlarges, 1 keeps nothing.",
                     flag_values=f)
  path, = sampling.parse(f, argv, "VIDEO")
  sampling.ending(f)
  size = sampling.parse_size(f.size)
  if size is None:
    raise ValueError("--size=WxH is needed: the size to draw the video at")
  model = sampling.load(f)
  video, fps = sampling.read(path, f, model)
  said = video_io.metadata(path)
  prompt = f.prompt if f["prompt"].present else str(said.get("prompt", ""))
  seed = said.get("seed") if not f["seed"].present else f.seed
  sampling.make(f, argv, model, prompting.edit(
      model.model, video, f.strength, fps, size), prompt,
                seed if isinstance(seed, int) and seed >= 0 else f.seed)
  return 0

"""`sora-jax upscale VIDEO --size=WxH`: a prototype at full size.

A video that was made at a low size says in its file from which prompt and seed;
these are used again where the flags do not say otherwise.
"""

from absl import flags

from sora_jax.cli import sampling
from sora_jax.generation import prompting


def run(argv: list[str]) -> int:
  """Runs the verb."""
  f = sampling.define()
  flags.DEFINE_float("strength", 0.5, "0 only enlarges, 1 keeps nothing.",
                     flag_values=f)
  (path,), size = sampling.begin(f, argv, "VIDEO")
  if size is None:
    raise ValueError("--size=WxH is needed: the size to draw the video at")
  model = sampling.load(f)
  video, fps = sampling.read(path, f, model)
  prompt, seed = sampling.told(f, path)
  sampling.make(f, argv, model, prompting.edit(
      model.model, video, f.strength, fps, size), prompt, seed)
  return 0

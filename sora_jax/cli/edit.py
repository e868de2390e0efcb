"""`sora-jax edit VIDEO --prompt=..`: a video in another style or setting."""

from absl import flags

from sora_jax.cli import sampling
from sora_jax.generation import prompting


def run(argv: list[str]) -> int:
  """Runs the verb."""
  f = sampling.define()
  flags.DEFINE_float("strength", 0.7, "0 keeps the video, 1 nothing of it.",
                     flag_values=f)
  (path,), size = sampling.begin(f, argv, "VIDEO")
  model = sampling.load(f)
  video, fps = sampling.read(path, f, model)
  sampling.make(f, argv, model, prompting.edit(model.model, video, f.strength,
                                               fps, size))
  return 0

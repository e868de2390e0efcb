"""`sora-jax animate IMAGE`: an image becomes a video."""

from absl import flags

from sora_jax.cli import sampling
from sora_jax.generation import prompting
from sora_jax.media import video_io


def run(argv: list[str]) -> int:
  """Runs the verb."""
  f = sampling.define()
  sampling.frames_flag(f, None, "Number of frames.")
  flags.DEFINE_integer("at", 0, "The frame that the image is.", flag_values=f)
  (path,), size = sampling.begin(f, argv, "IMAGE")
  image = video_io.read(path, 1)[0][0]
  model = sampling.load(f)
  cfg = model.defaults
  canvas = prompting.animate(
      model.model, image, cfg.frames if f.frames is None else f.frames,
      f.fps or cfg.fps, f.at, size)
  sampling.make(f, argv, model, canvas)
  return 0

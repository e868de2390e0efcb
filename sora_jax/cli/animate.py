"""`sora-jax animate IMAGE`: an image becomes a video."""

from sora_jax.cli import drawing
from sora_jax.cli import sampling
from sora_jax.generation import requests
from sora_jax.media import videos


def run(argv: list[str]) -> int:
  """Runs the verb."""
  f = sampling.define(requests.Requests.animate)
  (path,), size = sampling.read_inputs(f, argv, "IMAGE")
  image = videos.load_image(path)
  model = sampling.load(f)
  drawing.draw_files(f, argv, model, model.requests.animate(
      image, f.prompt, f.frames, f.at, size, f.fps))
  return 0

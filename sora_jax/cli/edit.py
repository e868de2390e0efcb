"""`sora-jax edit VIDEO --prompt=..`: a video in another style or setting."""

from sora_jax.cli import drawing
from sora_jax.cli import sampling
from sora_jax.generation import requests


def run(argv: list[str]) -> int:
  """Runs the verb."""
  f = sampling.define(requests.Requests.edit)
  (path,), size = sampling.read_inputs(f, argv, "VIDEO")
  model = sampling.load(f)
  drawing.draw_files(f, argv, model, model.requests.edit(
      path, f.prompt, f.strength, size, f.fps))
  return 0

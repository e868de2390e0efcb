"""`sora-jax upscale VIDEO --size=WxH`: a prototype at full size.

A video that was made at a low size says in its file from which prompt and seed;
these are used again where the flags do not say otherwise.
"""

from sora_jax.cli import drawing
from sora_jax.cli import sampling
from sora_jax.generation import requests


def run(argv: list[str]) -> int:
  """Runs the verb."""
  f = sampling.define(requests.Requests.upscale)
  (path,), size = sampling.read_inputs(f, argv, "VIDEO")
  if size is None:
    raise ValueError("--size=WxH is needed: the size to draw the video at")
  model = sampling.load(f)
  drawing.draw_files(f, argv, model, model.requests.upscale(
      path, size, f.prompt, f.strength, f.fps))
  return 0

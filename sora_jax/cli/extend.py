"""`sora-jax extend VIDEO`: more of a video, at its end or its beginning.

A video of ours says in its file what it shows: that is the default of --prompt.
"""

from sora_jax.cli import drawing
from sora_jax.cli import sampling
from sora_jax.generation import requests


def run(argv: list[str]) -> int:
  """Runs the verb."""
  f = sampling.define(requests.Requests.extend)
  (path,), size = sampling.read_inputs(f, argv, "VIDEO")
  model = sampling.load(f)
  drawing.draw_files(f, argv, model, model.requests.extend(
      path, f.prompt, f.frames, f.direction, size, f.fps))
  return 0

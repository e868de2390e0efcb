"""`sora-jax connect A B`: a gradual transition between two videos.

Videos of ours say in their files what they show: that is the default of
--prompt, for each of them its own.
"""

from sora_jax.cli import drawing
from sora_jax.cli import sampling
from sora_jax.generation import requests


def run(argv: list[str]) -> int:
  """Runs the verb."""
  f = sampling.define(requests.Requests.connect)
  (a, b), size = sampling.read_inputs(f, argv, "A", "B")
  model = sampling.load(f)
  drawing.draw_files(f, argv, model, model.requests.connect(
      a, b, f.prompt, f.frames, size, f.fps))
  return 0

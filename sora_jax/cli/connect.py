"""`sora-jax connect A B`: a gradual transition between two videos.

Videos of ours say in their files what they show: that is the default of
--prompt, for each of them its own.
"""

from sora_jax.cli import drawing
from sora_jax.cli import sampling
from sora_jax.generation import requests
from sora_jax.media import video_io


def run(argv: list[str]) -> int:
  """Runs the verb."""
  f = sampling.define(requests.Requests.connect)
  paths, size = sampling.read_inputs(f, argv, "A", "B")
  model = sampling.load(f)
  (a, fps), (b, other) = (sampling.read(path, f, model) for path in paths)
  first, second = (sampling.told(f, path)[0] for path in paths)
  drawing.draw_files(f, argv, model, model.requests.connect(
      a, video_io.at_rate(b, other, fps), (first, second), f.frames, size, fps))
  return 0

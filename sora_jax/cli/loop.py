"""`sora-jax loop [VIDEO]`: a loop without a seam, of a video or a prompt.

A video of ours says in its file what it shows: that is the default of --prompt.
"""

from sora_jax.cli import drawing
from sora_jax.cli import sampling
from sora_jax.generation import requests


def run(argv: list[str]) -> int:
  """Runs the verb."""
  f = sampling.define(requests.Requests.loop)
  paths, size = sampling.read_inputs(f, argv, "[VIDEO]")
  if not paths and not (f.prompt or "").strip():
    raise ValueError("--prompt is empty: say what to show, or give a video")
  model = sampling.load(f)
  drawing.draw_files(f, argv, model, model.requests.loop(
      paths[0] if paths else None, f.prompt, f.frames, size, f.fps))
  return 0

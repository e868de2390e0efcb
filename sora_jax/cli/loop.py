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
  if not paths and not f.prompt.strip():
    raise ValueError("--prompt is empty: say what to show, or give a video")
  model = sampling.load(f)
  video, fps, prompt = None, f.fps, f.prompt
  if paths:
    video, fps = sampling.read(paths[0], f, model)
    prompt, _ = sampling.told(f, paths[0])
  drawing.draw_files(f, argv, model, model.requests.loop(
      video, prompt, f.frames, size, fps))
  return 0

"""`sora-jax loop [VIDEO]`: a loop without a seam, of a video or a prompt.

A video of ours says in its file what it shows: that is the default of --prompt.
"""

from sora_jax.cli import sampling
from sora_jax.generation import prompting


def run(argv: list[str]) -> int:
  """Runs the verb."""
  f = sampling.define()
  sampling.frames_flag(f, 16, "Of a video: new frames from its end back to its "
                       "beginning. Of a prompt: frames in all. In fours.")
  paths, size = sampling.begin(f, argv, "[VIDEO]")
  if not paths and not f.prompt.strip():
    raise ValueError("--prompt is empty: say what to show, or give a video")
  model = sampling.load(f)
  if paths:
    video, fps = sampling.read(paths[0], f, model)
    canvas = prompting.loop(model.model, video, f.frames, fps, size)
  else:
    canvas = prompting.text_loop(
        model.model, size or model.defaults.size, f.frames,
        f.fps or model.defaults.fps)
  sampling.make(f, argv, model, canvas,
                sampling.told(f, paths[0])[0] if paths else f.prompt)
  return 0

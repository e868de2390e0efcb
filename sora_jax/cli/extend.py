"""`sora-jax extend VIDEO`: more of a video, at its end or its beginning.

A video of ours says in its file what it shows: that is the default of --prompt.
"""

from absl import flags

from sora_jax.cli import sampling
from sora_jax.generation import prompting


def run(argv: list[str]) -> int:
  """Runs the verb."""
  f = sampling.define()
  sampling.frames_flag(f, 16, "Number of new frames, on each side if "
                       "--direction=both.")
  flags.DEFINE_enum("direction", "forward", prompting.DIRECTIONS,
                    "Where the new frames are.", flag_values=f)
  (path,), size = sampling.begin(f, argv, "VIDEO")
  model = sampling.load(f)
  video, fps = sampling.read(path, f, model)
  sampling.make(f, argv, model, prompting.extend(
      model.model, video, f.frames, fps, f.direction, size),
                sampling.told(f, path)[0])
  return 0

"""`sora-jax connect A B`: a gradual transition between two videos.

Videos of ours say in their files what they show: that is the default of
--prompt, for each of them its own.
"""

import numpy as np

from sora_jax.cli import sampling
from sora_jax.generation import prompting


def run(argv: list[str]) -> int:
  """Runs the verb."""
  f = sampling.define()
  sampling.frames_flag(f, 16, "Frames of the transition.")
  (first, second), size = sampling.begin(f, argv, "A", "B")
  model = sampling.load(f)
  a, fps = sampling.read(first, f, model)
  b, other = sampling.read(second, f, model)
  sampling.make(f, argv, model, prompting.connect(
      model.model, a, at_rate(b, other, fps), f.frames, fps, size),
                tuple(sampling.told(f, path)[0] for path in (first, second)))
  return 0


def at_rate(video: np.ndarray, fps: float, new: float) -> np.ndarray:
  """A video at another frame rate, its motion as fast as it was."""
  if fps == new:
    return video
  count = max(round(len(video) * new / fps), 1)
  index = np.round(np.arange(count) * fps / new).astype(int)
  return video[np.minimum(index, len(video) - 1)]

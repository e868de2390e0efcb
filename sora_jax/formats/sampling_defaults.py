"""The defaults of sampling: what a model folder states, or what Wan expects.

A folder of ours has them in scheduler_config.json under "sora_jax". Other
people's folders have a scheduler and no more; for them these are the defaults
of the reference pipeline and of the cards of the open Wan models.
"""

import numpy as np

from sora_jax.diffusion import flow
from sora_jax.diffusion import schedulers
from sora_jax.diffusion import steppers
from sora_jax.formats import pretrained

FOLDER = "folder"  # the method that is the scheduler of the folder
METHODS = (*steppers.METHODS, FOLDER)
# What the first folders of ours do not state.
OURS = {"size": (64, 64), "frames": 17, "window": 49, "text_pad": False}
WAN = {"steps": 50, "guidance": 5.0, "guidance_interval": (0.0, 1.0),
       "method": FOLDER, "max_tokens": 100_000, "text_limit": 512,
       "text_pad": True}
# By expand_timesteps: Wan 2.1, and Wan 2.2 TI2V.
WAN_SHAPE = {
    False: {"size": (832, 480), "frames": 81, "window": 81, "fps": 16.0,
            "f_ref": 16.0},
    True: {"size": (1280, 704), "frames": 121, "window": 121, "fps": 24.0,
           "f_ref": 24.0}}


def of(model: pretrained.Model) -> dict:
  """The settings of a model.

  Returns:
    steps, guidance, guidance_interval, method: of the solver.
    size, frames, fps: of a video by default.
    f_ref: the frame rate at which latents are one position apart.
    window: frames of the longest videos of the training, which long prompted
      videos are drawn in.
    max_tokens: of a video.
    text_limit: ids of a prompt.
    text_pad: whether a prompt is cleaned and padded to its limit with zero
      states that are keys, as Wan's are.
    process: fields of process.Process.

  Raises:
    ValueError: a scheduler that is not supported.
  """
  if ours := model.scheduler.get("sora_jax"):
    return OURS | ours
  return WAN | WAN_SHAPE[model.expand_timesteps] | {"process": {
      "prediction": schedulers.prediction(model.scheduler)}}


def rows(model: pretrained.Model, tokens: int, steps: int | None = None,
         method: str | None = None, start: float = 1.0) -> np.ndarray:
  """The table of the solver (solvers.table) for a sample of so many tokens.

  The times of "euler" and "ab2" are shifted by the number of tokens, as in
  training; those of the folder's scheduler by what its file says.

  Args:
    model: whose settings are the defaults.
    tokens: of the sample.
    steps: from noise to data; from `start` on it takes a share of them.
    method: of METHODS.
    start: the noise level to begin at.

  Raises:
    ValueError: a method that there is not, or one that cannot start there.
  """
  cfg = of(model)
  method = cfg["method"] if method is None else method
  steps = cfg["steps"] if steps is None else steps
  if method == FOLDER:
    if start < 1:
      raise ValueError("the scheduler of this model's folder begins at noise "
                       f"only, not at {start:g}: give --method=ab2")
    return schedulers.table(model.scheduler, steps)
  if method not in METHODS:
    raise ValueError(f"method {method!r} is none of {', '.join(METHODS)}")
  shift = flow.shift_value(process(model), tokens)
  times = steppers.grid(steps, float(shift))
  return steppers.table(np.concatenate([[start], times[times < start]]), method)


def process(model: pretrained.Model) -> flow.Process:
  """The diffusion process of a model."""
  return flow.Process(**of(model)["process"])

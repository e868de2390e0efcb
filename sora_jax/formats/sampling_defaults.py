"""The defaults of sampling: what a model folder states, or what Wan expects.

A folder of ours has them in scheduler_config.json under "sora_jax". Other
people's folders have a scheduler and no more; for them these are the defaults
of the reference pipeline and of the cards of the open Wan models.
"""

import dataclasses
from typing import Any

import numpy as np

from sora_jax import ranges
from sora_jax.diffusion import flow
from sora_jax.diffusion import sampling
from sora_jax.diffusion import schedulers
from sora_jax.diffusion import steppers

FOLDER = "folder"  # the method that is the scheduler of the folder
METHODS = (*steppers.STEPPERS, FOLDER)
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


@dataclasses.dataclass(frozen=True)
class SamplingDefaults:
  """What sampling does where it is not told otherwise.

  Attributes:
    size: (W, H) in pixels.
    frames: frames of a video.
    fps: frames per second.
    steps: evaluations of the transformer.
    method: one of METHODS.
    guidance: scale of classifier-free guidance; 1 is none.
    guidance_interval: (low, high) of the noise levels where it is on, of all
      methods but "folder" (`interval`).
    window: frames of the longest videos of the training, which long prompted
      videos are drawn in.
    max_tokens: of a video, at most.
    f_ref: the frame rate at which latents are one position apart.
    text_limit: ids of a prompt, at most.
    text_pad: whether a prompt is cleaned and padded to its limit with zero
      states that are keys, as Wan's are.
    process: what the network predicts, and when.
  """

  size: tuple[int, int]
  frames: int
  fps: float
  steps: int
  method: str
  guidance: float
  guidance_interval: tuple[float, float]
  window: int
  max_tokens: int
  f_ref: float
  text_limit: int
  text_pad: bool
  process: flow.Process

  def __post_init__(self):
    size = ranges.whole(1)
    ranges.check(
        "sampling", self, size=ranges.every(size, 2), frames=size,
        fps=ranges.above(0), steps=size, method=ranges.one_of(*METHODS),
        guidance=ranges.number(0),
        guidance_interval=ranges.every(ranges.share(), 2), window=size,
        max_tokens=size, f_ref=ranges.above(0), text_limit=size,
        text_pad=ranges.flag())
    low, high = self.guidance_interval
    if low > high:
      raise ValueError(f"sampling.guidance_interval is {self.guidance_interval}, "
                       "its first must be at most its second")


def read(scheduler: dict, expand_timesteps: bool) -> SamplingDefaults:
  """The defaults of a model folder.

  Args:
    scheduler: scheduler_config.json.
    expand_timesteps: whether the model takes a time per token.

  Raises:
    ValueError: a scheduler that is not supported, or a key that is missing.
  """
  ours = scheduler.get("sora_jax")
  if ours is not None:
    if not isinstance(ours, dict):
      raise ValueError(f"sora_jax is {ours!r}, it must be a section of keys")
    found: dict[str, Any] = OURS | ours
    process = ranges.made(flow.Process, "process", found.get("process"))
  else:
    found = WAN | WAN_SHAPE[expand_timesteps]
    process = flow.Process(prediction=schedulers.prediction(scheduler))
  found["process"] = process
  names = [field.name for field in dataclasses.fields(SamplingDefaults)]
  if missing := [name for name in names if name not in found]:
    raise ValueError(f"sampling.{missing[0]} is missing")
  values: dict[str, Any] = {
      name: tuple(found[name]) if isinstance(found[name], list) else found[name]
      for name in names}
  defaults = SamplingDefaults(**values)
  if defaults.method == FOLDER:
    schedulers.steps(scheduler, 1)
  return defaults


def interval(defaults: SamplingDefaults,
             method: str | None = None) -> tuple[float, float]:
  """(low, high) of the noise levels where guidance is on.

  The reference, which the scheduler of a folder is drawn by, always guides.
  """
  method = defaults.method if method is None else method
  return (0.0, 1.0) if method == FOLDER else defaults.guidance_interval


def steps(defaults: SamplingDefaults, scheduler: dict, tokens: int,
          evaluations: int | None = None, method: str | None = None,
          start: float = 1.0) -> sampling.Steps:
  """The steps for a sample of so many tokens.

  The times of our steppers are shifted by the number of tokens, as in training;
  those of the folder's scheduler by what its file says.

  Args:
    defaults: of the model.
    scheduler: scheduler_config.json, of the method "folder".
    tokens: of the sample.
    evaluations: of the network from noise to data; from `start` on it takes a
      share of them.
    method: of METHODS.
    start: the noise level to begin at.

  Raises:
    ValueError: a method that there is not, or one that cannot start there.
  """
  method = defaults.method if method is None else method
  evaluations = defaults.steps if evaluations is None else evaluations
  if method == FOLDER:
    if start < 1:
      raise ValueError("the scheduler of this model's folder begins at noise "
                       f"only, not at {start:g}: give --method=ab2")
    return schedulers.steps(scheduler, evaluations)
  if method not in steppers.STEPPERS:
    raise ValueError(f"method {method!r} is none of {', '.join(METHODS)}")
  stepper = steppers.STEPPERS[method]
  shift = flow.shift_value(defaults.process, tokens)
  times = sampling.grid(stepper.steps(evaluations), float(shift))
  return sampling.steps_between(
      stepper, np.concatenate([[start], times[times < start]]))

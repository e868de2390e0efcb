"""The schedulers that model folders in the `diffusers` layout name.

Each turns scheduler_config.json into a stepper and the grid that it takes:

  FlowMatchEulerDiscreteScheduler  steppers/euler.py on a shifted grid
  UniPCMultistepScheduler          steppers/unipc.py with flow sigmas

A setting that is not honoured is refused by its name; none is ignored.
"""

from typing import Any

import numpy as np

from sora_jax import ranges
from sora_jax.diffusion import flow
from sora_jax.diffusion import sampling
from sora_jax.diffusion import steppers
from sora_jax.diffusion.steppers import unipc

TRAIN_STEPS = 1000  # that the reference divides time into
# Of each class: what its keys are where a file is silent; then those of which
# one value alone is supported.
SILENT: dict[str, dict[str, Any]] = {
    "FlowMatchEulerDiscreteScheduler": {"shift": 1.0},
    "UniPCMultistepScheduler": {
        "flow_shift": 1.0, "solver_order": 2, "disable_corrector": [],
        "prediction_type": "epsilon", "use_flow_sigmas": False}}
BOTH = {"num_train_timesteps": TRAIN_STEPS, "use_dynamic_shifting": False,
        "shift_terminal": None, "use_karras_sigmas": False,
        "use_exponential_sigmas": False, "use_beta_sigmas": False}
FIXED: dict[str, dict[str, Any]] = {
    "FlowMatchEulerDiscreteScheduler": BOTH | {
        "invert_sigmas": False, "stochastic_sampling": False},
    "UniPCMultistepScheduler": BOTH | {
        "use_flow_sigmas": True, "predict_x0": True, "lower_order_final": True,
        "final_sigmas_type": "zero", "thresholding": False, "solver_p": None,
        "solver_type": "bh2"}}  # bh1 ends in not a number at sigma 0
# No "epsilon": flow sigmas begin at 1 - 1e-6, where the reference divides by 1e-6
# what little of x is no noise, and gives that rounding error back as the video.
RULES = {"shift": ranges.above(0), "flow_shift": ranges.above(0),
         "solver_order": ranges.whole(min(unipc.ORDERS), max(unipc.ORDERS)),
         "disable_corrector": ranges.Rule(
             "a list of whole numbers from 0", lambda v: v == []
             or ranges.every(ranges.whole()).holds(v))}
KINDS = {"flow_prediction": "velocity", "sample": "x0"}


def prediction(config: dict) -> str:
  """What the network predicts, one of flow.KINDS.

  Raises:
    ValueError: a scheduler or a setting that is not supported.
  """
  if config.get("_class_name") == "FlowMatchEulerDiscreteScheduler":
    return "velocity"
  return KINDS[_settings(config)["prediction_type"]]


def steps(config: dict, evaluations: int) -> sampling.Steps:
  """The steps that a config asks for.

  Args:
    config: scheduler_config.json.
    evaluations: of the network, one a step.

  Raises:
    ValueError: a scheduler or a setting that is not supported, or no step.
  """
  if evaluations < 1:
    raise ValueError(f"steps {evaluations}: sampling needs at least 1")
  cfg = _settings(config)
  if cfg["_class_name"] == "FlowMatchEulerDiscreteScheduler":
    return sampling.steps_between(
        steppers.STEPPERS["euler"], np.append(euler_sigmas(cfg, evaluations), 0))
  stepper = unipc.UniPC(cfg["solver_order"], tuple(cfg["disable_corrector"]))
  sigmas, told = unipc_sigmas(cfg, evaluations)
  return sampling.steps_between(stepper, np.append(sigmas, np.float32(0)),
                                told=told)


def _settings(config: dict) -> dict:
  """The config with what it leaves out.

  Raises:
    ValueError: a scheduler or a setting that is not supported.
  """
  name = config.get("_class_name")
  if name not in SILENT:
    raise ValueError(f"key _class_name is {name!r}, supported are "
                     f"{', '.join(SILENT)}")
  cfg = FIXED[name] | SILENT[name] | config
  for key, rule in RULES.items():
    if key in cfg and not rule.holds(cfg[key]):
      raise ValueError(f"key {key} is {cfg[key]!r}, it must be {rule.what}")
  for key, value in FIXED[name].items():
    if cfg[key] != value:
      raise ValueError(f"key {key} is {cfg[key]!r}, only {value!r} is supported")
  if name == "UniPCMultistepScheduler" and cfg["prediction_type"] not in KINDS:
    raise ValueError(f"key prediction_type is {cfg['prediction_type']!r}, "
                     f"supported are {', '.join(KINDS)}")
  return cfg


def euler_sigmas(cfg: dict, steps: int) -> np.ndarray:
  """The noise levels [steps] of the flow-match Euler scheduler, float32.

  The reference spreads them evenly between the ends of its training grid, which
  are shifted already, and shifts the result: the last is shifted twice.
  """
  ends = flow.shift(np.array([1, 1 / TRAIN_STEPS], np.float32),
                    np.float32(cfg["shift"])).astype(np.float64)
  return flow.shift(np.linspace(ends[0], ends[1], steps),
                    cfg["shift"]).astype(np.float32)


def unipc_sigmas(cfg: dict, steps: int) -> tuple[np.ndarray, np.ndarray]:
  """The noise levels and the times that the network is told [steps], float32.

  The times are rounded down to whole training steps, as in the reference.
  """
  sigmas = flow.shift(np.linspace(1, 1 / TRAIN_STEPS, steps + 1)[:-1],
                      cfg["flow_shift"])
  if abs(sigmas[0] - 1) < 1e-6:
    sigmas[0] -= 1e-6  # so that log(1 - sigma) is finite
  times = np.trunc(sigmas * TRAIN_STEPS) / TRAIN_STEPS
  return sigmas.astype(np.float32), times.astype(np.float32)

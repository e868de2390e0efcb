"""The schedulers that model folders in the `diffusers` layout name.

Each turns scheduler_config.json into a table of solvers.py, so that the same
`step` runs it:

  FlowMatchEulerDiscreteScheduler  euler on a shifted grid
  UniPCMultistepScheduler          UniPC of order 1 or 2 with flow sigmas (Zhao et
                                   al. 2023, arXiv 2302.04867): a predictor, and
                                   a corrector that uses the evaluation at the
                                   end of a step to improve that step

A setting that is not honoured is refused by its name; none is ignored.
"""

import numpy as np

from sora_jax.diffusion import steppers

TRAIN_STEPS = 1000  # that the reference divides time into
# Of each class: what its keys are where a file is silent; then those of which
# one value alone is supported.
SILENT = {
    "FlowMatchEulerDiscreteScheduler": {"shift": 1.0},
    "UniPCMultistepScheduler": {
        "flow_shift": 1.0, "solver_order": 2, "disable_corrector": [],
        "prediction_type": "epsilon", "use_flow_sigmas": False}}
BOTH = {"num_train_timesteps": TRAIN_STEPS, "use_dynamic_shifting": False,
        "shift_terminal": None, "use_karras_sigmas": False,
        "use_exponential_sigmas": False, "use_beta_sigmas": False}
FIXED = {
    "FlowMatchEulerDiscreteScheduler": BOTH | {
        "invert_sigmas": False, "stochastic_sampling": False},
    "UniPCMultistepScheduler": BOTH | {
        "use_flow_sigmas": True, "predict_x0": True, "lower_order_final": True,
        "final_sigmas_type": "zero", "thresholding": False, "solver_p": None,
        "solver_type": "bh2"}}  # bh1 ends in not a number at sigma 0
ORDERS = (1, 2)
KINDS = {"flow_prediction": "velocity", "sample": "x0", "epsilon": "eps"}


def prediction(config: dict) -> str:
  """What the network predicts, one of process.KINDS.

  Raises:
    ValueError: a scheduler or a setting that is not supported.
  """
  if config.get("_class_name") == "FlowMatchEulerDiscreteScheduler":
    return "velocity"
  kind = _settings(config)["prediction_type"]
  if kind not in KINDS:
    raise ValueError(f"key prediction_type is {kind!r}, supported are "
                     f"{', '.join(KINDS)}")
  return KINDS[kind]


def table(config: dict, steps: int) -> np.ndarray:
  """The rows [steps, solvers.COLUMNS] float32 that a config asks for.

  Args:
    config: scheduler_config.json.
    steps: evaluations of the network.

  Raises:
    ValueError: a scheduler or a setting that is not supported, or no step.
  """
  if steps < 1:
    raise ValueError(f"steps {steps}: sampling needs at least 1")
  cfg = _settings(config)
  if cfg["_class_name"] == "FlowMatchEulerDiscreteScheduler":
    sigmas = euler_sigmas(cfg, steps)
    return steppers.table(np.append(sigmas, 0), "euler")
  return _unipc(cfg, steps)


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
  for key, value in FIXED[name].items():
    if cfg[key] != value:
      raise ValueError(f"key {key} is {cfg[key]!r}, only {value!r} is supported")
  if cfg.get("solver_order", 1) not in ORDERS:
    raise ValueError(f"key solver_order is {cfg['solver_order']!r}, supported "
                     f"are {ORDERS}")
  return cfg


def shifted(sigmas: np.ndarray, shift: float) -> np.ndarray:
  """s sigma / (1 + (s - 1) sigma)."""
  return shift * sigmas / (1 + (shift - 1) * sigmas)


def euler_sigmas(cfg: dict, steps: int) -> np.ndarray:
  """The noise levels [steps] of the flow-match Euler scheduler, float32.

  The reference spreads them evenly between the ends of its training grid, which
  are shifted already, and shifts the result: the last is shifted twice.
  """
  ends = shifted(np.array([1, 1 / TRAIN_STEPS], np.float32),
                 np.float32(cfg["shift"])).astype(np.float64)
  return shifted(np.linspace(*ends, steps), cfg["shift"]).astype(np.float32)


def unipc_sigmas(cfg: dict, steps: int) -> tuple[np.ndarray, np.ndarray]:
  """The noise levels and the times that the network is told [steps], float32.

  The times are rounded down to whole training steps, as in the reference.
  """
  sigmas = shifted(np.linspace(1, 1 / TRAIN_STEPS, steps + 1)[:-1],
                   cfg["flow_shift"])
  if abs(sigmas[0] - 1) < 1e-6:
    sigmas[0] -= 1e-6  # so that log(1 - sigma) is finite
  times = np.trunc(sigmas * TRAIN_STEPS) / TRAIN_STEPS
  return sigmas.astype(np.float32), times.astype(np.float32)


def _unipc(cfg: dict, steps: int) -> np.ndarray:
  """UniPC in the form of solvers.table.

  With alpha = 1 - sigma, lambda = log(alpha / sigma) and h the difference of
  lambda over a step, both predictor and corrector are

    x_s = sigma_s / sigma_t x_t
          + alpha_s B (m_0 + rho_1 (m_1 - m_0) / r + rho_2 (m_s - m_0))

  of the predictions m_s, m_0, m_1 at the end of the step, at its beginning and
  one step before, where B = 1 - e^-h and r is the ratio of the two steps.
  """
  sigmas, times = unipc_sigmas(cfg, steps)
  sigmas = np.append(sigmas, np.float32(0)).astype(np.float64)
  alphas = 1 - sigmas
  with np.errstate(divide="ignore"):
    lambdas = np.log(alphas) - np.log(sigmas)
  order = lambda k: min(cfg["solver_order"], steps - k, k + 1)
  rows = np.zeros((steps, steppers.COLUMNS))
  rows[:, 0], rows[:, 1] = times, sigmas[:-1]
  for k in range(steps):
    rows[k, 2] = 1
    if k and k - 1 not in cfg["disable_corrector"]:
      x, new, now, before = _weights(sigmas, lambdas, k - 1, order(k - 1),
                                     corrects=True)
      rows[k, 2:7] = 0, x, new, now, before
    x, _, now, before = _weights(sigmas, lambdas, k, order(k),
                                 corrects=False)
    rows[k, 7:12] = x, 0, now, before, 0
  return rows.astype(np.float32)


def _weights(sigmas, lambdas, k: int, order: int, corrects: bool):
  """The weights of x_t, m_s, m_0 and m_1 in step k."""
  h = lambdas[k + 1] - lambdas[k]
  b, ratio = -np.expm1(-h), sigmas[k + 1] / sigmas[k]
  r = (lambdas[k - 1] - lambdas[k]) / h if order == 2 else 1
  if not corrects:
    old, new = (1 / 2 if order == 2 else 0), 0
  elif order == 1:
    old, new = 0, 1 / 2
  else:
    # The integrals of 1 and lambda against e^lambda over the step, over B.
    first = 1 / b - 1 / h
    old, new = np.linalg.solve([[1, 1], [r, 1]],
                               [first, 2 * (first / -h + 1 / (2 * b))])
  scale, old = (1 - sigmas[k + 1]) * b, old / r
  return ratio, scale * new, scale * (1 - old - new), scale * old

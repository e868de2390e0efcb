"""The diffusion process: how noise enters, what is predicted, which times.

Report: "given input noisy patches (and conditioning information like text
prompts), it's trained to predict the original 'clean' patches". The path is
that of rectified flow (Liu et al. 2022, arXiv 2209.03003),

  x_t = (1 - t) x0 + t eps,   velocity = dx_t/dt = eps - x0,

with t = 0 data and t = 1 noise. Whatever a network predicts, the loss is taken
on x0_hat: |x0_hat - x0|^2 / max(t, t_min)^2, which is the velocity's loss as
far as the clamp lets it be. Time is per token: x is [B, L, P] and t [B, L, 1].
Every divisor is clamped before dividing, so that a token at t = 0 (a known one)
has a finite gradient.
"""

from collections.abc import Callable
import dataclasses

import jax
import jax.numpy as jnp

from sora_jax import ranges
from sora_jax import types

KINDS = ("x0", "eps", "velocity")
# (x_t [B, L, P], t scalar) -> x0_hat [B, L, P]. A third argument is the time
# that the network is told, where it is not t itself.
Denoise = Callable[..., jax.Array]


@dataclasses.dataclass(frozen=True)
class Process:
  """What is drawn and predicted; the same in training and sampling.

  Attributes:
    prediction: what the network gives, one of KINDS.
    t_min: the clamp of t, and of 1 - t, wherever one divides by it.
    mean, std: of the logit-normal time (Esser et al. 2024, arXiv 2403.03206);
      a mean above 0 asks for more noise.
    uniform: the share of times drawn uniformly, so that no t is left out.
    base_tokens: the number of tokens at which the shift is 1.
    max_shift: the shift grows like sqrt(tokens / base_tokens) up to this.
    known_mean, known_std: log-normal noise level of known tokens, against
      drift and static output (Open-Sora-Plan: -3 and .5).
    known_clean: the share of rows whose known tokens are exact, as they are in
      sampling.
  """

  prediction: str = "x0"
  t_min: float = 0.05
  mean: float = 0.0
  std: float = 1.0
  uniform: float = 0.1
  base_tokens: int = 256
  max_shift: float = 3.0
  known_mean: float = -3.0
  known_std: float = 0.5
  known_clean: float = 0.5

  def __post_init__(self):
    ranges.check(
        "process", self, prediction=ranges.one_of(*KINDS),
        t_min=ranges.above(0, 1), mean=ranges.number(), std=ranges.number(0),
        uniform=ranges.share(), base_tokens=ranges.number(1),
        max_shift=ranges.number(1), known_mean=ranges.number(),
        known_std=ranges.number(0), known_clean=ranges.share())


def corrupt(key: jax.Array, x0: types.Array,
            t: types.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
  """Draws x_t given x0.

  Args:
    key: a random key.
    x0: [B, L, P] clean patches.
    t: [B, L, 1] time of each token, in [0, 1].

  Returns:
    x_t [B, L, P] and the targets, a dict of KINDS to [B, L, P], all float32.
  """
  x0 = jnp.asarray(x0, jnp.float32)
  eps = jax.random.normal(key, x0.shape, jnp.float32)
  x_t = (1 - t) * x0 + t * eps
  return x_t, {"x0": x0, "eps": eps, "velocity": eps - x0}


def convert(kind: str, prediction: types.Array, x_t: types.Array,
            t: types.Array, t_min: float = 0.05) -> dict[str, jax.Array]:
  """All kinds of prediction, given one.

  Exact for t in [t_min, 1 - t_min]; beyond, the divisor is clamped.

  Args:
    kind: what `prediction` is, one of KINDS.
    prediction: [B, L, P].
    x_t: [B, L, P] the noisy patches it was made from.
    t: [B, L, 1], or anything that broadcasts.
    t_min: the clamp of the divisors t and 1 - t.
  """
  p = prediction
  signal, noise = jnp.maximum(1 - t, t_min), jnp.maximum(t, t_min)
  match kind:
    case "x0":
      return {"x0": p, "eps": (x_t - (1 - t) * p) / noise,
              "velocity": (x_t - p) / noise}
    case "eps":
      return {"x0": (x_t - t * p) / signal, "eps": p,
              "velocity": (p - x_t) / signal}
    case "velocity":
      return {"x0": x_t - t * p, "eps": x_t + (1 - t) * p, "velocity": p}
  raise ValueError(f"prediction {kind!r} is none of "
                   f"{', '.join(KINDS)}")


def loss(cfg: Process, x0_hat: types.Array, x0: types.Array,
         t: types.Array) -> jax.Array:
  """The loss of each token [B, L]: |x0_hat - x0|^2 / max(t, t_min)^2."""
  error = (x0_hat - x0) / jnp.maximum(t, cfg.t_min)
  return jnp.mean(jnp.square(error), axis=-1)


def shift_value(cfg: Process, tokens: types.Array) -> types.Array:
  """s = sqrt(tokens / base_tokens), clamped to [1, max_shift].

  More tokens average more noise away, so the same t hides less of a larger
  video; Esser et al. give the square root.
  """
  return jnp.clip(jnp.sqrt(tokens / cfg.base_tokens), 1.0, cfg.max_shift)


def shift(t: types.Array, s: types.Array | float) -> types.Array:
  """The time shift t' = s t / (1 + (s - 1) t), s of `shift_value`."""
  return s * t / (1 + (s - 1) * t)


def sample_times(cfg: Process, key: jax.Array, seg: types.Array,
                 columns: int) -> jax.Array:
  """Draws the times of a batch of rows (types.Times.t).

  Args:
    cfg: the process.
    key: a random key.
    seg: [B, L] int32, the segment of each token, 0 for padding.
    columns: M, one more than the most segments that a row may have.

  Returns:
    [B, M] float32: column 0 the noise level of the known tokens of the row,
    column s the time of segment s, shifted by the tokens of that segment.
  """
  # One draw: every random operation takes XLA on CPU a second to compile.
  u = jax.random.uniform(key, (3, seg.shape[0], columns), minval=1e-7)
  gauss, choice, flat = jax.scipy.special.ndtri(u[0]), u[1], u[2]  # [B, M]
  t = jnp.where(choice < cfg.uniform, flat,
                jax.nn.sigmoid(cfg.mean + cfg.std * gauss))
  tokens = jnp.sum(seg[:, :, None] == jnp.arange(columns), axis=1)
  level = jnp.exp(cfg.known_mean + cfg.known_std * gauss[:, 0])
  known = jnp.where(choice[:, 0] < cfg.known_clean, 0, jnp.minimum(level, 1))
  t = jnp.asarray(shift(t, shift_value(cfg, tokens)))
  return t.at[:, 0].set(known)

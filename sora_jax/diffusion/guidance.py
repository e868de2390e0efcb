"""Classifier-free guidance in x0 space, within an interval of noise levels.

  x0_hat = null + scale (cond - null)

(Ho & Salimans 2022, arXiv 2207.12598). Outside the interval only the
conditional prediction is made: at high noise guidance narrows the samples and
at low noise it does nothing (Kynkaanniemi et al. 2024, arXiv 2404.07724).
"""

import jax

from sora_jax.diffusion import flow


def guided(cond: flow.Denoise, null: flow.Denoise, scale: float,
           interval: tuple[float, float] = (0.0, 1.0)) -> flow.Denoise:
  """A denoiser guided by the difference of two.

  Args:
    cond: the denoiser with the prompt.
    null: the denoiser with the empty (or a negative) prompt.
    scale: 1 is no guidance, and makes no call of `null`.
    interval: (low, high), both included, of t where guidance is on.

  Returns:
    A denoiser. Given a traced t it branches on the device.
  """
  low, high = interval
  if not 0 <= low <= high <= 1:
    raise ValueError(f"guidance interval {interval} must satisfy "
                     "0 <= low <= high <= 1")
  if scale == 1:
    return cond

  def both(x_t, t, *told):
    away = null(x_t, t, *told)
    return away + scale * (cond(x_t, t, *told) - away)

  def denoise(x_t, t, *told):
    return jax.lax.cond((t >= low) & (t <= high), both, cond, x_t, t, *told)

  return both if (low, high) == (0, 1) else denoise

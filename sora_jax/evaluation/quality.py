"""How near one video is to another: PSNR and SSIM.

PSNR = 10 log10(255^2 / MSE). SSIM is Wang et al. 2004, "Image quality
assessment: from error visibility to structural similarity": a Gaussian window
of 11 x 11 with sigma 1.5, K1 = 0.01, K2 = 0.03, only where the whole window
fits; here the mean over frames and the three colour channels.
"""

import math

import numpy as np

WINDOW, SIGMA, K1, K2, PEAK = 11, 1.5, 0.01, 0.03, 255.0
MAX_DB = 100.0  # PSNR of equal videos, so that means stay finite


def psnr(x: np.ndarray, y: np.ndarray, mask: np.ndarray | None = None) -> float:
  """Peak signal-to-noise ratio in dB of two uint8 videos [T, H, W, 3].

  Args:
    x: one video.
    y: the other.
    mask: bool [T, H, W], the pixels that count; all by default.

  Returns:
    dB, at most 100 (equal videos); NaN when no pixel counts.
  """
  _same_shape(x, y)
  error = (x.astype(np.float64) - y.astype(np.float64)) ** 2
  if mask is not None:
    error = error[mask]
  if not error.size:
    return math.nan
  mse = float(error.mean())
  return min(10 * math.log10(PEAK ** 2 / mse), MAX_DB) if mse else MAX_DB


def ssim(x: np.ndarray, y: np.ndarray) -> float:
  """Mean structural similarity in [-1, 1] of two uint8 videos [T, H, W, 3].

  Raises:
    ValueError: unequal shapes, or frames smaller than the 11 x 11 window.
  """
  _same_shape(x, y)
  if min(x.shape[1:3]) < WINDOW:
    raise ValueError(f"SSIM needs frames of at least {WINDOW}x{WINDOW} pixels, "
                     f"these have {x.shape[2]}x{x.shape[1]}")
  return float(np.mean([_ssim_frame(a, b) for a, b in zip(x, y, strict=True)]))


def _ssim_frame(x: np.ndarray, y: np.ndarray) -> float:
  x, y = x.astype(np.float64), y.astype(np.float64)
  c1, c2 = (K1 * PEAK) ** 2, (K2 * PEAK) ** 2
  mx, my = _blur(x), _blur(y)
  vx, vy = _blur(x * x) - mx * mx, _blur(y * y) - my * my
  vxy = _blur(x * y) - mx * my
  return float(np.mean((2 * mx * my + c1) * (2 * vxy + c2) /
                       ((mx * mx + my * my + c1) * (vx + vy + c2))))


def _blur(x: np.ndarray) -> np.ndarray:
  """Gaussian window of [H, W, 3] where it fits: [H - 10, W - 10, 3]."""
  taps = np.exp(-(np.arange(WINDOW) - WINDOW // 2) ** 2 / (2 * SIGMA ** 2))
  taps /= taps.sum()
  for axis in (0, 1):
    n = x.shape[axis] - WINDOW + 1
    x = sum(w * np.take(x, range(i, i + n), axis) for i, w in enumerate(taps))
  return x


def _same_shape(x: np.ndarray, y: np.ndarray) -> None:
  if x.shape != y.shape or x.ndim != 4:
    raise ValueError(f"two videos [T, H, W, 3] of one shape are needed, these "
                     f"are {x.shape} and {y.shape}")

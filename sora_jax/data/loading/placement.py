"""Seeded picks: a value among those allowed, regions, and given keyframes.

Every function takes uniform random numbers u in [0, 1) and is pure.
"""

import numpy as np

from sora_jax.geometry import frames as frames_lib


def below(u: np.ndarray, n: np.ndarray) -> np.ndarray:
  """Integers 0 .. n - 1, 0 where n <= 0."""
  return (u * np.maximum(n, 1)).astype(np.int64)


def between(u: np.ndarray, least: np.ndarray, most: np.ndarray) -> np.ndarray:
  """Integers least .. most, `least` where there is none."""
  return least + below(u, most - least + 1)


def pick(u: np.ndarray, values: np.ndarray, least: np.ndarray) -> np.ndarray:
  """One of the values [N, M] >= least [N] of each row, -1 without one: [N]."""
  ok = values >= least[:, None]
  at = below(u, ok.sum(1))
  ranked = np.where(ok, np.cumsum(ok, 1) - 1, -1)
  found = (ranked == at[:, None]) & ok
  return np.where(ok.any(1), (values * found).sum(1), -1)


def keyframes(u: np.ndarray, wanted: np.ndarray, stored: np.ndarray,
              start: np.ndarray, stop: np.ndarray, room: np.ndarray,
              stride: int) -> np.ndarray:
  """Which stored keyframes are given: one, or as often two.

  Args:
    u: [N, 5].
    wanted: [N] bool, the examples that have keyframes at all.
    stored: [N, MOST] frames, -1 for none.
    start, stop: [N] the latents of each example.
    room: [N] latents that fit into a row, keyframes included.
    stride: frames of a latent.

  Returns:
    [N, MOST] bool.
  """
  first = frames_lib.first_frame(start, stride)
  last = frames_lib.last_frame(stop - 1, stride)
  ok = wanted[:, None] & (stored >= 0) & (stored >= first[:, None]) & (
      stored <= last[:, None])
  count = np.minimum(1 + (u[:, 4] < 0.5), room - (stop - start))
  order = np.argsort(np.where(ok, u[:, :stored.shape[1]], 2), 1)
  rank = np.argsort(order, 1)
  return ok & (rank < count[:, None])


def region_ends(region: np.ndarray, grid: np.ndarray
                ) -> tuple[np.ndarray, np.ndarray]:
  """Latents (last, must): an example begins by `last` and shows `must`.

  Then it has something of the region in it, and something outside of it.

  Args:
    region: [N, 6] t0, t1, y0, y1, x0, x1 in tokens; -1 where a clip has none.
    grid: [N, 2] tokens of a latent in height and width.

  Returns:
    [N] each; `must` is -1 where a clip has no region.
  """
  whole = (region[:, 2::2] == 0).all(1) & (region[:, 3::2] == grid).all(1)
  t0, t1 = region[:, 0], region[:, 1]
  behind = whole & (t0 == 0)  # what is outside begins at t1
  return np.where(whole & ~behind, t0, t1) - 1, np.where(behind, t1, t0)


def draw_regions(rng: np.random.Generator, size: np.ndarray) -> np.ndarray:
  """Regions for `encode` to blank, half of them over all of the time.

  Args:
    rng: of the draw.
    size: [N, 3] tokens of each clip along (t, y, x).

  Returns:
    [N, 6] int32 t0, t1, y0, y1, x0, x1 in tokens, each leaving something
    outside; -1 where a clip is one token.
  """
  u, v = rng.random((2, len(size), 3))
  span = 1 + below(u, size)
  whole = rng.random(len(size)) < 0.5
  span[whole, 0] = size[whole, 0]
  full = (span == size).all(1)
  widest = 2 - np.argmax(size[:, ::-1], 1)  # of x, y, t: the axis to shorten
  at = np.arange(len(size)), widest
  span[at] -= full & (size[at] > 1)
  low = below(v, size - span + 1)
  region = np.stack([low, low + span], 2).reshape(len(size), 6)
  region[size.prod(1) == 1] = -1
  return region.astype(np.int32)

"""The grounds of settings, and clips in large pixels.

Grounds are dull, so that saturation alone tells an object from what is around
it, and none repeats itself, so that one sees a camera pass over it.
"""

import numpy as np

from sora_jax.worlds import facts as facts_lib

# Setting -> its colours: most of the ground, and what is on it.
GROUNDS = {
    "hall": ((122, 122, 124), (106, 106, 109)),
    "jungle": ((40, 58, 44), (58, 80, 58)),
    "night": ((18, 20, 38), (200, 200, 192)),
    "snow": ((230, 233, 238), (208, 215, 226)),
    "sand": ((206, 192, 166), (186, 172, 146)),
}
INKS = ((16, 16, 18), (238, 238, 238))  # on light grounds and on dark ones
SETTINGS = tuple(GROUNDS)
DARK = ("jungle", "night")
CONTRAST = 80  # the least distance from a wall's colour to the ground's
BLOCKS = 32  # blocks of a pixelated clip along its short side


def ground(setting: str, width: int, height: int, short: int, shift: float
           ) -> np.ndarray:
  """The ground of a setting, uint8 [height, width, 3].

  Args:
    setting: a name in SETTINGS.
    width: in pixels; more than a frame's for a view that a camera passes over.
    height: in pixels.
    short: the short side of a frame in pixels, the unit of the pattern.
    shift: how far the pattern is moved to the left, in short sides.
  """
  x = (np.arange(width, dtype=np.float32) + 0.5) / short + np.float32(shift)
  y = ((np.arange(height, dtype=np.float32) + 0.5) / short)[:, None]
  most, second = (np.array(c, np.float32) for c in GROUNDS[setting])
  share = _PATTERNS[setting](x, y, 24.0 * max(short / 64, 1))
  mixed = most + share[..., None] * (second - most)
  if setting == "jungle":  # trunks, behind the leaves
    trunk = _soft(0.05 - np.abs((x + 0.05 * np.sin(2 * y)) % 0.8 - 0.4), 24.0)
    trunk = np.broadcast_to(trunk, share.shape) * (1 - share)
    mixed += trunk[..., None] * (np.array((58, 50, 40), np.float32) - mixed)
  return np.rint(mixed).astype(np.uint8)


def dim(setting: str) -> tuple[int, int, int]:
  """A dull colour that can be seen in a setting, for what is not an object."""
  return (172, 172, 176) if setting in DARK else (88, 88, 92)


def walls(setting: str) -> list[str]:
  """The dull colours (facts.DULL) that stand out from a setting."""
  most = np.array(GROUNDS[setting][0], float)
  return [name for name, rgb in facts_lib.DULL.items()
          if np.linalg.norm(most - rgb) > CONTRAST]


def covered(wall: str) -> list[str]:
  """The settings that a dull colour (facts.DULL) stands out from."""
  return [s for s in SETTINGS if wall in walls(s)]


def block(size: tuple[int, int]) -> int:
  """The side of a block of a pixelated clip in pixels."""
  return max(round(min(size) / BLOCKS), 2)


def pixelate(clip: np.ndarray) -> np.ndarray:
  """Blocks of the mean colour, the last ones cut where they do not fit."""
  frames, height, width, _ = clip.shape
  k = block((width, height))
  h, w = -(-height // k), -(-width // k)
  padded = np.pad(clip, ((0, 0), (0, h * k - height), (0, w * k - width), (0, 0)),
                  "edge") if (h * k, w * k) != (height, width) else clip
  total = np.zeros((frames, h, w, 3), np.uint16 if k < 16 else np.uint32)
  for i in range(k):
    for j in range(k):
      total += padded[:, i::k, j::k]
  mean = ((total + k * k // 2) // (k * k)).astype(np.uint8)
  return mean.repeat(k, 1).repeat(k, 2)[:, :height, :width]


def _soft(distance, sharp):
  """A share that rises from 0 to 1 where `distance` passes 0."""
  return np.clip(0.5 + sharp * distance, 0, 1)


def _wild(i, j, k):
  """Numbers from 0 to 1 that look random, by cell."""
  return np.modf(np.abs(np.sin(i * 12.9898 + j * 78.233 + k) * 43758.5))[0]


def _hall(x, y, sharp):
  dark = _wild(np.floor((x + 0.15) / 0.3), np.floor((y + 0.15) / 0.3), 1.0) > 0.75
  line = np.minimum(np.abs((x + 0.15) % 0.3 - 0.15), np.abs((y + 0.15) % 0.3 - 0.15))
  return np.maximum(_soft(0.012 - line, 2 * sharp), 0.45 * dark)


def _jungle(x, y, sharp):
  leaves = (np.sin(13 * x + 2.5 * np.sin(7 * y)) * np.sin(11 * y + 2 * np.sin(5 * x)))
  return _soft(leaves - 0.25, sharp / 12)


def _night(x, y, sharp):
  cell = 0.22
  i, j = np.floor(x / cell), np.floor(y / cell)
  dx = x - (i + 0.2 + 0.6 * _wild(i, j, 1.0)) * cell
  dy = y - (j + 0.2 + 0.6 * _wild(i, j, 2.0)) * cell
  return _soft(0.004 + 0.010 * _wild(i, j, 3.0) - np.hypot(dx, dy),
               2 * sharp)


def _snow(x, y, sharp):
  hills = y - 0.08 * np.sin(5 * x) - 0.04 * np.sin(11 * x + 1)
  return _soft(0.05 - np.abs((hills + 0.1) % 0.36 - 0.05), sharp / 3)


def _sand(x, y, sharp):
  waves = (y + 0.02 * np.sin(9 * x) + 0.012 * np.sin(23 * x)) % 0.14
  return _soft(0.014 - np.abs(waves - 0.07), sharp)


_PATTERNS = {"hall": _hall, "jungle": _jungle, "night": _night, "snow": _snow,
             "sand": _sand}

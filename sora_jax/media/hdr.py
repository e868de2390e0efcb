"""HDR and wide gamuts become BT.709.

PQ and HLG (ITU-R BT.2100) are turned into light. The reference white of BT.2408,
203 cd/m2, is the white of BT.709 before the tone curve; HLG is taken for a
screen of 1,000 cd/m2. The colours go to the primaries of BT.709, and what lies
outside is clipped. With v the signal of a screen of gamma 2.2, 1 at reference
white, the largest of a pixel's three is led through

  f(v) = v                           v <= 0.8
  f(v) = 0.8 + d / (1 + c d)         d = v - 0.8

with c such that 1,000 cd/m2 becomes 1, and the other two in proportion, which
keeps the hue: Reinhard's curve from a knee on. So what an ordinary screen shows
up to level 204 keeps its level, and white is 232 with highlights above it.
"""

import functools

import numpy as np

PQ, HLG = 16, 18  # transfers of H.273
CURVES = {PQ, HLG}
GAMUTS = {9: (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, 0.3127, 0.3290),
          11: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, 0.314, 0.351),
          12: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, 0.3127, 0.3290)}
BT709 = (0.640, 0.330, 0.300, 0.600, 0.150, 0.060, 0.3127, 0.3290)
WHITE = 203.0  # cd/m2
PEAK = 1000.0
GAMMA = 2.2
KNEE = 0.8
BLOCK = 2 ** 20  # pixels that are worked on at once
STEPS = 4096  # of the table that turns the root of light into a signal


def to_bt709(rgb: np.ndarray, transfer: int, primaries: int) -> np.ndarray:
  """uint8 [H, W, 3] of a picture in another transfer or other primaries.

  Args:
    rgb: uint16 [H, W, 3], full range.
    transfer: of H.273; what is not in CURVES has the gamma of a screen.
    primaries: of H.273; those that are not in GAMUTS are those of BT.709,
      and of a transfer in CURVES those of BT.2020.
  """
  if transfer in CURVES and primaries == 2:  # not named
    primaries = 9
  rows = max(1, BLOCK // rgb.shape[1])
  return np.concatenate([_block(rgb[i:i + rows], transfer, primaries)
                         for i in range(0, len(rgb), rows)])


def _block(rgb: np.ndarray, transfer: int, primaries: int) -> np.ndarray:
  """The same of some rows of a picture, whose numbers fit into memory."""
  light = _light(transfer)[rgb]
  if transfer == HLG:  # the system gamma, by the luminance of the scene
    y = light @ np.array([0.2627, 0.6780, 0.0593], np.float32)
    light *= (np.maximum(y, 1e-6) ** 0.2 * (PEAK / WHITE))[..., None]
  if primaries in GAMUTS:
    light = light @ _between(primaries).T
  signal = _signal(np.sqrt(np.maximum(light, 0)))
  if transfer in CURVES:
    most = np.maximum(signal.max(-1, keepdims=True), KNEE)
    over = most - KNEE
    high = (PEAK / WHITE) ** (1 / GAMMA)
    bend = 1 / (1 - KNEE) - 1 / (high - KNEE)
    signal *= (KNEE + over / (1 + bend * over)) / most
  return (np.clip(signal, 0, 1) * 255 + 0.5).astype(np.uint8)


@functools.cache
def _light(transfer: int) -> np.ndarray:
  """float32 [65536]: light of a value, 1 at WHITE; of HLG that of the scene."""
  v = np.arange(65536) / 65535
  if transfer == PQ:  # SMPTE ST 2084
    p = v ** (1 / 78.84375)
    light = (np.maximum(p - 0.8359375, 0) / (18.8515625 - 18.6875 * p)) ** (
        1 / 0.1593017578125) * (10_000 / WHITE)
  elif transfer == HLG:  # ARIB STD-B67
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    light = np.where(v <= 0.5, v * v / 3, (np.exp((v - c) / a) + b) / 12)
  else:
    light = v ** GAMMA
  return light.astype(np.float32)


@functools.cache
def _table() -> np.ndarray:
  """float32: signals of the roots 0 .. 8 of light, STEPS apart of 1 / STEPS."""
  return (np.arange(8 * STEPS + 2) / STEPS).astype(np.float32) ** (2 / GAMMA)


def _signal(root: np.ndarray) -> np.ndarray:
  """root ** (2 / GAMMA), by a table: numpy's power takes ten times as long."""
  return _table()[np.minimum(root * STEPS + 0.5, 8 * STEPS).astype(np.int32)]


@functools.cache
def _between(primaries: int) -> np.ndarray:
  """float32 [3, 3]: linear RGB of other primaries to that of BT.709."""
  return (np.linalg.inv(_to_xyz(BT709)) @ _to_xyz(GAMUTS[primaries])).astype(
      np.float32)


def _to_xyz(points: tuple[float, ...]) -> np.ndarray:
  """RGB to XYZ by the xy of red, green, blue and white."""
  xyz = np.array([(x / y, 1, (1 - x - y) / y) for x, y in zip(
      points[::2], points[1::2])]).T
  return xyz[:, :3] * np.linalg.solve(xyz[:, :3], xyz[:, 3])

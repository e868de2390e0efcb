"""Combs: lines of two moments in one frame, where no tag says interlaced."""

import numpy as np

CLEAR = 12  # levels by which lines differ that are of two moments
COLUMNS = 4  # every so many are looked at
PART = 64  # columns of these at once, for little memory
MOVING = 0.005  # of the picture, at least, so that there is something to tell
COMBED = 0.05  # of what moves


def combed(before: np.ndarray, grey: np.ndarray) -> bool | None:
  """Whether a frame is combed; None where too little moves to tell.

  A comb is four lines of which the first is as the third, the second as the
  fourth, and neighbours differ, where the picture is not as it was before.

  Args:
    before: uint8 [H, W], every COLUMNS-th column of the frame before.
    grey: uint8 [H, W], the same of this one.
  """
  if before.shape != grey.shape or len(grey) < 4:
    return None
  moves = combs = 0
  for left in range(0, grey.shape[1], PART):
    old, new = (x[:, left:left + PART].astype(np.int16) for x in (before, grey))
    moving = np.abs(new - old) > CLEAR
    a, b, c, d = (new[i:len(new) - 3 + i] for i in range(4))
    least = np.minimum(np.minimum(abs(a - b), abs(b - c)), abs(c - d))
    comb = (least > CLEAR) & (3 * np.maximum(abs(a - c), abs(b - d)) < least)
    comb &= moving[1:-2] | moving[2:-1]
    moves, combs = moves + moving.sum(), combs + comb.sum()
  if moves < MOVING * grey.size:
    return None
  return bool(combs > COMBED * moves)

"""The windows of a canvas: which latents are seen together, and where they stand.

Latent 0 covers one frame and every other one four. A window that begins at a
later latent, and a loop, which has no first frame, `continues`: its positions
begin at 1 and its prompt gets the <continues> piece, as in training.
"""

import numpy as np

from sora_jax.generation import canvas as canvas_lib
from sora_jax.geometry import frames as frames_lib
from sora_jax.geometry import patches


def split(canvas: canvas_lib.Canvas, most: int) -> list[np.ndarray]:
  """The latents that are seen together, window after window.

  Every run of latents that are not wholly known is drawn in as few windows as
  it takes, from the side where something is known. A window sees the last
  third of the one before, now known, and where it can what lies behind the run.

  Args:
    canvas: what is to be drawn.
    most: latents of a window.

  Returns:
    Indices of latents, ascending (in a loop the last is followed by the first).

  Raises:
    ValueError: fewer latents than a window needs to go on from another.
  """
  known, t = canvas.whole, len(canvas.z)
  if known.all():
    return []
  if not known.any() and (canvas.loops or t <= most):
    return [np.arange(t)]
  if most < 3:
    raise ValueError(f"a window of {most} latents cannot go on from another: "
                     "--window needs at least 9 frames")
  ends = np.flatnonzero(np.diff(np.concatenate([[1], known, [1]])))
  found = []
  for low, high in ends.reshape(-1, 2).tolist():
    later = np.flatnonzero(~known[high:])
    before = low
    after = int(later[0]) if len(later) else t - high
    if canvas.loops:  # one run, and what is known lies on both sides of it
      before = after = t - (high - low)
    if after and not before:  # the other way round in time
      runs = [low + high - 1 - w[::-1]
              for w in _run(low, high, after, before, most)]
    else:
      runs = _run(low, high, before, after, most)
    found += [w % t for w in runs]
  return found


def _run(low: int, high: int, before: int, after: int,
         most: int) -> list[np.ndarray]:
  """The windows of the run low .. high - 1, from left to right.

  `before` and `after` are the latents beside it that may be seen.
  """
  overlap, at = most // 3, low
  found: list[np.ndarray] = []
  while True:
    a, b = min(before, overlap), min(after, overlap)
    room = most - (high - at)
    if a + b <= room:  # the last one shows as much of both sides as it can
      a = min(before, room - b)
      b = min(after, room - a)
      return [*found, np.arange(at - a, high + b)]
    # Something is left to draw in the window that sees what lies behind.
    end = min(at - a + most, high - 1)
    found.append(np.arange(at - a, end))
    before, at = before + end - at, end


def positions(canvas: canvas_lib.Canvas, window: np.ndarray,
              f_ref: float) -> np.ndarray:
  """Positions [L, 3] of a window's tokens and then of its keyframes'."""
  first = int(continues(canvas, window))
  time = patches.time_positions(len(window), canvas.fps, f_ref, first)
  pos = [patches.positions((len(window), *canvas.grid[1:]), time)]
  for frame, _ in keyframes(canvas, window):
    at = np.array([keyframe_time(canvas, window, frame)])
    at *= f_ref / canvas.fps
    pos.append(patches.positions((1, *canvas.grid[1:]), at))
  return np.concatenate(pos).astype(np.float32)


def continues(canvas: canvas_lib.Canvas, window: np.ndarray) -> bool:
  """Whether the first latent of a window covers four frames."""
  return bool(canvas.loops or window[0] > 0)


def keyframe_time(canvas: canvas_lib.Canvas, window: np.ndarray,
                  frame: int) -> float:
  """Where a frame lies among the latents of a window, in latents."""
  return frames_lib.time_in(frame + canvas.lead, int(window[0]), 4)


def keyframes(canvas: canvas_lib.Canvas,
              window: np.ndarray) -> list[tuple[int, np.ndarray]]:
  """The keyframes of a canvas that lie in a window."""
  first = int(continues(canvas, window))
  time = lambda frame: keyframe_time(canvas, window, frame)
  return [(frame, z) for frame, z in canvas.keyframes
          if first - 1 < time(frame) <= first + len(window) - 1]

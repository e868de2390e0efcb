"""A canvas: what is known of a video that is to be made.

Report: "Sora can also be prompted with other inputs, such as pre-existing
images or video." Every way of prompting is one thing here, latents of which
some tokens are known, and the solver keeps those bit by bit. So animating,
extending, looping, connecting and in-filling are masks, not code paths
(prompting.py makes them), and `windows` says in which order the unknown is
drawn where the whole cannot be seen at once.

Latent 0 covers one frame and every other one four. A part that begins at a
later latent, and a loop, which has no first frame, `continues`: its positions
begin at 1 and its prompt gets the <continues> piece, as in training.
"""

import dataclasses

import numpy as np

from sora_jax.geometry import frames as frames_lib
from sora_jax.geometry import patches
from sora_jax.geometry import sizes


@dataclasses.dataclass(frozen=True, eq=False)
class Canvas:
  """A video to be made.

  Attributes:
    z: [t, h, w, C] float32 normalised latents; where nothing is known they
      matter only if `start` is below 1.
    known: [t, h / ph, w / pw] bool, the tokens that are given.
    fps: frames per second that the motion is made for.
    size: (W, H) in pixels, of which the padding is cropped.
    lead: frames that are dropped before the first one.
    frames: frames of the video.
    stills: (frame, [1, h, w, C]): frames given besides, anywhere in time. They
      are tokens of their own, seen and then dropped.
    start: the noise level that sampling begins at; below 1 from z.
    wraps: whether the last latent is followed by the first.
  """

  z: np.ndarray
  known: np.ndarray
  fps: float
  size: tuple[int, int]
  frames: int
  lead: int = 0
  stills: tuple[tuple[int, np.ndarray], ...] = ()
  start: float = 1.0
  wraps: bool = False

  @property
  def patch(self) -> sizes.Patch:
    """The latents that make one token."""
    return tuple(n // k for n, k in zip(self.z.shape, self.known.shape))

  @property
  def grid(self) -> tuple[int, int, int]:
    """Tokens along (t, h, w)."""
    return self.known.shape

  @property
  def whole(self) -> np.ndarray:
    """[t] bool: the latents of which every token is known."""
    return self.known.all((1, 2))


@dataclasses.dataclass(frozen=True, eq=False)
class Crossfade:
  """A video that passes into another over `frames`.

  Attributes:
    first: the one video, which goes on for `frames`.
    second: the other, which has `frames` in front.
    lead_in: [2, h, w, C] latents behind which what is known of `second` is
      decoded as it was encoded (tokens.lead_in).
    frames: how many are of both.
  """

  first: Canvas
  second: Canvas
  lead_in: np.ndarray
  frames: int

  @property
  def fps(self) -> float:
    """Frames per second of the result."""
    return self.first.fps


def blank(grid: tuple[int, int, int], patch: sizes.Patch, channels: int,
          **fields) -> Canvas:
  """A canvas of `grid` tokens on which nothing is known."""
  t, h, w = grid
  z = np.zeros((t, h * patch[1], w * patch[2], channels), np.float32)
  return Canvas(z, np.zeros(grid, bool), **fields)


def of_parts(parts: list[np.ndarray | int], patch: sizes.Patch,
             **fields) -> Canvas:
  """A canvas of latents in a row: known ones, or a number of unknown ones."""
  shape = next(p.shape[1:] for p in parts if not isinstance(p, int))
  full = [np.zeros((p, *shape), np.float32) if isinstance(p, int) else p
          for p in parts]
  known = np.repeat([not isinstance(p, int) for p in parts],
                    [len(z) for z in full])
  h, w = (n // p for n, p in zip(shape, patch[1:]))
  return Canvas(np.concatenate(full), np.broadcast_to(
      known[:, None, None], (len(known), h, w)), **fields)


def windows(canvas: Canvas, most: int) -> list[np.ndarray]:
  """The latents that are seen together, window after window.

  Every run of latents that are not wholly known is drawn in as few windows as
  it takes, from the side where something is known. A window sees the last
  third of the one before, now known, and where it can what lies behind the run.

  Args:
    canvas: what is to be drawn.
    most: latents of a window.

  Returns:
    Indices of latents, ascending (in a loop they wrap).

  Raises:
    ValueError: fewer latents than a window needs to go on from another.
  """
  known, t = canvas.whole, len(canvas.z)
  if known.all():
    return []
  if not known.any() and (canvas.wraps or t <= most):
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
    if canvas.wraps:  # one run, and what is known lies on both sides of it
      before = after = t - (high - low)
    if after and not before:  # the other way round in time
      runs = [low + high - 1 - w[::-1]
              for w in _run(low, high, after, before, most)]
    else:
      runs = _run(low, high, before, after, most)
    found += [w % t for w in runs]
  return found


def _run(low: int, high: int, before: int, after: int, most: int):
  """The windows of the run low .. high - 1, from left to right.

  `before` and `after` are the latents beside it that may be seen.
  """
  overlap, at, found = most // 3, low, []
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


def positions(canvas: Canvas, window: np.ndarray, f_ref: float) -> np.ndarray:
  """Positions [L, 3] of a window's tokens and then of its stills'."""
  first = int(continues(canvas, window))
  time = patches.time_positions(len(window), canvas.fps, f_ref, first)
  pos = [patches.positions((len(window), *canvas.grid[1:]), time)]
  for frame, _ in stills(canvas, window):
    at = np.array([still_time(canvas, window, frame)]) * (f_ref / canvas.fps)
    pos.append(patches.positions((1, *canvas.grid[1:]), at))
  return np.concatenate(pos).astype(np.float32)


def continues(canvas: Canvas, window: np.ndarray) -> bool:
  """Whether the first latent of a window covers four frames."""
  return bool(canvas.wraps or window[0] > 0)


def still_time(canvas: Canvas, window: np.ndarray, frame: int) -> float:
  """Where a frame lies among the latents of a window, in latents."""
  return frames_lib.time_in(frame + canvas.lead, int(window[0]), 4)


def stills(canvas: Canvas, window: np.ndarray):
  """The stills of a canvas that lie in a window."""
  first = int(continues(canvas, window))
  return [(frame, z) for frame, z in canvas.stills if first - 1 < still_time(
      canvas, window, frame) <= first + len(window) - 1]

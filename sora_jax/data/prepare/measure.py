"""Decodes a file once and measures every frame on a small picture of it."""

import dataclasses

import numpy as np
import PIL.Image

from sora_jax.media import combing
from sora_jax.media import containers

SIDE = 128  # pixels of the long side of the small pictures
THUMBS = 64  # small pictures remembered of a file
COMBS = 4  # every so many frames one is looked at for combs


@dataclasses.dataclass(eq=False)
class Frames:
  """What is remembered of each frame of a file.

  Attributes:
    pts: its time, as in containers.Frame.
    brightness: mean level in 0 .. 1.
    change: mean difference from the frame before in levels of 255; 0 of the
      first.
    phash: 8 bytes, see `phash`.
    cuts: numbers of the frames that begin a new shot.
    combed: number -> whether the frame is a comb, of some frames that move.
    thumbs: number -> uint8 [h, w, 3], of at most THUMBS frames.
    step: every so many frames one is in `thumbs`.
    size: (height, width) of a frame, upright.
    pixel_aspect: the width of a pixel / its height, upright.
    altered: what was done to show it, as in containers.Frame, of any frame.
  """

  pts: list[int | None] = dataclasses.field(default_factory=list)
  brightness: list[float] = dataclasses.field(default_factory=list)
  change: list[float] = dataclasses.field(default_factory=list)
  phash: list[bytes] = dataclasses.field(default_factory=list)
  cuts: list[int] = dataclasses.field(default_factory=list)
  combed: dict[int, bool] = dataclasses.field(default_factory=dict)
  thumbs: dict[int, np.ndarray] = dataclasses.field(default_factory=dict)
  step: int = 1
  size: tuple[int, int] = (0, 0)
  pixel_aspect: float = 1.0
  altered: tuple[str, ...] = ()


def measure(file: str | bytes, cuts: bool, max_frames: int | None
            ) -> tuple[containers.Header, Frames]:
  """Decodes a file of at most so many frames.

  Args:
    file: a path, or the bytes of a file.
    cuts: whether shots are looked for.
    max_frames: limits.MAX_FRAMES by default.

  Raises:
    ValueError: it cannot be decoded.
  """
  found, before, detect, lines = Frames(), None, None, None
  with containers.open_frames(file, max_frames=max_frames) as (header, frames):
    if cuts and not header.image:
      from sora_jax.data.prepare import shots  # the extra `data`
      detect = shots.detector(header.fps)
    for i, frame in enumerate(frames):
      small = frame.small(SIDE)
      if not i:
        found.size = frame.size
        found.pixel_aspect = frame.pixel_aspect
        shape = small.shape
      elif small.shape != shape:
        raise ValueError(f"changes its size at frame {i}")
      grey = small @ np.array([0.299, 0.587, 0.114], np.float32)
      found.pts.append(frame.pts)
      if new := set(frame.altered).difference(found.altered):
        found.altered = tuple(sorted(new.union(found.altered)))
      found.brightness.append(float(grey.mean()) / 255)
      found.change.append(
          0.0 if before is None else float(np.abs(
              small.astype(np.int16) - before).mean()))
      found.phash.append(phash(grey))
      if detect and (cut := detect(i, small)):
        found.cuts.append(cut)
      _remember(found, i, small)
      before = small
      if frame.lines and i % COMBS >= COMBS - 2:
        new_lines = frame.lines(combing.COLUMNS)
        if i % COMBS == COMBS - 1 and lines is not None and (
            comb := combing.combed(lines, new_lines)) is not None:
          found.combed[i] = comb
        lines = new_lines
  if not found.pts:
    raise ValueError("has no frames")
  return header, found


def phash(grey: np.ndarray) -> bytes:
  """The perceptual (difference) hash of a picture, float32 [h, w], in 64 bits.

  Bit i tells which of 8 x 8 cells is darker than its right neighbour.
  """
  cells = np.asarray(PIL.Image.fromarray(grey).resize(
      (9, 8), PIL.Image.Resampling.BOX))
  return np.packbits(cells[:, 1:] > cells[:, :-1]).tobytes()


def _remember(found: Frames, i: int, small: np.ndarray) -> None:
  """Keeps at most THUMBS pictures, evenly spaced."""
  if i % found.step == 0:
    found.thumbs[i] = small
  if len(found.thumbs) > THUMBS:
    found.step *= 2
    found.thumbs = {k: v for k, v in found.thumbs.items()
                    if k % found.step == 0}

"""A drawn canvas: latents that become frames when they are asked for."""

from collections.abc import Iterator, Sequence
import dataclasses
import itertools
import math

import numpy as np

from sora_jax.encoding import video as video_lib
from sora_jax.formats import pretrained
from sora_jax.generation import canvas as canvas_lib
from sora_jax.geometry import frames as frames_lib
from sora_jax.models.vae import vae

# Latents in front of a loop. The decoder remembers: behind two of them the jump
# from the last frame to the first was a fifth larger (experiments/prompting).
AROUND = 8
OVER = 8  # frames; more show outlines of what comes, fewer jump


@dataclasses.dataclass(frozen=True, eq=False)
class Result:
  """What was made.

  Attributes:
    model: that decodes it.
    canvas: what was asked for.
    z: [t, h, w, C] normalised latents, bit-equal to the canvas where it is
      known.
  """

  model: pretrained.Model
  canvas: canvas_lib.Canvas
  z: np.ndarray = dataclasses.field(repr=False)

  def frames(self) -> Iterator[np.ndarray]:
    """The frames uint8 [H, W, 3], one after the other.

    Those of a long video are decoded as they are asked for, in memory that does
    not grow with their number.
    """
    z, lead = self.z, self.canvas.lead
    if self.canvas.loops:  # what comes before the first latent is the last ones
      z = np.concatenate([z[np.arange(-AROUND, 0) % len(z)], z])
      lead += 1 + (AROUND - 1) * vae.stride(self.model.vae.module)[0]
    return _decode(self.model, z, self.canvas, lead, self.canvas.frames)

  def video(self) -> np.ndarray:
    """All frames, uint8 [T, H, W, 3]."""
    return np.stack(list(self.frames()))


@dataclasses.dataclass(frozen=True, eq=False)
class CrossfadeResult:
  """What was made of a canvas.Crossfade: one result passes into another.

  Where both are, frame i of n is mixed at w = i / (n + 1). The causal decoder
  renders the second video differently after generated frames than alone. What
  is shown is the second video alone; the difference at its first frame is
  spread evenly over the OVER frames before it, so that nothing jumps.

  Attributes:
    first: goes on from the one video.
    second: leads to the other.
    canvas: what was asked for.
  """

  first: Result
  second: Result
  canvas: canvas_lib.Crossfade

  def frames(self) -> Iterator[np.ndarray]:
    """The frames uint8 [H, W, 3], one after the other."""
    count, first = self.canvas.frames, self.first.frames()
    yield from itertools.islice(first, self.first.canvas.frames - count)
    two = self.second.canvas
    alone = np.concatenate([self.canvas.lead_in, two.z[two.whole]])
    last = _decode(self.first.model, alone, two, frames_lib.LEAD_IN,
                   two.frames - count)
    head = next(last)
    ahead, late = self.second.frames(), min(OVER, count)
    for i in range(1, count - late + 1):
      yield _mixed(next(first), next(ahead), i / (count + 1))
    *new, seen = itertools.islice(ahead, late + 1)
    over = head.astype(np.float32) - seen
    for i, b in enumerate(new, 1):
      yield _mixed(next(first), b + i / (late + 1) * over,
                   (count - late + i) / (count + 1))
    yield head
    yield from last

  def video(self) -> np.ndarray:
    """All frames, uint8 [T, H, W, 3]."""
    return np.stack(list(self.frames()))


def side_by_side(results: Sequence[Result | CrossfadeResult]
                 ) -> Iterator[np.ndarray]:
  """The frames of several results, tiled in about a square."""
  columns = math.ceil(math.sqrt(len(results)))
  rows = -(-len(results) // columns)
  for frames in zip(*(r.frames() for r in results)):
    blank = [np.full_like(frames[0], 255)] * (rows * columns - len(frames))
    tiles = [*frames, *blank]
    yield np.concatenate([np.concatenate(tiles[i:i + columns], 1) for i in
                          range(0, len(tiles), columns)])


def _mixed(a, b, w: float) -> np.ndarray:
  """uint8 frame that is 1 - w of one and w of the other."""
  return np.clip(np.round((1 - w) * a + w * b), 0, 255).astype(np.uint8)


def _decode(model, z, canvas, lead: int, frames: int) -> Iterator[np.ndarray]:
  """`frames` frames of latents z, of the size of a canvas, behind `lead`."""
  raw = vae.denormalise(z[None], model.latent_mean, model.latent_std)
  width, height = canvas.size
  at, end = 0, lead + frames
  for part in video_lib.decode_parts(model.vae, raw.astype(np.float32)):
    yield from part[0, max(lead - at, 0):end - at, :height, :width]
    at += part.shape[1]

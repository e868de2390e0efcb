"""A drawn canvas: latents that become frames when they are asked for."""

from collections.abc import Iterator
import dataclasses

import numpy as np

from sora_jax import tokens as tokens_lib
from sora_jax.generation import canvas as canvas_lib
from sora_jax.generation import pixels
from sora_jax.models import pretrained
from sora_jax.models import vae


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
  z: np.ndarray

  def frames(self) -> Iterator[np.ndarray]:
    """The frames uint8 [H, W, 3], one after the other.

    Those of a long video are decoded as they are asked for, in memory that does
    not grow with their number.
    """
    z, lead = self.z, self.canvas.lead
    if self.canvas.wraps:  # what comes before the first latent is the last ones
      z = np.concatenate([z[np.arange(-tokens_lib.LEAD, 0) % len(z)], z])
      lead += tokens_lib.LEAD_IN
    raw = vae.denormalise(z[None], self.model.latent_mean, self.model.latent_std)
    width, height = self.canvas.size
    at, end = 0, lead + self.canvas.frames
    for part in pixels.decode_parts(self.model.vae, raw.astype(np.float32)):
      yield from part[0, max(lead - at, 0):end - at, :height, :width]
      at += part.shape[1]

  def video(self) -> np.ndarray:
    """All frames, uint8 [T, H, W, 3]."""
    return np.stack(list(self.frames()))

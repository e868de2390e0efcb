"""Which frames a latent covers, and back: the only map between the two.

Latent 0 covers frame 0 and latent i the frames st (i - 1) + 1 to st i, st the
time stride of the VAE (4 for every model here).
"""

import numpy as np

from sora_jax.geometry import sizes

LEAD_IN = 5  # repetitions of a tail's first frame: two latents of stride 4
LEAD_IN_LATENTS = 2


def lead_in(video: np.ndarray) -> np.ndarray:
  """A tail's frames [.., T, H, W, C] behind its first one, repeated.

  4 n frames become 4 n + 5; encoded, the first LEAD_IN_LATENTS latents are
  dropped, and what is left has seen nothing that comes before the tail.
  """
  first = np.repeat(video[..., :1, :, :, :], LEAD_IN, axis=-4)
  return np.concatenate([first, video], axis=-4)


def without_region(video: np.ndarray, region) -> np.ndarray:
  """A video without what is in a region, so that nothing of it shines through.

  Args:
    video: uint8 [T, H, W, C].
    region: x, y, w, h, t0, t1 in pixels and frames, t1 not included; what lies
      beyond the video is cut.

  Returns:
    A copy in which the region has, frame by frame, the median colour of the 4
    pixels around it; grey where it fills the frame.
  """
  x, y, w, h, t0, t1 = region
  around = np.zeros(video.shape[1:3], bool)
  around[max(y - 4, 0):y + h + 4, max(x - 4, 0):x + w + 4] = True
  around[y:y + h, x:x + w] = False
  ground = (np.median(video[t0:t1, around], axis=1)[:, None, None]
            if around.any() else 128)
  video = video.copy()
  video[t0:t1, y:y + h, x:x + w] = ground
  return video


def region_of_tokens(box, stride: tuple[int, int, int], patch: sizes.Patch):
  """The x, y, w, h, t0, t1 in pixels of a box t0, t1, y0, y1, x0, x1 of tokens."""
  t0, t1, y0, y1, x0, x1 = (int(n) for n in box)
  (st, sh, sw), (pt, ph, pw) = stride, patch
  frame = lambda t: max(t * st * pt - (st - 1), 0)  # the first of latent t
  return (x0 * sw * pw, y0 * sh * ph, (x1 - x0) * sw * pw, (y1 - y0) * sh * ph,
          frame(t0), frame(t1))

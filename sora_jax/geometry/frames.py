"""Which frames a latent covers, and back: the only map between the two.

The VAE is causal. Latent 0 covers frame 0, and latent i the frames
st (i - 1) + 1 to st i, st the time stride of the VAE (4 for every model here):

  frame    0 | 1  2  3  4 | 5  6  7  8 | 9 ..
  latent   0 |      1     |      2     | ..

A suffix, the end of something, has no latent of one frame: its n st frames are
n latents. It is encoded behind its first frame, repeated (`lead_in`), so that
it has seen nothing of what comes before it.

Frames and latents are integers or integer arrays alike.
"""

from typing import Any, TypeAlias

import numpy as np

Count: TypeAlias = Any  # an integer or an array of integers
Size = tuple[int, int, int]  # along (t, y, x)
Region = tuple[int, int, int, int, int, int]
LEAD_IN = 5  # repetitions of a suffix's first frame: two latents of stride 4
LEAD_IN_LATENTS = 2


def latent_count(frames: Count, st: int) -> Count:
  """Latents of a video of `frames`; its end is repeated to fill the last one."""
  return -(-(frames - 1) // st) + 1


def full_latents(frames: Count, st: int) -> Count:
  """The first latents of a video of `frames` that cover none beyond its end."""
  return (frames - 1) // st + 1


def frame_count(latents: Count, st: int) -> Count:
  """Frames of a video of `latents`."""
  return st * (latents - 1) + 1


def first_frame(latent: Count, st: int) -> Count:
  """The first frame that a latent covers."""
  return np.maximum(st * (latent - 1) + 1, 0)


def last_frame(latent: Count, st: int) -> Count:
  """The last frame that a latent covers."""
  return st * latent


def latent_of(frame: Count, st: int) -> Count:
  """The latent that covers a frame."""
  return -(-frame // st)


def suffix_latents(frames: int, st: int) -> int:
  """Latents of a suffix of `frames`, or of what is drawn behind a latent."""
  return -(-frames // st)


def suffix_frames(latents: int, st: int) -> int:
  """Frames of a suffix of `latents`."""
  return st * latents


def latent_starts(frames: int, st: int) -> list[int]:
  """The first frame of each latent of a video of `frames` = st k + 1."""
  return [0, *range(1, frames, st)]


def time_in(frame: Count, start: Count, st: int) -> Any:
  """Where a frame lies in an example or window, in latents.

  Args:
    frame: of the video.
    start: the first latent of the example. It stands at time 0 where it is 0
      and at time 1 elsewhere, as every latent that covers `st` frames.
    st: time stride.
  """
  return frame / st - np.maximum(start - 1, 0)


def fill_front(video: np.ndarray, st: int) -> tuple[np.ndarray, int]:
  """Repeats the first frame until a video [T, ..] has st k + 1 frames.

  Returns:
    The video and the number of frames that were added.
  """
  added = -(len(video) - 1) % st
  return np.concatenate([np.repeat(video[:1], added, 0), video]), added


def fill_suffix(video: np.ndarray, st: int) -> np.ndarray:
  """Repeats the last frame until a suffix [T, ..] has st k frames."""
  added = -len(video) % st
  return np.concatenate([video, np.repeat(video[-1:], added, 0)])


def lead_in(video: np.ndarray) -> np.ndarray:
  """Puts the first frame of a suffix [.., T, H, W, C] in front, LEAD_IN times.

  4 n frames become 4 n + 5; encoded, the first LEAD_IN_LATENTS latents are
  dropped, and what is left has seen nothing that comes before the suffix.
  """
  first = np.repeat(video[..., :1, :, :, :], LEAD_IN, axis=-4)
  return np.concatenate([first, video], axis=-4)


def widen_region(size: Size, region: Region, stride: Size,
                 patch: Size) -> Region:
  """The smallest region of whole tokens around a region, cut to the video.

  Args:
    size: (T, H, W) of the video.
    region: x, y, w, h, t0, t1 in pixels and frames, t1 not included.
    stride: of the VAE.
    patch: of the tokens.
  """
  x0, y0, w, h, t0, t1 = region
  frames, height, width = size
  st, sh, sw = (s * p for s, p in zip(stride, patch))
  down = lambda n, m: n // m * m
  up = lambda n, m, most: min(-(-n // m) * m, most)
  x1, y1 = up(x0 + w, sw, width), up(y0 + h, sh, height)
  x0, y0 = down(x0, sw), down(y0, sh)
  t0, last = int(first_frame(latent_of(t0, st), st)), latent_of(t1 - 1, st)
  return (x0, y0, x1 - x0, y1 - y0, t0, min(last_frame(last, st) + 1, frames))


def tokens_of_region(region: Region, stride: Size, patch: Size) -> Region:
  """t0, t1, y0, y1, x0, x1: the tokens that a region touches.

  Args:
    region: x, y, w, h, t0, t1 in pixels and frames, t1 not included.
    stride: of the VAE.
    patch: of the tokens.
  """
  x, y, w, h, t0, t1 = region
  st, sh, sw = (s * p for s, p in zip(stride, patch))
  return (latent_of(t0, st), latent_of(t1 - 1, st) + 1, y // sh,
          -(-(y + h) // sh), x // sw, -(-(x + w) // sw))


def region_of_tokens(tokens: Region, stride: Size, patch: Size) -> Region:
  """The x, y, w, h, t0, t1 in pixels and frames of a box of tokens.

  Args:
    tokens: t0, t1, y0, y1, x0, x1, ends not included.
    stride: of the VAE.
    patch: of the tokens.
  """
  t0, t1, y0, y1, x0, x1 = (int(n) for n in tokens)
  _, sh, sw = (s * p for s, p in zip(stride, patch))
  begin = lambda t: int(first_frame(t * patch[0], stride[0]))
  return (x0 * sw, y0 * sh, (x1 - x0) * sw, (y1 - y0) * sh, begin(t0),
          begin(t1))


def without_region(video: np.ndarray, region: Region) -> np.ndarray:
  """Blanks a region of a video, so that nothing of it shines through.

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

"""The ways of prompting, each as the canvas that it comes to.

Known latents are encoded without seeing what is unknown. The VAE is causal, so
the head of a clip is as it is; a clip that something comes before is encoded as
a suffix, behind its first frame repeated (frames.lead_in). Training drew the
same (data/loading/conditioning.py). Where frames do not fill a latent, the first
or last one is repeated on the side away from what is drawn, and not shown.

Videos are uint8 [T, H, W, 3] of any size, scaled to cover `size` (W, H), which
is their own by default; fps is that of the result.
"""

import numpy as np

from sora_jax import messages
from sora_jax.encoding import video as video_lib
from sora_jax.formats import pretrained
from sora_jax.generation import canvas as canvas_lib
from sora_jax.geometry import frames as frames_lib
from sora_jax.geometry import sizes
from sora_jax.models.vae import vae

DIRECTIONS = ("forward", "backward", "both")


def text(model: pretrained.Model, size: tuple[int, int], frames: int,
         fps: float) -> canvas_lib.Canvas:
  """Nothing is known."""
  grid = _grid(model, size, frames, fps)
  return canvas_lib.blank(grid, model.patch, model.vae.module.z, fps=fps,
                          size=size, frames=frames)


def animate(model: pretrained.Model, image: np.ndarray, frames: int, fps: float,
            at: int = 0, size: tuple[int, int] | None = None
            ) -> canvas_lib.Canvas:
  """An image [H, W, 3] is frame `at` of a video of `frames`."""
  if not 0 <= at < frames:
    raise ValueError(f"--at={at}: a video of "
                     f"{messages.count(frames, 'frame')} has the frames 0 to "
                     f"{frames - 1}")
  video = video_lib.cover(image[None], size)
  size = video.shape[2], video.shape[1]
  grid = _grid(model, size, frames, fps)
  keyframe = video_lib.latents(model, video)
  fields = dict(fps=fps, size=size, frames=frames)
  if at == 0:
    return canvas_lib.of_parts([keyframe, grid[0] - 1] if grid[0] > 1 else [keyframe],
                               model.patch, **fields)
  return canvas_lib.blank(grid, model.patch, model.vae.module.z,
                          keyframes=((at, keyframe),), **fields)


def extend(model: pretrained.Model, video: np.ndarray, frames: int, fps: float,
           direction: str = "forward", size: tuple[int, int] | None = None
           ) -> canvas_lib.Canvas:
  """`frames` more at the end of a video, at its beginning, or at both."""
  if direction not in DIRECTIONS:
    raise ValueError(f"--direction={direction} is none of "
                     f"{', '.join(DIRECTIONS)}")
  if frames < 1:
    raise ValueError(f"--frames={frames}: extend by at least 1 frame")
  video = video_lib.cover(video, size)
  st, (count, height, width) = _stride(model, video), video.shape[:3]
  fields = dict(fps=fps, size=(width, height))
  if direction == "forward":
    video, lead = frames_lib.fill_front(video, st)
    return canvas_lib.of_parts(
        [video_lib.latents(model, video),
         frames_lib.suffix_latents(frames, st)], model.patch, lead=lead,
        frames=count + frames, **fields)
  more, odd = frames, 0
  if direction == "both":  # the clip is drawn on both sides of whole latents
    odd = count % st if count > st else 0
    video, more = video[odd:], frames + odd
  before = frames_lib.latent_count(more, st)
  suffix = frames_lib.fill_suffix(video, st)
  parts = [before, video_lib.latents(model, suffix, suffix=True)]
  total = count + frames
  if direction == "both":
    total += frames + len(suffix) - len(video)
    parts.append(frames_lib.suffix_latents(frames, st))
  lead = frames_lib.frame_count(before, st) - more
  return canvas_lib.of_parts(parts, model.patch, lead=lead, frames=total,
                             **fields)


def connect(model: pretrained.Model, a: np.ndarray, b: np.ndarray, frames: int,
            fps: float, size: tuple[int, int] | None = None
            ) -> canvas_lib.Crossfade:
  """Video a, a transition of `frames`, and video b.

  Over the transition a goes on and passes into what leads to b
  (result.CrossfadeResult). Both are extended alone: a causal decoder that has
  seen no change of scene keeps the colours of a all through the transition and
  beyond it.
  """
  if frames < 1:
    raise ValueError(f"--frames={frames}: a transition has at least 1 frame")
  a = video_lib.cover(a, size)
  b = video_lib.cover(b, (a.shape[2], a.shape[1]))
  return canvas_lib.Crossfade(
      extend(model, a, frames, fps), extend(model, b, frames, fps, "backward"),
      video_lib.latents(model, np.repeat(b[:1], frames_lib.LEAD_IN, 0)), frames)


def loop(model: pretrained.Model, video: np.ndarray, frames: int, fps: float,
         size: tuple[int, int] | None = None) -> canvas_lib.Canvas:
  """A video and `frames` (in fours) that lead from its end to its beginning.

  Of the video as many frames are taken as fill whole latents.
  """
  if frames < 1:
    raise ValueError(f"--frames={frames}: a way back has at least 1 frame")
  video = video_lib.cover(video, size)
  st = _stride(model, video)
  video = frames_lib.fill_suffix(video[:max(len(video) // st, 1) * st], st)
  new = frames_lib.suffix_latents(frames, st)
  return canvas_lib.of_parts(
      [video_lib.latents(model, video, suffix=True), new], model.patch, fps=fps,
      size=(video.shape[2], video.shape[1]),
      frames=len(video) + frames_lib.suffix_frames(new, st),
      loops=True)


def text_loop(model: pretrained.Model, size: tuple[int, int], frames: int,
              fps: float) -> canvas_lib.Canvas:
  """A loop of `frames` (in fours) of which nothing is known."""
  st = vae.stride(model.vae.module)[0]
  count = frames_lib.suffix_latents(frames, st)
  _, h, w = _grid(model, size, frames, fps)
  return canvas_lib.blank((count, h, w), model.patch, model.vae.module.z,
                          fps=fps, size=size,
                          frames=frames_lib.suffix_frames(count, st),
                          loops=True)


def edit(model: pretrained.Model, video: np.ndarray, strength: float, fps: float,
         size: tuple[int, int] | None = None) -> canvas_lib.Canvas:
  """A video as it is at noise level `strength` (SDEdit, arXiv 2108.01073).

  At 1 nothing is left of it, at 0 all of it.
  """
  _check_strength(strength)
  video = video_lib.cover(video, size)
  _stride(model, video)
  z = video_lib.latents(model, video)
  known = np.zeros(sizes.grid_size(z.shape[:3], model.patch), bool)
  return canvas_lib.Canvas(
      z, known, fps=fps, size=(video.shape[2], video.shape[1]),
      frames=len(video), start=strength)


def inpaint(model: pretrained.Model, video: np.ndarray, region: tuple[int, ...],
            fps: float, size: tuple[int, int] | None = None
            ) -> canvas_lib.Canvas:
  """A video of which a region is drawn anew.

  Args:
    model: the networks.
    video: the video.
    region: (x, y, w, h) or (x, y, w, h, t0, t1) in pixels and frames of the
      result, t1 not included. It is widened to whole tokens (`widened`).
    fps: of the result.
    size: of the result.
  """
  video = video_lib.cover(video, size)
  _stride(model, video)
  region = widened(model, video.shape[:3], region)
  z = video_lib.latents(model, frames_lib.without_region(video, region))
  known = np.ones(sizes.grid_size(z.shape[:3], model.patch), bool)
  t0, t1, y0, y1, x0, x1 = frames_lib.tokens_of_region(
      region, vae.stride(model.vae.module), model.patch)
  known[t0:t1, y0:y1, x0:x1] = False
  return canvas_lib.Canvas(z, known, fps=fps, frames=len(video),
                           size=(video.shape[2], video.shape[1]), region=region)


def widened(model: pretrained.Model, shape: tuple[int, int, int],
            region: tuple[int, ...]) -> frames_lib.Region:
  """A region (x, y, w, h, t0, t1) as whole tokens, cut to a video (T, H, W).

  Raises:
    ValueError: a region that is empty or outside.
  """
  frames, height, width = shape
  x, y, w, h, t0, t1 = (*region, 0, frames)[:6] if len(region) == 4 else region
  if min(x, y, t0) < 0 or w < 1 or h < 1 or t1 <= t0 or (
      x >= width or y >= height or t0 >= frames):
    raise ValueError(
        f"--region={','.join(map(str, region))} holds nothing of {width}x"
        f"{height} with {messages.count(frames, 'frame')}: give x,y,w,h or "
        "x,y,w,h,t0,t1")
  return frames_lib.widen_region(shape, (x, y, w, h, t0, t1),
                                 vae.stride(model.vae.module), model.patch)


def _grid(model: pretrained.Model, size: tuple[int, int], frames: int,
          fps: float) -> tuple[int, int, int]:
  """The tokens along (t, h, w) of a video; an error says the limits."""
  stride, (width, height) = vae.stride(model.vae.module), size
  least = stride[1] * model.patch[1]
  if min(size) < least:
    raise ValueError(f"size {width}x{height} is below one patch: each side "
                     f"must be at least {least}")
  if frames < 1:
    raise ValueError(f"frames {frames}: a video has at least 1 frame")
  if fps <= 0:
    raise ValueError(f"fps {fps} must be above 0")
  t, h, w = sizes.grid_size(sizes.latent_size(
      (frames, height, width), stride, model.patch), model.patch)
  # A longer video is drawn in windows of three latents or more.
  if (count := min(t, 3) * h * w) > (most := model.defaults.max_tokens):
    raise ValueError(f"{width}x{height} is {count} tokens at once, the limit of "
                     f"this model is {most}: make it smaller")
  return t, h, w


def _check_strength(strength: float) -> None:
  if not 0 <= strength <= 1:
    raise ValueError(f"--strength={strength:g} must lie between 0 (what it starts "
                     "from) and 1 (nothing of it)")


def _stride(model: pretrained.Model, video: np.ndarray) -> int:
  """Frames of a latent; an error where a video is below one patch."""
  _grid(model, (video.shape[2], video.shape[1]), len(video), 1.0)
  return vae.stride(model.vae.module)[0]

"""Every verb, composed once: what is asked becomes a canvas and its prompt.

`Pipeline` (pipeline.py) has a method of the same name and arguments that draws
it; the command line makes its flags from the arguments and their help from the
lines below. A video or an image is a path, or uint8 pixels of any size: what
videos.opened takes. What is None is what the model states; size and frame rate
are those of the first input, if it has them.
"""

from collections.abc import Callable
import dataclasses
import numbers
from typing import Any, Literal

import numpy as np

from sora_jax.formats import pretrained
from sora_jax.generation import canvas as canvas_lib
from sora_jax.generation import prompting
from sora_jax.media import limits
from sora_jax.media import video_io
from sora_jax.media import videos

Size = tuple[int, int] | int  # (W, H) in pixels; a number is both


@dataclasses.dataclass(frozen=True, eq=False)
class Request:
  """What is to be drawn.

  Attributes:
    canvas: size, length and what is known; of `connect` two of them.
    prompt: what to show; of `connect` one for each video, or one for both.
    seed: of the noise, where the video of the request was made with one that
      should be used again.
    given: the image or video that it begins with, uint8 [T, H, W, 3], or None.
    asked: what the user wrote, where `prompt` was made of it; else None.
  """

  canvas: canvas_lib.Canvas | canvas_lib.Crossfade
  prompt: str | tuple[str, str]
  seed: int | None = None
  given: np.ndarray | None = dataclasses.field(default=None, repr=False)
  asked: str | tuple[str, str] | None = None

  def expanded(self, expand: Callable[[str], str]) -> "Request":
    """The same of the prompt that `expand` makes of it."""
    prompt: str | tuple[str, str]
    if isinstance(self.prompt, str):
      prompt = expand(self.prompt)
    else:
      prompt = expand(self.prompt[0]), expand(self.prompt[1])
    return dataclasses.replace(self, prompt=prompt, asked=self.prompt)


@dataclasses.dataclass(frozen=True)
class Requests:
  """The verbs for a model.

  Every one raises ValueError, with the limits, for what the model cannot make.

  Attributes:
    model: the networks, of which the VAE encodes the inputs.
  """

  model: pretrained.Model

  def generate(self, prompt: str, size: Size | None = None,
               frames: int | None = None, fps: float | None = None) -> Request:
    """A video or an image of a prompt.

    Args:
      prompt: what to show.
      size: (W, H) in pixels, any.
      frames: number of frames, any; 1 makes an image.
      fps: frames per second that the motion is made for.
    """
    defaults = self.model.defaults
    return Request(prompting.text(
        self.model, _size(size) or defaults.size,
        defaults.frames if frames is None else frames, self._fps(fps)), prompt)

  def animate(self, image: videos.Like, prompt: str = "",
              frames: int | None = None, at: int = 0, size: Size | None = None,
              fps: float | None = None) -> Request:
    """A video of which one frame is an image.

    Args:
      image: the image, a path or uint8 [H, W, 3].
      prompt: what to show.
      frames: number of frames.
      at: the frame that the image is, from 0.
      size: (W, H) in pixels.
      fps: frames per second.
    """
    if frames is None:
      frames = self.model.defaults.frames
    image = videos.opened_image(image)
    return Request(prompting.animate(
        self.model, image, frames, self._fps(fps), at, _size(size)), prompt,
                   given=image[None])

  def extend(self, video: videos.Like, prompt: str | None = None,
             frames: int = 16,
             direction: Literal["forward", "backward", "both"] = "forward",
             size: Size | None = None, fps: float | None = None) -> Request:
    """More of a video. Its own frames come back through the VAE.

    Args:
      video: the video, a path or uint8 [T, H, W, 3].
      prompt: what to show; by default what the video was made from.
      frames: number of new frames, on each side if --direction=both.
      direction: where the new frames are.
      size: (W, H) in pixels.
      fps: frames per second.
    """
    video = videos.opened(video)
    return Request(prompting.extend(
        self.model, video, frames, self._fps(fps, video), direction,
        _size(size)), _prompt(prompt, video), given=video)

  def connect(self, a: videos.Like, b: videos.Like,
              prompt: str | tuple[str, str] | None = None, frames: int = 16,
              size: Size | None = None, fps: float | None = None) -> Request:
    """Video a, a gradual transition, and video b.

    Args:
      a: the first video, a path or uint8 [T, H, W, 3].
      b: the second video, likewise.
      prompt: what they show: one for both, or one of each; by default what each
        was made from.
      frames: frames of the transition.
      size: (W, H) in pixels.
      fps: frames per second of both; by default those of a, which b is put on.
    """
    a, b = videos.opened(a, "a"), videos.opened(b, "b")
    rate = self._fps(fps, a)
    if fps is None:
      b = videos.of(video_io.at_rate(b, self._fps(None, b, rate), rate), rate,
                    b.made)
    if prompt is None:
      prompt = (a.prompt, b.prompt)
    return Request(prompting.connect(
        self.model, a, b, frames, rate, _size(size)), prompt)

  def loop(self, video: videos.Like | None = None, prompt: str | None = None,
           frames: int = 16, size: Size | None = None,
           fps: float | None = None) -> Request:
    """A loop without a seam, of a video or of a prompt alone.

    Args:
      video: is led back to its beginning, or None.
      prompt: what to show; by default what the video was made from.
      frames: new frames from the end of a video back to its beginning, or
        without a video all frames; rounded up to whole latents.
      size: (W, H) in pixels.
      fps: frames per second.
    """
    if video is None:
      return Request(prompting.text_loop(
          self.model, _size(size) or self.model.defaults.size, frames,
          self._fps(fps)), prompt or "")
    video = videos.opened(video)
    return Request(prompting.loop(
        self.model, video, frames, self._fps(fps, video), _size(size)),
                   _prompt(prompt, video), given=video)

  def edit(self, video: videos.Like, prompt: str = "", strength: float = 0.7,
           size: Size | None = None, fps: float | None = None) -> Request:
    """A video drawn anew from itself, partly noised (SDEdit).

    Args:
      video: the video, a path or uint8 [T, H, W, 3].
      prompt: what to show.
      strength: the noise level to begin at: 0 keeps the video, 1 nothing of it.
      size: (W, H) in pixels.
      fps: frames per second.
    """
    video = videos.opened(video)
    return Request(prompting.edit(
        self.model, video, strength, self._fps(fps, video), _size(size)), prompt,
                   given=video)

  def upscale(self, video: videos.Like, size: Size, prompt: str | None = None,
              strength: float = 0.5, fps: float | None = None) -> Request:
    """A small video drawn at a larger size in the same composition.

    Args:
      video: the video, a path or uint8 [T, H, W, 3].
      size: (W, H) in pixels.
      prompt: what to show; by default what the video was made from.
      strength: the noise level to begin at: 0 only enlarges, 1 keeps nothing.
      fps: frames per second.
    """
    video = videos.opened(video)
    asked = self.edit(video, _prompt(prompt, video), strength, size, fps)
    return dataclasses.replace(asked, seed=video.seed)

  def inpaint(self, video: videos.Like, region: tuple[int, ...],
              prompt: str = "", size: Size | None = None,
              fps: float | None = None) -> Request:
    """A video of which a region is drawn anew; the canvas says which.

    Args:
      video: the video, a path or uint8 [T, H, W, 3].
      region: x,y,w,h in pixels of the result, or x,y,w,h,t0,t1 with its frames,
        t1 not included. It is widened to whole tokens.
      prompt: what to show.
      size: (W, H) in pixels.
      fps: frames per second.
    """
    if not isinstance(region, tuple | list) or len(region) not in (4, 6):
      raise ValueError(f"region is {region!r}: give (x, y, w, h) or (x, y, w, h, "
                       "t0, t1)")
    video = videos.opened(video)
    return Request(prompting.inpaint(
        self.model, video, tuple(region), self._fps(fps, video), _size(size)),
                   prompt, given=video)

  def _fps(self, fps: float | None, video: videos.Video | None = None,
           usual: float | None = None) -> float:
    """The rate that is asked for, or of a video; else `usual` or the model's."""
    if fps is not None:
      limits.check_fps(fps, "fps")
      return fps
    if video is not None and len(video) > 1 and video.fps is not None:
      return video.fps
    return self.model.defaults.fps if usual is None else usual


def _prompt(prompt: str | None, video: videos.Video) -> str:
  """The prompt that is asked for, or what a video was made from."""
  return video.prompt if prompt is None else prompt


def _size(size: Any) -> tuple[int, int] | None:
  """(W, H) of a size, None of None.

  Raises:
    ValueError: it is none.
  """
  if size is None:
    return None
  whole = lambda n: isinstance(n, numbers.Integral) and not isinstance(n, bool)
  pair = (size, size) if whole(size) else size
  if not isinstance(pair, tuple | list) or len(pair) != 2 or not all(
      map(whole, pair)):
    raise ValueError(f"size is {size!r}: give (width, height) in pixels, such as "
                     "(128, 72)")
  return int(pair[0]), int(pair[1])

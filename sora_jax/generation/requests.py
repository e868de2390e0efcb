"""Every verb, composed once: what is asked becomes a canvas and its prompt.

`Pipeline` (pipeline.py) has a method of the same name and arguments that draws
it; the command line makes its flags from the arguments and their help from the
lines below. Videos are uint8 [T, H, W, 3] of any size, images uint8 [H, W, 3].
What is None is what the model states; the size is that of the first input.
"""

import dataclasses
from typing import Literal

import numpy as np

from sora_jax.formats import pretrained
from sora_jax.generation import canvas as canvas_lib
from sora_jax.generation import prompting

Size = tuple[int, int]


@dataclasses.dataclass(frozen=True, eq=False)
class Request:
  """What is to be drawn.

  Attributes:
    canvas: size, length and what is known; of `connect` two of them.
    prompt: what to show; of `connect` one for each video, or one for both.
  """

  canvas: canvas_lib.Canvas | canvas_lib.Crossfade
  prompt: str | tuple[str, str]


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
        self.model, defaults.size if size is None else size,
        defaults.frames if frames is None else frames, self._fps(fps)), prompt)

  def animate(self, image: np.ndarray, prompt: str = "",
              frames: int | None = None, at: int = 0, size: Size | None = None,
              fps: float | None = None) -> Request:
    """A video of which one frame is an image.

    Args:
      image: the image.
      prompt: what to show.
      frames: number of frames.
      at: the frame that the image is, from 0.
      size: (W, H) in pixels.
      fps: frames per second.
    """
    if frames is None:
      frames = self.model.defaults.frames
    return Request(prompting.animate(
        self.model, image, frames, self._fps(fps), at, size), prompt)

  def extend(self, video: np.ndarray, prompt: str = "", frames: int = 16,
             direction: Literal["forward", "backward", "both"] = "forward",
             size: Size | None = None, fps: float | None = None) -> Request:
    """More of a video. Its own frames come back through the VAE.

    Args:
      video: the video.
      prompt: what to show.
      frames: number of new frames, on each side if --direction=both.
      direction: where the new frames are.
      size: (W, H) in pixels.
      fps: frames per second.
    """
    return Request(prompting.extend(
        self.model, video, frames, self._fps(fps), direction, size), prompt)

  def connect(self, a: np.ndarray, b: np.ndarray,
              prompt: str | tuple[str, str] = "", frames: int = 16,
              size: Size | None = None, fps: float | None = None) -> Request:
    """Video a, a gradual transition, and video b.

    Args:
      a: the first video.
      b: the second video.
      prompt: what they show: one for both, or one of each.
      frames: frames of the transition.
      size: (W, H) in pixels.
      fps: frames per second of both.
    """
    return Request(prompting.connect(
        self.model, a, b, frames, self._fps(fps), size), prompt)

  def loop(self, video: np.ndarray | None = None, prompt: str = "",
           frames: int = 16, size: Size | None = None,
           fps: float | None = None) -> Request:
    """A loop without a seam, of a video or of a prompt alone.

    Args:
      video: is led back to its beginning, or None.
      prompt: what to show.
      frames: new frames from the end of a video back to its beginning, or
        without a video all frames; rounded up to whole latents.
      size: (W, H) in pixels.
      fps: frames per second.
    """
    fps = self._fps(fps)
    if video is None:
      size = self.model.defaults.size if size is None else size
      return Request(prompting.text_loop(self.model, size, frames, fps), prompt)
    return Request(prompting.loop(self.model, video, frames, fps, size), prompt)

  def edit(self, video: np.ndarray, prompt: str = "", strength: float = 0.7,
           size: Size | None = None, fps: float | None = None) -> Request:
    """A video drawn anew from itself, partly noised (SDEdit).

    Args:
      video: the video.
      prompt: what to show.
      strength: the noise level to begin at: 0 keeps the video, 1 nothing of it.
      size: (W, H) in pixels.
      fps: frames per second.
    """
    return Request(prompting.edit(
        self.model, video, strength, self._fps(fps), size), prompt)

  def upscale(self, video: np.ndarray, size: Size, prompt: str = "",
              strength: float = 0.5, fps: float | None = None) -> Request:
    """A small video drawn at a larger size in the same composition.

    Args:
      video: the video.
      size: (W, H) in pixels.
      prompt: what to show.
      strength: the noise level to begin at: 0 only enlarges, 1 keeps nothing.
      fps: frames per second.
    """
    return self.edit(video, prompt, strength, size, fps)

  def inpaint(self, video: np.ndarray, region: tuple[int, ...],
              prompt: str = "", size: Size | None = None,
              fps: float | None = None) -> Request:
    """A video of which a region is drawn anew; the canvas says which.

    Args:
      video: the video.
      region: x,y,w,h in pixels of the result, or x,y,w,h,t0,t1 with its frames,
        t1 not included. It is widened to whole tokens.
      prompt: what to show.
      size: (W, H) in pixels.
      fps: frames per second.
    """
    return Request(prompting.inpaint(
        self.model, video, region, self._fps(fps), size), prompt)

  def _fps(self, fps: float | None) -> float:
    return self.model.defaults.fps if fps is None else fps

"""A loaded model that makes videos and images from prompts.

Report: "we can control the size of generated videos by arranging
randomly-initialized patches in an appropriately-sized grid." A sample of any
size and length is a row of noise patches of its own; the solver takes it to
clean patches and the decoder of the VAE to pixels. One frame makes an image.
Every other verb prompts with an image or a video (prompting.py).
"""

import dataclasses

import jax.numpy as jnp
import numpy as np

from sora_jax.encoding import video as video_lib
from sora_jax.formats import find
from sora_jax.formats import pretrained
from sora_jax.formats import sampling_defaults
from sora_jax.generation import canvas as canvas_lib
from sora_jax.generation import prompting
from sora_jax.generation import result as result_lib
from sora_jax.generation import sampler
from sora_jax.text import tokenizer as tokenizer_lib

Size = tuple[int, int] | None


@dataclasses.dataclass(frozen=True, eq=False)
class Pipeline:
  """A model folder, ready to generate.

  Attributes:
    model: the networks and their parameters.
    tokenizer: of the prompts: ours, or another of `tokenizer.open_folder`.
  """

  model: pretrained.Model
  tokenizer: tokenizer_lib.Tokenizer

  @property
  def defaults(self) -> sampling_defaults.SamplingDefaults:
    """What sampling does where it is not told otherwise."""
    return self.model.defaults

  def generate(self, prompt: str, size: Size = None, frames: int | None = None,
               fps: float | None = None, **how) -> np.ndarray:
    """Makes one video from a prompt; the model states what is not given.

    Args:
      prompt: what to show.
      size: (W, H) in pixels, any.
      frames: number of frames, any; 1 makes an image.
      fps: frames per second that the motion is made for.
      **how: seed, negative, steps, guidance, method, window and report, as in
        sampler.Sampling; every other verb takes them too.

    Returns:
      uint8 [T, H, W, 3], as of every other verb.

    Raises:
      ValueError: a prompt, size or length that cannot be made, with the limits.
    """
    return self.draw(self.text(size, frames, fps), prompt, **how).video()

  def generate_batch(self, prompts: list[str], size: Size = None,
                     frames: int | None = None, fps: float | None = None,
                     seeds: list[int] | None = None, **how) -> np.ndarray:
    """Makes a video of one size from each prompt: uint8 [N, T, H, W, 3].

    A sample depends on its own prompt and seed alone, not on its neighbours.
    The arguments are those of `generate`.
    """
    canvas = self.text(size, frames, fps)
    made = self.draw_batch([canvas] * len(prompts), prompts, seeds, **how)
    return np.stack([result.video() for result in made])

  def animate(self, image: np.ndarray, prompt: str = "",
              frames: int | None = None, at: int = 0, size: Size = None,
              fps: float | None = None, **how) -> np.ndarray:
    """Makes a video of which frame `at` is an image, uint8 [H, W, 3]."""
    cfg = self.defaults
    return self.draw(prompting.animate(
        self.model, image, frames or cfg.frames, fps or cfg.fps, at,
        size), prompt, **how).video()

  def extend(self, video: np.ndarray, prompt: str = "", frames: int = 16,
             direction: str = "forward", size: Size = None,
             fps: float | None = None, **how) -> np.ndarray:
    """Goes on with a video: `frames` more at its end, beginning or both.

    The frames of the video come back through the VAE.
    """
    return self.draw(prompting.extend(
        self.model, video, frames, fps or self.defaults.fps, direction,
        size), prompt, **how).video()

  def connect(self, a: np.ndarray, b: np.ndarray,
              prompt: str | tuple[str, str] = "", frames: int = 16,
              size: Size = None, fps: float | None = None,
              **how) -> np.ndarray:
    """Makes a gradual transition of `frames` from a to b.

    The prompt says what a and b show: one for both, or one of each.
    """
    return self.draw(prompting.connect(
        self.model, a, b, frames, fps or self.defaults.fps, size), prompt,
                     **how).video()

  def loop(self, video: np.ndarray | None = None, prompt: str = "",
           frames: int = 16, size: Size = None, fps: float | None = None,
           **how) -> np.ndarray:
    """Makes a loop without a seam, of a video or of a prompt alone.

    Args:
      video: is led back to its beginning by `frames` more (in fours); without
        it the loop has `frames` (in fours) in all.
      prompt: what to show.
      frames: as above.
      size: of the result.
      fps: of the result.
      **how: as in `generate`.
    """
    fps = fps or self.defaults.fps
    if video is None:
      canvas = prompting.text_loop(
          self.model, size or self.defaults.size, frames, fps)
    else:
      canvas = prompting.loop(self.model, video, frames, fps, size)
    return self.draw(canvas, prompt, **how).video()

  def edit(self, video: np.ndarray, prompt: str = "", strength: float = 0.7,
           size: Size = None, fps: float | None = None, **how) -> np.ndarray:
    """Draws a video anew from itself at noise level `strength` (SDEdit)."""
    return self.draw(prompting.edit(
        self.model, video, strength, fps or self.defaults.fps, size),
                     prompt, **how).video()

  def upscale(self, video: np.ndarray, size: tuple[int, int],
              prompt: str = "", strength: float = 0.5,
              fps: float | None = None, **how) -> np.ndarray:
    """Draws a small video at a larger size in the same composition."""
    return self.edit(video, prompt, strength, size, fps, **how)

  def inpaint(self, video: np.ndarray, region, prompt: str = "",
              size: Size = None, fps: float | None = None,
              **how) -> np.ndarray:
    """Draws a box of a video anew: region x, y, w, h[, t0, t1]."""
    return self.draw(prompting.inpaint(
        self.model, video, region, fps or self.defaults.fps, size), prompt,
                     **how).video()

  def text(self, size: Size = None, frames: int | None = None,
           fps: float | None = None) -> canvas_lib.Canvas:
    """The canvas of `generate`."""
    cfg = self.defaults
    return prompting.text(
        self.model, tuple(cfg.size if size is None else size),
        cfg.frames if frames is None else frames,
        cfg.fps if fps is None else fps)

  def draw(self, canvas: canvas_lib.Canvas | canvas_lib.Crossfade,
           prompt: str | tuple[str, str] = "", seed: int = 0,
           **how) -> result_lib.Result | result_lib.CrossfadeResult:
    """Draws a canvas of prompting.py; its frames are decoded when asked for.

    The prompt of a transition may be two, one of each of its videos.
    """
    if isinstance(canvas, canvas_lib.Canvas):
      return self.draw_batch([canvas], [prompt], [seed], **how)[0]
    prompts = (prompt, prompt) if isinstance(prompt, str) else prompt
    first, second = (self.draw(c, p, seed, **how) for c, p in zip(
        (canvas.first, canvas.second), prompts))
    return result_lib.CrossfadeResult(first, second, canvas)

  def draw_batch(self, canvases, prompts: list[str],
                 seeds: list[int] | None = None,
                 **how) -> list[result_lib.Result]:
    """Draws canvases of one shape together, as sampler.sample."""
    z = sampler.sample(self.model, self.tokenizer, canvases, prompts,
                       range(len(prompts)) if seeds is None else seeds,
                       sampler.Sampling(**how))
    return [result_lib.Result(self.model, c, x) for c, x in zip(canvases, z)]

  def reconstruct(self, video: np.ndarray) -> np.ndarray:
    """A video through the VAE and back, as `pixels.reconstruct`."""
    return video_lib.reconstruct(self.model.vae, video)


def load(name_or_dir: str = "tiny", dtype=jnp.float32, mesh=None) -> Pipeline:
  """Loads a model: a folder, one of this package, or one of Hugging Face.

  Args:
    name_or_dir: as `find.find` takes it.
    dtype: of the computation and the weights, as in `pretrained.load`.
    mesh: of `mesh.make_mesh`, which the weights are spread over; one device by
      default.

  Raises:
    ValueError: no such model, or a damaged one.
  """
  folder = find.find(name_or_dir)
  model = pretrained.load(folder, dtype, mesh)
  if model.transformer is None:
    raise ValueError(f"{folder} holds a VAE alone and cannot generate")
  for part in ("text_encoder", "tokenizer"):
    if getattr(model, part) is None:
      raise ValueError(f"{folder}/model_index.json: key {part} is missing, and "
                       "no prompt can be read without it")
  try:
    _ = model.defaults
  except ValueError as e:
    raise ValueError(f"{folder}/scheduler/scheduler_config.json: {e}") from e
  source = model.tokenizer
  return Pipeline(model, tokenizer_lib.load(source) if isinstance(
      source, bytes) else tokenizer_lib.open_folder(source))

"""A loaded model that makes videos and images from prompts.

Report: "we can control the size of generated videos by arranging
randomly-initialized patches in an appropriately-sized grid." A sample of any
size and length is a row of noise patches of its own; a stepper takes it to
clean patches and the decoder of the VAE to pixels. One frame makes an image.
Every other verb prompts with an image or a video (requests.py).
"""

from collections.abc import Callable, Sequence
import dataclasses
import functools
from typing import Any

import jax.numpy as jnp
import numpy as np

from sora_jax.encoding import video as video_lib
from sora_jax.formats import find
from sora_jax.formats import pretrained
from sora_jax.formats import sampling_defaults
from sora_jax.generation import canvas as canvas_lib
from sora_jax.generation import requests as requests_lib
from sora_jax.generation import result as result_lib
from sora_jax.generation import sampler
from sora_jax.text import prompts as prompts_lib
from sora_jax.text import tokenizer as tokenizer_lib

HOW = ("seed", *(field.name for field in dataclasses.fields(sampler.Sampling)))


def _drawn(request: Callable[..., requests_lib.Request]
           ) -> Callable[..., np.ndarray]:
  """The method that draws what a method of Requests asks for."""
  @functools.wraps(request)
  def verb(self: "Pipeline", *args: Any, **named: Any) -> np.ndarray:
    how = {name: named.pop(name) for name in HOW if name in named}
    asked = request(self.requests, *args, **named)
    return self.draw(asked.canvas, asked.prompt, **how).video()

  return verb


@dataclasses.dataclass(frozen=True, eq=False)
class Pipeline:
  """A model folder, ready to generate.

  Every verb is a method that gives uint8 [T, H, W, 3]. It takes the arguments of
  the method of Requests of its name and, by name, seed and those of
  sampler.Sampling: negative, steps, guidance, method, window, report and expand.

  Attributes:
    model: the networks and their parameters.
    tokenizer: of the prompts: ours, or another of `tokenizer.open_folder`.
  """

  model: pretrained.Model
  tokenizer: prompts_lib.Tokenizer

  generate = _drawn(requests_lib.Requests.generate)
  animate = _drawn(requests_lib.Requests.animate)
  extend = _drawn(requests_lib.Requests.extend)
  connect = _drawn(requests_lib.Requests.connect)
  loop = _drawn(requests_lib.Requests.loop)
  edit = _drawn(requests_lib.Requests.edit)
  upscale = _drawn(requests_lib.Requests.upscale)
  inpaint = _drawn(requests_lib.Requests.inpaint)

  @property
  def defaults(self) -> sampling_defaults.SamplingDefaults:
    """What sampling does where it is not told otherwise."""
    return self.model.defaults

  @property
  def requests(self) -> requests_lib.Requests:
    """The verbs, as what `draw` draws."""
    return requests_lib.Requests(self.model)

  def generate_batch(self, prompts: Sequence[str],
                     size: requests_lib.Size | None = None,
                     frames: int | None = None, fps: float | None = None,
                     seeds: Sequence[int] | None = None,
                     **how: Any) -> np.ndarray:
    """Makes a video of one size from each prompt: uint8 [N, T, H, W, 3].

    A sample depends on its own prompt and seed alone, not on its neighbours.

    Args:
      prompts: what each shows.
      size: as in `generate`, like frames and fps.
      frames: of each.
      fps: of each.
      seeds: of each, by default 0, 1, 2 ..
      **how: of sampler.Sampling.
    """
    canvas: Any = self.requests.generate("", size, frames, fps).canvas
    made = self.draw_batch([canvas] * len(prompts), prompts, seeds, **how)
    return np.stack([result.video() for result in made])

  def draw(self, canvas: canvas_lib.Canvas | canvas_lib.Crossfade,
           prompt: str | tuple[str, str] = "", seed: int = 0,
           **how: Any) -> result_lib.Result | result_lib.CrossfadeResult:
    """Draws a canvas; its frames are decoded when they are asked for.

    Args:
      canvas: of a request.
      prompt: what to show; of a crossfade it may be two, one of each video.
      seed: of the noise.
      **how: of sampler.Sampling.
    """
    prompts = (prompt, prompt) if isinstance(prompt, str) else prompt
    one = lambda canvas, prompt: self.draw_batch([canvas], [prompt], [seed],
                                                 **how)[0]
    if isinstance(canvas, canvas_lib.Canvas):
      return one(canvas, prompts[0])
    first, second = map(one, (canvas.first, canvas.second), prompts)
    return result_lib.CrossfadeResult(first, second, canvas)

  def draw_batch(self, canvases: Sequence[canvas_lib.Canvas],
                 prompts: Sequence[str], seeds: Sequence[int] | None = None,
                 **how: Any) -> list[result_lib.Result]:
    """Draws canvases of one shape together, as sampler.sample."""
    z = sampler.sample(self.model, self.tokenizer, canvases, prompts,
                       range(len(prompts)) if seeds is None else seeds,
                       sampler.Sampling(**how))
    return [result_lib.Result(self.model, c, x) for c, x in zip(canvases, z)]

  def reconstruct(self, video: np.ndarray) -> np.ndarray:
    """A video through the VAE and back, as `video.reconstruct`."""
    return video_lib.reconstruct(self.model.vae, video)


def load(name_or_dir: str = "tiny", dtype: Any = jnp.float32,
         mesh: Any = None) -> Pipeline:
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

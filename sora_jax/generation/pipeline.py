"""A loaded model that makes videos and images from prompts.

Report: "we can control the size of generated videos by arranging
randomly-initialized patches in an appropriately-sized grid." A sample of any
size and length is a row of noise patches of its own; a stepper takes it to
clean patches and the decoder of the VAE to pixels. One frame makes an image.
Every other verb prompts with an image or a video (requests.py).
"""

from collections.abc import Callable, Sequence
import dataclasses
import os
from typing import Any
import warnings

import jax.numpy as jnp
import numpy as np

from sora_jax import messages
from sora_jax.encoding import video as video_lib
from sora_jax.formats import find
from sora_jax.formats import pretrained
from sora_jax.formats import sampling_defaults
from sora_jax.generation import arguments
from sora_jax.generation import canvas as canvas_lib
from sora_jax.generation import describe
from sora_jax.generation import notes as notes_lib
from sora_jax.generation import requests as requests_lib
from sora_jax.generation import result as result_lib
from sora_jax.generation import sampler
from sora_jax.media import videos
from sora_jax.text import prompts as prompts_lib
from sora_jax.text import tokenizer as tokenizer_lib


def _drawn(request: Callable[..., requests_lib.Request]
           ) -> Callable[..., videos.Video]:
  """The method that draws what a method of Requests asks for."""
  def verb(self: "Pipeline", *args: Any, seed: int | None = None,
           **named: Any) -> videos.Video:
    how = {name: named.pop(name) for name in arguments.HOW if name in named}
    asked = request(self.requests, *args, **named)
    if expand := how.pop("expand", None):
      asked = asked.expanded(expand)
    if seed is None:
      seed = asked.seed or 0
    if not 0 <= seed <= sampler.SEEDS:
      raise ValueError(f"seed is {seed}, not 0 to 2^62")
    self._warn(asked.canvas, asked.prompt, how)
    drawn = self.draw(asked.canvas, asked.prompt, seed, **how).video()
    return videos.of(drawn, asked.canvas.fps, origin(
        self.model, asked.prompt, seed, asked.asked))

  return arguments.explicit(verb, request)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Pipeline:
  """A model folder, ready to generate.

  Every verb is a method that gives a media.videos.Video, uint8 [T, H, W, 3]. It
  takes the arguments of the method of Requests of its name and, by name, seed and
  those of sampler.Sampling: `help(model.generate)` lists them with their units.

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

  def __repr__(self) -> str:
    return "\n".join(f"{name}: {text}" for name, text in describe.rows(
        self.model))

  def _repr_html_(self) -> str:
    """The same as a table, for a notebook."""
    return describe.table(self.model)

  @property
  def defaults(self) -> sampling_defaults.SamplingDefaults:
    """What sampling does where it is not told otherwise."""
    return self.model.defaults

  @property
  def requests(self) -> requests_lib.Requests:
    """The verbs, as what `draw` draws."""
    return requests_lib.Requests(self.model)

  @arguments.explicit
  def generate_batch(self, prompts: Sequence[str],
                     size: requests_lib.Size | None = None,
                     frames: int | None = None, fps: float | None = None,
                     seeds: Sequence[int] | None = None,
                     **how: Any) -> videos.Video:
    """Makes a video of one size from each prompt.

    A sample depends on its own prompt and seed alone, not on its neighbours.

    Args:
      prompts: what each shows.
      size: (W, H) in pixels of each.
      frames: number of frames of each.
      fps: frames per second that the motion is made for.
      seeds: of the noise of each, by default 0, 1, 2 ..
      **how: of sampler.Sampling.

    Returns:
      uint8 [N, T, H, W, 3]; in a notebook they play side by side.

    Raises:
      ValueError: a text in place of prompts, or not as many seeds.
    """
    if isinstance(prompts, str) or not prompts:
      raise ValueError(f"prompts is {prompts!r}: give a list of texts")
    seeds = range(len(prompts)) if seeds is None else seeds
    if len(seeds) != len(prompts):
      raise ValueError(f"{messages.count(len(prompts), 'prompt')} with "
                       f"{messages.count(len(seeds), 'seed')}: give as many")
    canvas: Any = self.requests.generate("", size, frames, fps).canvas
    self._warn(canvas, prompts, how)
    made = self.draw_batch([canvas] * len(prompts), prompts, seeds, **how)
    return videos.of(np.stack([result.video() for result in made]), canvas.fps)

  @arguments.explicit
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

  @arguments.explicit
  def draw_batch(self, canvases: Sequence[canvas_lib.Canvas],
                 prompts: Sequence[str], seeds: Sequence[int] | None = None,
                 **how: Any) -> list[result_lib.Result]:
    """Draws canvases of one shape together, as sampler.sample.

    Args:
      canvases: of requests, whose known latents lie alike.
      prompts: what each shows.
      seeds: of the noise of each, by default 0, 1, 2 ..
      **how: of sampler.Sampling.
    """
    z = sampler.sample(self.model, self.tokenizer, canvases, prompts,
                       range(len(prompts)) if seeds is None else seeds,
                       sampler.Sampling(**how))
    return [result_lib.Result(self.model, c, x) for c, x in zip(canvases, z)]

  def notes(self, canvas: canvas_lib.Canvas | canvas_lib.Crossfade,
            prompt: str | Sequence[str], **how: Any) -> list[str]:
    """What a user should know before a canvas is drawn, as notes.of.

    Args:
      canvas: of a request.
      prompt: one or several.
      **how: of sampler.Sampling.
    """
    return notes_lib.of(self.model, self.tokenizer, canvas, prompt,
                        sampler.Sampling(**how))

  def _warn(self, canvas: Any, prompt: Any, how: dict[str, Any]) -> None:
    """Warns whoever called a verb of what `notes` says."""
    for line in self.notes(canvas, prompt, **how):
      warnings.warn(line, stacklevel=4)

  def reconstruct(self, video: np.ndarray) -> np.ndarray:
    """A video through the VAE and back, as `video.reconstruct`."""
    return video_lib.reconstruct(self.model.vae, video)


def origin(model: pretrained.Model, prompt: str | tuple[str, str],
           seed: int, asked: str | tuple[str, str] | None = None
           ) -> dict[str, Any]:
  """What a video says that it was made by.

  Args:
    model: that drew it.
    prompt: what it drew; of a crossfade two texts.
    seed: of the noise.
    asked: what the user wrote, where `prompt` was made of it; else None.
  """
  text = lambda words: words if isinstance(words, str) else " ".join(
      filter(None, words))
  made = {"ai_generated": True, "generator": "sora_jax", "prompt": text(prompt),
          "model": model.digest, "seed": seed}
  return made if asked is None else made | {"asked": text(asked)}


def load(name_or_dir: str | os.PathLike = "tiny", dtype: Any = jnp.float32,
         mesh: Any = None) -> Pipeline:
  """Loads a model: a folder, one of this package, or one of Hugging Face.

  Args:
    name_or_dir: a model folder, the name of a model of this package, or of a
      repository hf:ORG/NAME of Hugging Face.
    dtype: of the computation and of the matrices of the weights, such as
      "float32" or "bfloat16".
    mesh: of `mesh.make_mesh`, which the weights are spread over; one device by
      default.

  Returns:
    The model, whose methods are the verbs: generate, animate, extend, connect,
    loop, edit, upscale and inpaint.

  Raises:
    ValueError: no such model, or a damaged one.
  """
  folder = find.find(os.fspath(name_or_dir))
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
  if not isinstance(source, bytes):
    return Pipeline(model, tokenizer_lib.open_folder(source))
  try:
    return Pipeline(model, tokenizer_lib.load(source))
  except ValueError as e:
    raise ValueError(f"{folder}/tokenizer/tokenizer.model: {e}") from e

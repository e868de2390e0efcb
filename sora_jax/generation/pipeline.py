"""A loaded model that makes videos and images from prompts.

Report: "we can control the size of generated videos by arranging
randomly-initialized patches in an appropriately-sized grid." A sample of any
size and length is a row of noise patches of its own; the solver takes it to
clean patches and the decoder of the VAE to pixels. One frame makes an image.
"""

import dataclasses
import functools
import os

import jax
import jax.numpy as jnp
import numpy as np

from sora_jax import tokens as tokens_lib
from sora_jax import types
from sora_jax.data import tokenizer as tokenizer_lib
from sora_jax.diffusion import guidance as guidance_lib
from sora_jax.diffusion import process as process_lib
from sora_jax.diffusion import solvers
from sora_jax.models import dit
from sora_jax.models import pretrained
from sora_jax.models import text_encoder
from sora_jax.models import vae

PATCH = (1, 2, 2)
WEIGHTS = os.path.join(os.path.dirname(os.path.dirname(__file__)), "weights")


@dataclasses.dataclass(frozen=True, eq=False)
class Pipeline:
  """A model folder, ready to generate.

  Attributes:
    model: the networks and their parameters.
    tokenizer: of the prompts.
  """

  model: pretrained.Model
  tokenizer: tokenizer_lib.Tokenizer

  @property
  def settings(self) -> dict:
    """The defaults of sampling, as the model folder states them."""
    return self.model.scheduler["sora_jax"]

  def generate(self, prompt: str, size: tuple[int, int] = (64, 64),
               frames: int = 17, fps: float | None = None, seed: int = 0,
               negative: str = "", steps: int | None = None,
               guidance: float | None = None, method: str | None = None,
               report=None) -> np.ndarray:
    """Makes one video from a prompt.

    Args:
      prompt: what to show.
      size: (W, H) in pixels, any.
      frames: number of frames, any; 1 makes an image.
      fps: frames per second that the motion is made for.
      seed: of the noise; the same seed gives the same video.
      negative: a prompt to stay away from.
      steps: evaluations of the transformer.
      guidance: scale of classifier-free guidance; 1 is none.
      method: the solver, "euler" or "ab2" (second order).
      report: called with (step, steps) as sampling goes on.

    Returns:
      uint8 [T, H, W, 3].

    Raises:
      ValueError: a prompt, size or length that cannot be made, with the limits.
    """
    return self.generate_batch([prompt], size, frames, fps, [seed], negative,
                               steps, guidance, method, report)[0]

  def generate_batch(self, prompts: list[str], size: tuple[int, int],
                     frames: int, fps: float | None = None,
                     seeds: list[int] | None = None, negative: str = "",
                     steps: int | None = None, guidance: float | None = None,
                     method: str | None = None, report=None) -> np.ndarray:
    """Makes a video of one size from each prompt: uint8 [N, T, H, W, 3].

    A sample depends on its own prompt and seed alone, not on its neighbours.
    The arguments are those of `generate`.
    """
    cfg = self.settings
    grid = self._grid(size, frames)
    fps = cfg["fps"] if fps is None else fps
    if fps <= 0:
      raise ValueError(f"fps {fps} must be above 0")
    scale = float(cfg["guidance"] if guidance is None else guidance)
    seeds = list(range(len(prompts))) if seeds is None else seeds
    length = int(np.prod(grid))
    process = _process(self.model.scheduler)
    shift = float(process_lib.shift_value(process, length))
    times = solvers.grid(steps or cfg["steps"], shift)
    rows = solvers.table(times, method or cfg["method"])

    noise = jnp.concatenate([
        tokens_lib.noise(jax.random.key(seed), length,
                         self.model.transformer.module.patch_channels)
        for seed in seeds])
    pos_t = tokens_lib.time_positions(grid[0], fps, cfg["f_ref"])
    pos = jnp.asarray(tokens_lib.positions(grid, pos_t))
    texts = [self._encode(prompts), self._encode([negative] * len(prompts))]
    interval = tuple(cfg["guidance_interval"])
    advance = lambda carry, row: _advance(
        self.model.transformer.module, process, scale, interval,
        self.model.transformer.params, carry, row, pos, *texts)
    x = solvers.drive(advance, solvers.begin(noise), rows, report)
    z = tokens_lib.unpatchify(
        x, tuple(n * p for n, p in zip(grid, PATCH)), PATCH)
    video = np.concatenate([self.decode(z[i:i + 1]) for i in range(len(z))])
    return video[:, :frames, :size[1], :size[0]]

  def decode(self, z: jax.Array) -> np.ndarray:
    """Normalised latents [B, t, h, w, C] to video, uint8 [B, T, H, W, 3]."""
    part = self.model.vae
    raw = vae.denormalise(z, self.model.latent_mean, self.model.latent_std)
    return to_uint8(np.asarray(_decode(part.module, part.params, raw)))

  def reconstruct(self, video: np.ndarray) -> np.ndarray:
    """A video through the VAE and back, as `reconstruct` below."""
    return reconstruct(self.model, video)

  def _grid(self, size, frames):
    """The patches along (t, h, w) of a sample; an error says the limits."""
    stride = vae.stride(self.model.vae.module)
    width, height = size
    least = stride[1] * PATCH[1]
    limit = self.settings["max_tokens"]
    if min(size) < least:
      raise ValueError(f"size {width}x{height} is below one patch: each side "
                       f"must be at least {least}")
    if frames < 1:
      raise ValueError(f"frames {frames}: a video has at least 1 frame")
    latent = tokens_lib.latent_size((frames, height, width), stride, PATCH)
    grid = tokens_lib.grid_size(latent, PATCH)
    if np.prod(grid) > limit:
      raise ValueError(
          f"{width}x{height} with {frames} frames is {np.prod(grid)} tokens, "
          f"the limit of this model is {limit}: make it smaller or shorter")
    return grid

  def _encode(self, prompts: list[str]) -> types.TextStates:
    """Encodes prompts, one a row."""
    limit = self.settings["text_limit"]
    ids = np.zeros((len(prompts), limit), np.int32)
    seg = np.zeros((len(prompts), limit), np.int32)
    for i, prompt in enumerate(prompts):
      row = self.tokenizer.encode(prompt, limit)
      ids[i, :len(row)], seg[i, :len(row)] = row, 1
    part = self.model.text_encoder
    return _encode_text(part.module, part.params, types.Text(ids=ids, seg=seg))


def find(name_or_dir: str) -> str:
  """The folder of a model of this package by name, or of a model folder.

  Raises:
    ValueError: no such model.
  """
  for folder in (name_or_dir, os.path.join(WEIGHTS, name_or_dir)):
    if os.path.isdir(folder):
      return folder
  names = sorted(os.listdir(WEIGHTS)) if os.path.isdir(WEIGHTS) else []
  raise ValueError(f"there is no model '{name_or_dir}': give a model folder "
                   f"or one of {', '.join(names) or 'none'}")


def load(name_or_dir: str = "tiny", dtype=jnp.float32) -> Pipeline:
  """Loads a model of this package by name, or a model folder.

  Raises:
    ValueError: no such model, or a damaged one.
  """
  folder = find(name_or_dir)
  model = pretrained.load(folder, dtype)
  if model.transformer is None:
    raise ValueError(f"{folder} holds a VAE alone and cannot generate")
  return Pipeline(model, tokenizer_lib.load(model.tokenizer))


def reconstruct(model: pretrained.Model, video: np.ndarray) -> np.ndarray:
  """A video through the VAE and back: the ceiling of anything generated.

  Args:
    model: one that has a VAE, be it alone.
    video: uint8 [T, H, W, 3] of any size.

  Returns:
    uint8 [T, H, W, 3].
  """
  part, size = model.vae, video.shape[:3]
  padded = tokens_lib.padded_size(size, vae.stride(part.module), PATCH)
  x = to_float(tokens_lib.extend(video, padded))[None]
  mean, _ = _encode_video(part.module, part.params, x)
  out = to_uint8(np.asarray(_decode(part.module, part.params, mean)))[0]
  return out[:size[0], :size[1], :size[2]]


def to_float(video: np.ndarray) -> np.ndarray:
  """uint8 pixels to float32 in [-1, 1]."""
  return video.astype(np.float32) / 127.5 - 1


def to_uint8(video: np.ndarray) -> np.ndarray:
  """float32 pixels in [-1, 1] to uint8."""
  return np.clip(np.round((video + 1) * 127.5), 0, 255).astype(np.uint8)


def _process(scheduler: dict) -> process_lib.Process:
  return process_lib.Process(**scheduler["sora_jax"]["process"])


@functools.partial(jax.jit, static_argnums=0)
def _encode_text(module, params, text):
  return text_encoder.encode(module, params, text)


@functools.partial(jax.jit, static_argnums=0)
def _encode_video(module, params, video):
  return vae.encode(module, params, video)


@functools.partial(jax.jit, static_argnums=0)
def _decode(module, params, z):
  return vae.decode(module, params, z)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3), donate_argnums=5)
def _advance(module, process, scale, interval, params, carry, row, pos, text,
             null):
  """One step of the solver for a batch of samples, one a row."""
  b, length = carry[0].shape[:2]
  ones = jnp.ones((b, length), jnp.int32)
  pos = jnp.broadcast_to(pos, (b, *pos.shape))

  def predict(states):
    def denoise(x_t, t):
      time = types.Times(t=jnp.full((b, 1), t), tid=0 * ones)
      out = dit.denoise(module, params, types.Tokens(x_t, pos, ones), time,
                        states)
      return process_lib.convert(process.prediction, out, x_t, t,
                                 process.t_min)["x0"]
    return denoise

  denoise = guidance_lib.guided(predict(text), predict(null), scale, interval)
  return solvers.step(denoise, carry, row)

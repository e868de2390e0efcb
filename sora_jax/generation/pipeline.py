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
import PIL.Image

from sora_jax import tokens as tokens_lib
from sora_jax import types
from sora_jax.data import tokenizer as tokenizer_lib
from sora_jax.diffusion import guidance as guidance_lib
from sora_jax.diffusion import process as process_lib
from sora_jax.diffusion import solvers
from sora_jax.generation import pixels
from sora_jax.generation import settings as settings_lib
from sora_jax.models import dit
from sora_jax.models import hub
from sora_jax.models import pretrained
from sora_jax.models import vae

PATCH = (1, 2, 2)
WEIGHTS = os.path.join(os.path.dirname(os.path.dirname(__file__)), "weights")


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
  def settings(self) -> dict:
    """The defaults of sampling, as `settings.of` states them."""
    return settings_lib.of(self.model)

  def generate(self, prompt: str, size: tuple[int, int] | None = None,
               frames: int | None = None, fps: float | None = None,
               seed: int = 0,
               negative: str = "", steps: int | None = None,
               guidance: float | None = None, method: str | None = None,
               report=None, image: np.ndarray | None = None) -> np.ndarray:
    """Makes one video from a prompt; the model states what is not given.

    Args:
      prompt: what to show.
      size: (W, H) in pixels, any.
      frames: number of frames, any; 1 makes an image.
      fps: frames per second that the motion is made for.
      seed: of the noise; the same seed gives the same video.
      negative: a prompt to stay away from.
      steps: evaluations of the transformer.
      guidance: scale of classifier-free guidance; 1 is none.
      method: the solver, "euler", "ab2" (second order) or "folder", the one
        that the model folder's scheduler_config.json describes.
      report: called with (step, steps) as sampling goes on.
      image: uint8 [H, W, 3], the first frame; scaled to `size`.

    Returns:
      uint8 [T, H, W, 3].

    Raises:
      ValueError: a prompt, size or length that cannot be made, with the limits.
    """
    return self.generate_batch([prompt], size, frames, fps, [seed], negative,
                               steps, guidance, method, report, image)[0]

  def generate_batch(self, prompts: list[str],
                     size: tuple[int, int] | None = None,
                     frames: int | None = None, fps: float | None = None,
                     seeds: list[int] | None = None, negative: str = "",
                     steps: int | None = None, guidance: float | None = None,
                     method: str | None = None, report=None,
                     image: np.ndarray | None = None) -> np.ndarray:
    """Makes a video of one size from each prompt: uint8 [N, T, H, W, 3].

    A sample depends on its own prompt and seed alone, not on its neighbours.
    The arguments are those of `generate`.
    """
    cfg = self.settings
    size = cfg["size"] if size is None else size
    frames = cfg["frames"] if frames is None else frames
    grid = self._grid(size, frames)
    fps = cfg["fps"] if fps is None else fps
    if fps <= 0:
      raise ValueError(f"fps {fps} must be above 0")
    scale = float(cfg["guidance"] if guidance is None else guidance)
    seeds = list(range(len(prompts))) if seeds is None else seeds
    length = int(np.prod(grid))
    rows = settings_lib.rows(self.model, length, steps, method)
    known = None if image is None else self._known(image, size, grid)

    noise = jnp.concatenate([
        tokens_lib.noise(jax.random.key(seed), length,
                         self.model.transformer.module.patch_channels)
        for seed in seeds])
    pos_t = tokens_lib.time_positions(grid[0], fps, cfg["f_ref"])
    pos = jnp.asarray(tokens_lib.positions(grid, pos_t))
    texts = [self._encode(prompts), self._encode([negative] * len(prompts))]
    interval = tuple(cfg["guidance_interval"])
    step = lambda carry, row: advance(
        self.model.transformer.module, settings_lib.process(self.model), scale,
        interval, self.model.transformer.params, carry, row, pos, *texts, known)
    x = solvers.drive(step, solvers.begin(noise, known), rows, report)
    z = tokens_lib.unpatchify(
        x, tuple(n * p for n, p in zip(grid, PATCH)), PATCH)
    video = np.concatenate([self.decode(z[i:i + 1]) for i in range(len(z))])
    return video[:, :frames, :size[1], :size[0]]

  def decode(self, z: jax.Array) -> np.ndarray:
    """Normalised latents [B, t, h, w, C] to video, uint8 [B, T, H, W, 3]."""
    part = self.model.vae
    raw = vae.denormalise(z, self.model.latent_mean, self.model.latent_std)
    return pixels.decode(part, raw)

  def reconstruct(self, video: np.ndarray) -> np.ndarray:
    """A video through the VAE and back, as `pixels.reconstruct`."""
    return pixels.reconstruct(self.model.vae, video)

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

  def _known(self, image: np.ndarray, size, grid):
    """A first frame as known tokens: (x [1, L, P], mask [1, L])."""
    if not self.model.expand_timesteps:
      raise ValueError("this model takes no first image: its transformer was "
                       "not trained with a time per token (expand_timesteps)")
    frame = np.asarray(PIL.Image.fromarray(image).resize(
        size, PIL.Image.Resampling.LANCZOS))[None]
    z = vae.normalise(pixels.encode(self.model.vae, frame),
                      self.model.latent_mean, self.model.latent_std)
    first = tokens_lib.patchify(z, PATCH).x
    count, length = first.shape[1], int(np.prod(grid))
    x = jnp.pad(first, ((0, 0), (0, length - count), (0, 0)))
    return x, jnp.arange(length)[None] < count

  def _encode(self, prompts: list[str]) -> types.TextStates:
    """Encodes prompts, one a row."""
    limit, pad = self.settings["text_limit"], self.settings["text_pad"]
    ids = np.full((len(prompts), limit), self.tokenizer.pad, np.int32)
    seg = np.zeros((len(prompts), limit), np.int32)
    for i, prompt in enumerate(prompts):
      row = self.tokenizer.encode(tokenizer_lib.clean(prompt) if pad else prompt, limit)
      ids[i, :len(row)], seg[i, :len(row)] = row, 1
    part = self.model.text_encoder
    # Through the host: the encoder may lie on other devices.
    states = jax.device_get(_encode_text(part.module, part.params,
                                         types.Text(ids=ids, seg=seg)))
    return states.replace(seg=np.ones_like(seg)) if pad else states


def find(name_or_dir: str) -> str:
  """The folder of a model: itself, the name of one of ours, or a repository.

  Raises:
    ValueError: no such model.
  """
  for folder in (name_or_dir, os.path.join(WEIGHTS, name_or_dir)):
    if os.path.isdir(folder):
      return folder
  if hub.is_repo(name_or_dir):
    return hub.fetch(name_or_dir)
  names = sorted(os.listdir(WEIGHTS)) if os.path.isdir(WEIGHTS) else []
  raise ValueError(f"there is no model '{name_or_dir}': give a model folder, "
                   f"a repository ORG/NAME of Hugging Face or one of "
                   f"{', '.join(names) or 'none'}")


def load(name_or_dir: str = "tiny", dtype=jnp.float32, mesh=None) -> Pipeline:
  """Loads a model: a folder, one of this package, or one of Hugging Face.

  Args:
    name_or_dir: as `find` takes it.
    dtype: of the computation and the weights, as in `pretrained.load`.
    mesh: of `mesh.make_mesh`, which the weights are spread over; one device by
      default.

  Raises:
    ValueError: no such model, or a damaged one.
  """
  folder = find(name_or_dir)
  model = pretrained.load(folder, dtype, mesh)
  if model.transformer is None:
    raise ValueError(f"{folder} holds a VAE alone and cannot generate")
  try:
    settings_lib.process(model)
  except ValueError as e:
    raise ValueError(f"{folder}/scheduler/scheduler_config.json: {e}") from e
  source = model.tokenizer
  return Pipeline(model, tokenizer_lib.load(source) if isinstance(
      source, bytes) else tokenizer_lib.open_folder(source))


@functools.partial(jax.jit, static_argnums=0)
def _encode_text(module, params, text):
  return module.apply({"params": params}, text)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3), donate_argnums=5)
def advance(module, process, scale, interval, params, carry, row, pos, text,
             null, known):
  """One step of the solver for a batch of samples, one a row."""
  b, length = carry[0].shape[:2]
  ones = jnp.ones((b, length), jnp.int32)
  pos = jnp.broadcast_to(pos, (b, *pos.shape))
  # Known tokens are at time 0, in column 0 (types.Times).
  time = row[:1] if known is None else jnp.stack([0. * row[0], row[0]])
  tid = 0 * ones if known is None else jnp.where(known[1], 0, ones)
  time = types.Times(t=jnp.broadcast_to(time, (b, len(time))), tid=tid)

  def predict(states):
    def denoise(x_t, t):
      out = dit.denoise(module, params, types.Tokens(x_t, pos, ones), time,
                        states)
      return process_lib.convert(process.prediction, out, x_t, t,
                                 process.t_min)["x0"]
    return denoise

  denoise = guidance_lib.guided(predict(text), predict(null), scale, interval)
  return solvers.step(denoise, carry, row, known)

"""Draws what is unknown of canvases, whatever they prompt with."""

from collections.abc import Sequence
import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np

from sora_jax import types
from sora_jax.diffusion import flow
from sora_jax.diffusion import guidance as guidance_lib
from sora_jax.diffusion import steppers
from sora_jax.formats import pretrained
from sora_jax.formats import sampling_defaults
from sora_jax.generation import canvas as canvas_lib
from sora_jax.geometry import frames as frames_lib
from sora_jax.geometry import patches
from sora_jax.mesh import multihost
from sora_jax.models import dit
from sora_jax.models.vae import vae
from sora_jax.text import prompts as prompts_lib


@dataclasses.dataclass(frozen=True)
class Sampling:
  """How a canvas is drawn; the model states what is None.

  Attributes:
    negative: a prompt to stay away from.
    steps: evaluations of the transformer.
    guidance: scale of classifier-free guidance; 1 is none.
    method: the solver, "euler", "ab2" (second order), "ancestral" (stochastic)
      or "folder", the one that the model folder's scheduler_config.json
      describes.
    window: frames that are seen at once, of a video that is longer. By default
      a prompted video is drawn in windows as long as what the model was trained
      on, and one from text alone in one piece as far as max_tokens allows.
    report: called with (step, steps) as sampling goes on.
  """

  negative: str = ""
  steps: int | None = None
  guidance: float | None = None
  method: str | None = None
  window: int | None = None
  report: object = None


def sample(model: pretrained.Model, tokenizer: prompts_lib.Tokenizer,
           canvases: Sequence[canvas_lib.Canvas], prompts: Sequence[str],
           seeds: Sequence[int], how: Sampling) -> list[np.ndarray]:
  """Draws canvases of one shape together, one a row.

  A sample depends on its own canvas, prompt and seed alone.

  Args:
    model: the networks.
    tokenizer: of the prompts.
    canvases: whose whole latents, stills and start lie alike.
    prompts: what each shows.
    seeds: of the noise of each; the same seed gives the same video.
    how: everything else.

  Returns:
    Latents [t, h, w, C] of each canvas, bit-equal to it where it is known.

  Raises:
    ValueError: a canvas that this model cannot draw, with the limits.
  """
  first = canvases[0]
  check(model, first)
  if first.start == 0:  # no noise, nothing to draw
    return [c.z for c in canvases]
  windows = canvas_lib.windows(first, window(model, first, how.window))
  cfg = sampling_defaults.of(model)
  per = int(np.prod(first.grid[1:]))
  counts = [per * (len(w) + len(canvas_lib.stills(first, w))) for w in windows]
  tables = [sampling_defaults.rows(model, count, how.steps, how.method, first.start)
            for count in counts]
  over = max(counts, default=0)
  if over > cfg["max_tokens"]:
    raise ValueError(
        f"{first.size[0]}x{first.size[1]} with {first.frames} frames is {over} "
        f"tokens, the limit of this model is {cfg['max_tokens']}: make it "
        "smaller or shorter, or give --window")
  scale = cfg["guidance"] if how.guidance is None else how.guidance
  if all(prompt == how.negative for prompt in prompts):
    scale = 1.0  # there is nothing to be guided away from
  channels = model.transformer.module.patch_channels
  keys = jnp.stack([jax.random.key(seed) for seed in seeds])
  eps = np.array(_noise(keys, int(np.prod(first.grid)), channels))
  shape = (len(canvases), first.grid[0], per, -1)  # tokens of each latent
  x = np.concatenate([patches.patchify(c.z[None], c.patch).x
                      for c in canvases]).reshape(shape).copy()
  known = np.stack([c.known for c in canvases]).reshape(shape[:3]).copy()
  eps, texts, done = eps.reshape(shape), {}, 0
  total = sum(map(len, tables))
  for index, rows in zip(windows, tables):
    cont = canvas_lib.continues(first, index)
    if cont not in texts:
      texts[cont] = [encode_text(model, tokenizer, p, cont) for p in (
          prompts, [how.negative] * len(prompts))]
    extras = [np.concatenate([patches.patchify(z[None], c.patch).x
                              for _, z in canvas_lib.stills(c, index)], 1)
              for c in canvases if canvas_lib.stills(c, index)]
    # A loop is seen from another offset at every step.
    rolls = (per * np.stack([np.random.default_rng(seed).integers(
        len(index), size=len(rows)) for seed in seeds], 1)
             if first.wraps and not known.any() else None)
    tell = how.report and (lambda i, _, d=done: how.report(d + i, total))
    x[:, index] = _window(
        model, x[:, index], known[:, index], eps[:, index],
        np.concatenate(extras) if extras else None,
        canvas_lib.positions(first, index, cfg["f_ref"]), texts[cont], rows,
        rolls, keys, done, float(scale), tuple(cfg["guidance_interval"]),
        tell)
    known[:, index] = True
    done += len(rows)
  if not np.isfinite(x).all():
    raise FloatingPointError("what the model drew is not finite: check its "
                             f"weights and the guidance ({scale:g})")
  return list(patches.unpatchify(x.reshape(len(x), -1, x.shape[-1]),
                                    first.z.shape[:3], first.patch))


def check(model: pretrained.Model, canvas: canvas_lib.Canvas) -> None:
  """Raises ValueError where a model cannot take what is known."""
  if (canvas.known.any() or canvas.stills) and not model.expand_timesteps:
    raise ValueError("this model takes no image or video: its transformer was "
                     "not trained with a time per token (expand_timesteps)")


def window(model: pretrained.Model, canvas: canvas_lib.Canvas,
           frames: int | None) -> int:
  """The most latents that are seen at once."""
  cfg, stride = sampling_defaults.of(model), vae.stride(model.vae.module)[0]
  most = cfg["max_tokens"] // int(np.prod(canvas.grid[1:]))
  if frames is None and canvas.known.any():
    frames = cfg["window"]
  if frames is None:
    return most if len(canvas.z) > most > 2 else len(canvas.z)
  if frames < 1:
    raise ValueError(f"--window={frames}: a window has at least 1 frame")
  return min(frames_lib.latent_count(frames, stride), max(most, 1))


@functools.partial(jax.jit, static_argnums=(1, 2))
def _noise(keys: jax.Array, tokens: int, channels: int) -> jax.Array:
  """[B, tokens, channels], a row of each key."""
  return jax.vmap(lambda key: patches.noise(key, tokens, channels)[0])(keys)


def _window(model, x, known, eps, extra, pos, texts, rows, rolls, keys, done,
            scale, interval, report):
  """x [B, t, n, P] of one window with what was unknown drawn.

  `rolls` [steps, B] or None; `keys` [B] are folded with the steps that were
  `done` before and since.
  """
  shape, t = x.shape, float(rows[0, 1]) if len(rows) else 0.0
  flat = lambda a: a.reshape(shape[0], -1, *a.shape[3:])
  start = eps if t == 1 else (1 - t) * x + t * eps
  x, known, start = flat(x), flat(known), flat(start)
  length = x.shape[1]
  if extra is not None:
    x, start = (np.concatenate([a, extra], 1) for a in (x, start))
    known = np.concatenate([known, np.ones(extra.shape[:2], bool)], 1)
  given = (jnp.asarray(x), jnp.asarray(known)) if known.any() else None
  part, process = model.transformer, sampling_defaults.process(model)
  turns, count = iter(rolls) if rolls is not None else None, itertools.count(done)
  draws = keys if rows[:, steppers.NOISE].any() else None
  step = lambda carry, row: sample_step(
      part.module, process, scale, interval, part.params, carry, row,
      jnp.asarray(pos), *texts, given, next(turns) if turns else None, draws,
      next(count))
  x = steppers.sample_loop(step, steppers.init(jnp.asarray(start), given), rows,
                    report)
  return np.asarray(x)[:, :length].reshape(shape)


def encode_text(model: pretrained.Model, tokenizer: prompts_lib.Tokenizer,
                prompts: Sequence[str], continues: bool = False
                ) -> types.TextStates:
  """Encodes prompts, one a row; open models do not know of <continues>."""
  cfg = sampling_defaults.of(model)
  ids, seg = prompts_lib.encode_rows(tokenizer, prompts, cfg["text_limit"],
                                     cfg["text_pad"], continues)
  part = model.text_encoder
  # Through the host: the encoder may lie on other devices.
  states = multihost.gather(_encode_text(part.module, part.params,
                                        types.Text(ids=ids, seg=seg)))
  return states.replace(seg=np.ones_like(seg)) if cfg["text_pad"] else states


@functools.partial(jax.jit, static_argnums=0)
def _encode_text(module, params, text):
  return module.apply({"params": params}, text)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3), donate_argnums=5)
def sample_step(module, process, scale, interval, params, carry, row, pos, text,
            null, known, roll, keys, index):
  """One step of the solver for a batch of samples, one a row.

  `roll` [B] or None: the row is seen that many tokens further on. `keys` [B] or
  None: folded with `index`, those of the noise that the step adds.
  """
  b, length = carry[0].shape[:2]
  ones = jnp.ones((b, length), jnp.int32)
  pos = jnp.broadcast_to(pos, (b, *pos.shape))
  # Known tokens are at time 0, in column 0 (types.Times).
  time = row[:1] if known is None else jnp.stack([0. * row[0], row[0]])
  time_index = 0 * ones if known is None else jnp.where(known[1], 0, ones)
  time = types.Times(t=jnp.broadcast_to(time, (b, len(time))),
                     time_index=time_index)

  turned = jax.vmap(lambda x, by: jnp.roll(x, by, 0))

  def predict(states):
    def denoise(x_t, t):
      seen = x_t if roll is None else turned(x_t, roll)
      # A row is one clip without padding: no segments, so nothing to mask.
      out = dit.denoise(module, params, types.Tokens(seen, pos, None), time,
                        states)
      out = flow.convert(process.prediction, out, seen, t,
                                process.t_min)["x0"]
      return out if roll is None else turned(out, -roll)
    return denoise

  denoise = guidance_lib.guided(predict(text), predict(null), scale, interval)
  noise = None if keys is None else _noise(
      jax.vmap(jax.random.fold_in, (0, None))(keys, index), *carry[0].shape[1:])
  return steppers.step(denoise, carry, row, known, noise)

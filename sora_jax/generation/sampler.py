"""Draws what is unknown of canvases, whatever they prompt with."""

from collections.abc import Callable, Sequence
import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sora_jax import messages
from sora_jax.diffusion import sampling
from sora_jax.formats import pretrained
from sora_jax.formats import sampling_defaults
from sora_jax.generation import canvas as canvas_lib
from sora_jax.generation import step as step_lib
from sora_jax.generation import text_states
from sora_jax.generation import windows as windows_lib
from sora_jax.geometry import frames as frames_lib
from sora_jax.geometry import patches
from sora_jax.models.vae import vae
from sora_jax.text import prompts as prompts_lib

SEEDS = 2**62  # the largest seed


@dataclasses.dataclass(frozen=True)
class Sampling:
  """How a canvas is drawn; the model states what is None.

  Attributes:
    negative: a prompt to stay away from.
    steps: evaluations of the transformer, at most.
    guidance: scale of classifier-free guidance; 1 is none.
    method: the stepper, a name of diffusion.steppers.STEPPERS such as "ab2", or
      "folder", the scheduler that the model folder names.
    window: frames that are seen at once, of a video that is longer. By default
      a prompted video is drawn in windows as long as what the model was trained
      on, and one from text alone in one piece as far as max_tokens allows.
    report: called with (step, steps) as sampling goes on.
    expand: rewrites every prompt but the negative one, text to text.
  """

  negative: str = ""
  steps: int | None = None
  guidance: float | None = None
  method: str | None = None
  window: int | None = None
  report: Callable[[int, int], None] | None = None
  expand: Callable[[str], str] | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class _Window:
  """What is drawn at once.

  Attributes:
    latents: [t] indices of the latents that are seen.
    steps: from noise to data.
    done: steps of the windows before.
    offsets: [steps, B], the cyclic shift in tokens at each step of a loop, or
      None.
  """

  latents: np.ndarray
  steps: sampling.Steps
  done: int
  offsets: np.ndarray | None


def sample(model: pretrained.Model, tokenizer: prompts_lib.Tokenizer,
           canvases: Sequence[canvas_lib.Canvas], prompts: Sequence[str],
           seeds: Sequence[int], how: Sampling) -> list[np.ndarray]:
  """Draws canvases of one shape together, one a row.

  A sample depends on its own canvas, prompt and seed alone.

  Args:
    model: the networks.
    tokenizer: of the prompts.
    canvases: whose whole latents, keyframes and start lie alike.
    prompts: what each shows.
    seeds: of the noise of each; the same seed gives the same video.
    how: everything else.

  Returns:
    Latents [t, h, w, C] of each canvas, bit-equal to it where it is known.

  Raises:
    ValueError: a canvas that this model cannot draw, with the limits.
  """
  first, defaults = canvases[0], model.defaults
  component = model.transformer
  check_prompting(model, first)
  if first.start == 0:  # no noise, nothing to draw
    return [c.z for c in canvases]
  if how.expand:
    prompts = [how.expand(prompt) for prompt in prompts]
  plan = _plan(model, first, seeds, how)
  scale = defaults.guidance if how.guidance is None else how.guidance
  if all(prompt == how.negative for prompt in prompts):
    scale = 1.0  # there is nothing to be guided away from
  states = functools.cache(lambda continues: [
      text_states.encode(model, tokenizer, texts, continues)
      for texts in (prompts, [how.negative] * len(prompts))])
  keys = jnp.stack([jax.random.key(seed) for seed in seeds])
  x, known, eps = _tokens(canvases, keys, component.module.patch_channels)
  total = sum(len(window.steps) for window in plan)
  for window in plan:
    at = window.latents
    given, start = _begin(x[:, at], known[:, at], eps[:, at],
                          window.steps.start, _keyframes(canvases, at))
    text, null = states(windows_lib.continues(first, at))
    inputs = step_lib.Inputs(
        jnp.asarray(windows_lib.positions(first, at, defaults.f_ref)), text,
        null, given)
    network = step_lib.Sampler(
        component.module, defaults.process, window.steps.stepper, float(scale),
        sampling_defaults.interval(defaults, how.method))
    report = how.report and functools.partial(_report, how.report, window.done,
                                              total)
    drawn = _draw(network, component.params, inputs, start, window, keys, report)
    shape = x[:, at].shape
    x[:, at] = drawn[:, :shape[1] * shape[2]].reshape(shape)
    known[:, at] = True
  if not np.isfinite(x).all():
    raise FloatingPointError("what the model drew is not finite: check its "
                             f"weights and the guidance ({scale:g})")
  return list(patches.unpatchify(x.reshape(len(x), -1, x.shape[-1]),
                                 first.z.shape[:3], first.patch))


def check(model: pretrained.Model, canvas: canvas_lib.Canvas,
          how: Sampling) -> None:
  """Refuses a canvas that `sample` would refuse, before anything is drawn.

  Raises:
    ValueError: it is one.
  """
  check_prompting(model, canvas)
  _plan(model, canvas, (0,), how)


def check_prompting(model: pretrained.Model, canvas: canvas_lib.Canvas) -> None:
  """Raises ValueError where a model cannot take what is known."""
  if (canvas.known.any() or canvas.keyframes) and not model.expand_timesteps:
    raise ValueError("this model takes no image or video: its transformer was "
                     "not trained with a time per token (expand_timesteps)")


def window_latents(model: pretrained.Model, canvas: canvas_lib.Canvas,
                   frames: int | None) -> int:
  """The most latents that are seen at once.

  Args:
    model: whose defaults hold.
    canvas: what is drawn.
    frames: of a window, or None.

  Raises:
    ValueError: a window of no frame.
  """
  defaults, stride = model.defaults, vae.stride(model.vae.module)[0]
  most = defaults.max_tokens // int(np.prod(canvas.grid[1:]))
  if frames is None and canvas.known.any():
    frames = defaults.window
  if frames is None:
    return most if len(canvas.z) > most > 2 else len(canvas.z)
  if frames < 1:
    raise ValueError(f"--window={frames}: a window has at least 1 frame")
  return min(frames_lib.latent_count(frames, stride), max(most, 1))


def _plan(model: pretrained.Model, canvas: canvas_lib.Canvas,
          seeds: Sequence[int], how: Sampling) -> list[_Window]:
  """The windows of a canvas in the order in which they are drawn."""
  defaults, plan, done = model.defaults, [], 0
  of_latent = int(np.prod(canvas.grid[1:]))  # tokens
  for latents in windows_lib.split(
      canvas, window_latents(model, canvas, how.window)):
    tokens = of_latent * (
        len(latents) + len(windows_lib.keyframes(canvas, latents)))
    if tokens > defaults.max_tokens:
      raise ValueError(
          f"{canvas.size[0]}x{canvas.size[1]} with "
          f"{messages.count(canvas.frames, 'frame')} is "
          f"{tokens} tokens, the limit of this model is {defaults.max_tokens}: "
          "make it smaller or shorter, or give --window")
    steps = sampling_defaults.steps(defaults, model.scheduler, tokens,
                                    how.steps, how.method, canvas.start)
    offsets = None
    if canvas.loops and not canvas.known.any():
      # It is seen from another offset at every step.
      offsets = of_latent * np.stack([np.random.default_rng(seed).integers(
          len(latents), size=len(steps)) for seed in seeds], 1)
    plan.append(_Window(latents, steps, done, offsets))
    done += len(steps)
  return plan


def _tokens(canvases: Sequence[canvas_lib.Canvas], keys: jax.Array,
            channels: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Patches [B, t, n, P], which are known [B, t, n], and noise [B, t, n, P]."""
  t, h, w = canvases[0].grid
  shape = (len(canvases), t, h * w)
  x = np.concatenate([patches.patchify(c.z[None], c.patch).x for c in canvases])
  known = np.stack([c.known for c in canvases])
  eps = np.array(step_lib.draw_noise(keys, t * h * w, channels))
  return (x.reshape(*shape, -1).copy(), known.reshape(shape).copy(),
          eps.reshape(*shape, -1))


def _keyframes(canvases: Sequence[canvas_lib.Canvas],
               latents: np.ndarray) -> np.ndarray | None:
  """Patches [B, L, P] of the keyframes in a window, or None."""
  found = [[patches.patchify(z[None], c.patch).x
            for _, z in windows_lib.keyframes(c, latents)] for c in canvases]
  if not found[0]:
    return None
  return np.concatenate([np.concatenate(rows, 1) for rows in found])


def _begin(x: np.ndarray, known: np.ndarray, eps: np.ndarray, t: float,
           keyframes: np.ndarray | None
           ) -> tuple[sampling.Known | None, jax.Array]:
  """What is known of a window, and x_t [B, L, P] where sampling begins."""
  flat = lambda a: a.reshape(len(a), -1, *a.shape[3:])
  start = flat(eps if t == 1 else (1 - t) * x + t * eps)
  x, known = flat(x), flat(known)
  if keyframes is not None:
    x, start = (np.concatenate([a, keyframes], 1) for a in (x, start))
    known = np.concatenate([known, np.ones(keyframes.shape[:2], bool)], 1)
  given = (jnp.asarray(x), jnp.asarray(known)) if known.any() else None
  return given, jnp.asarray(start)


def _draw(sampler: step_lib.Sampler, params: Any, inputs: step_lib.Inputs,
          start: jax.Array, window: _Window, keys: jax.Array,
          report: Callable[[int, int], None] | None) -> np.ndarray:
  """x [B, L, P] of a window with what was unknown drawn."""
  offsets = iter(() if window.offsets is None else window.offsets)
  draws = keys if sampler.stepper.draws_noise else None
  index = iter(range(window.done, window.done + len(window.steps)))
  step = lambda carry, coefficients: step_lib.sample_step(
      sampler, params, inputs, carry, step_lib.Step(
          coefficients, next(index), draws, next(offsets, None)))
  carry = sampling.init(sampler.stepper, start, inputs.known)
  return np.asarray(sampling.sample_loop(
      step, carry, window.steps.coefficients, report))


def _report(report: Callable[[int, int], None], done: int, total: int,
            step: int, steps: int) -> None:
  """Reports a step of a window among those of all windows."""
  del steps
  report(done + step, total)

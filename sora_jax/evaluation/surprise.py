"""Paired surprise: is a clip that breaks a law harder to denoise than one that
keeps it?

The same noise is added at the same times to the four clips of worlds/fours.py,
and the denoising losses of the two that break the law are set against those of
the two that keep it. No caption is given. The control takes the frames singly,
each encoded and denoised as an image: it must be at chance, 50 %, and where it is
not, the frames alone give the law away and the law says nothing of the model.
"""

from collections.abc import Sequence
import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sora_jax import types
from sora_jax import worlds
from sora_jax.diffusion import flow
from sora_jax.encoding import video as video_lib
from sora_jax.evaluation import statistics
from sora_jax.formats import pretrained
from sora_jax.geometry import patches
from sora_jax.models import dit
from sora_jax.worlds import fours as fours_lib

TIMES = (0.5, 0.7, 0.85, 0.95)  # below, little is left to guess
ALONE = (0.7,)  # the same of the control
ROWS = 4  # clips that are denoised together


@dataclasses.dataclass(frozen=True)
class Asked:
  """The fours of one law of one world.

  Attributes:
    world, law: their names.
    x: [n, 4, L, P] float32 the tokens of the clips, as fours.four orders them.
    pos: [L, 3] float32, their positions.
    alone: [n, 4, T, l, P] the tokens of each frame as an image, or None.
    alone_pos: [l, 3], or None.
    paired: whether every frame is as often lawful as not.
  """

  world: str
  law: str
  x: np.ndarray
  pos: np.ndarray
  alone: np.ndarray | None
  alone_pos: np.ndarray | None
  paired: bool


@dataclasses.dataclass(frozen=True)
class Judge:
  """What denoises.

  Attributes:
    network: the transformer.
    process: what it predicts.
    params: of the transformer.
    text: the states of an empty prompt, [1, S, D].
  """

  network: dit.DiT
  process: flow.Process
  params: Any
  text: types.TextStates


def ask(model: pretrained.Model, name: str, law: str, count: int, seed: int,
        size: tuple[int, int], frames: int, fps: float, f_ref: float,
        alone: bool = True) -> Asked:
  """Draws and encodes the fours of a law.

  Args:
    model: with its VAE.
    name: of the world.
    law: of its LAWS.
    count: of fours.
    seed: of what is drawn.
    size: (W, H) in pixels; a world of one size has its own.
    frames: of each clip.
    fps: frames per second.
    f_ref: frames per second at which latents are one position apart.
    alone: whether frames are encoded as images as well.

  Raises:
    ValueError: a size or duration that the world cannot draw.
  """
  world = worlds.WORLDS[name]
  clips, images = [], []
  paired = True
  for i in range(count):
    facts = fours_lib.sample(world, worlds.key(seed + i, name, law), size, frames,
                             fps)
    paired = fours_lib.partner(world, facts, law) is not None
    four = fours_lib.four(world, facts, law)
    clips.append([video_lib.latents(model, video) for video in four])
    if alone:
      known = {frame.tobytes(): frame for frame in four.reshape(
          -1, *four.shape[2:])}
      latents = {k: video_lib.latents(model, frame[None])
                 for k, frame in known.items()}
      images.append([[latents[frame.tobytes()] for frame in video]
                     for video in four])
  z = np.array(clips)  # [n, 4, t, h, w, C]
  x, pos = _tokens(z, model.patch, fps, f_ref)
  single, single_pos = _tokens(np.array(images), model.patch, fps, f_ref) if (
      alone) else (None, None)
  return Asked(name, law, x, pos, single, single_pos, paired)


def _tokens(z, patch, fps, f_ref):
  """(tokens [.., L, P], positions [L, 3]) of latents [.., t, h, w, C]."""
  made = patches.patchify(
      z.reshape(-1, *z.shape[-4:]), patch,
      patches.time_positions(z.shape[-4], fps, f_ref))
  return (np.asarray(made.x, np.float32).reshape(*z.shape[:-4], *made.x.shape[1:]),
          np.asarray(made.pos[0]))


def surprise(judge: Judge, asked: Asked, seed: int = 0,
             times: Sequence[float] = TIMES) -> dict[str, Any]:
  """How often what is unlawful surprises more, with the control's share.

  Returns:
    {value, low, high, n}: the share of fours in which the unlawful clips lose
    more, ties counting half; `more`: by how much, in per cent of the lawful
    loss; `alone`: the share of the control, if its images are there; `paired`.
  """
  losses = _losses(judge, asked.x, asked.pos, seed, times)  # [n, 4]
  found = {**statistics.mean(wins(losses)), "paired": asked.paired,
           "more": statistics.mean(100 * (
               losses[:, 2:].sum(1) / losses[:, :2].sum(1) - 1))}
  if asked.alone is not None:
    n, _, frames = asked.alone.shape[:3]
    flat = asked.alone.reshape(n, 4 * frames, *asked.alone.shape[3:])
    # Frame i of each clip gets the same noise, whichever clip it is in.
    single = _losses(judge, flat, asked.alone_pos, seed, ALONE, frames)
    found["alone"] = statistics.mean(wins(single.reshape(n, 4, frames).mean(-1)))
  return found


def wins(losses: np.ndarray) -> list[float]:
  """For each four, 1 if the unlawful clips lose more than the lawful ones.

  Args:
    losses: [n, 4], the lawful ones first.
  """
  more = losses[:, 2:].sum(1) - losses[:, :2].sum(1)
  near = np.abs(more) <= 1e-6 * np.abs(losses).sum(1)
  return [0.5 if tie else float(x > 0) for x, tie in zip(more, near)]


def _losses(judge, x, pos, seed, times, noises=1):
  """The mean loss of clips [n, m, L, P] over times: [n, m]; clip j of each n has
  noise j % noises of it."""
  n, m, length, channels = x.shape
  found = np.zeros((n, m))
  for i in range(n):
    for k, t in enumerate(times):
      key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), i), k)
      eps = np.asarray(jax.random.normal(key, (noises, length, channels)))
      for begin in range(0, m, ROWS):
        which = np.arange(begin, begin + ROWS) % m  # a last batch is filled up
        loss = np.asarray(denoising_loss(
            judge.network, judge.process, judge.params, x[i, which], pos,
            judge.text, np.float32(t), eps[which % noises]))
        found[i, which] += loss / len(times) * (which >= begin)
  return found


@functools.partial(jax.jit, static_argnums=(0, 1))
def denoising_loss(network: dit.DiT, process: flow.Process, params: Any,
                   x0: types.Array, pos: types.Array, text: types.TextStates,
                   t: types.Array, eps: types.Array) -> jax.Array:
  """The loss of each clip [B] at one time, with noise that is given.

  Args:
    network, process, params: of the transformer.
    x0: [B, L, P] clean tokens, a clip a row.
    pos: [L, 3] their positions.
    text: of one prompt for all rows.
    t: [] the time.
    eps: [B, L, P] the noise.
  """
  rows, length, _ = x0.shape
  x_t = (1 - t) * x0 + t * eps
  wide = lambda a: jnp.broadcast_to(a, (rows, *a.shape[1:]))
  time = types.Times(t=jnp.full((rows, 1), t),
                     time_index=jnp.zeros((rows, length), jnp.int32))
  out = dit.denoise(network, params, types.Tokens(x_t, wide(pos[None]), None),
                    time, jax.tree.map(wide, text))
  x0_hat = flow.convert(process.prediction, out.astype(jnp.float32), x_t, t,
                        process.t_min)["x0"]
  return flow.loss(process, x0_hat, x0, t).mean(1)


def judge_of(model: pretrained.Model, text: types.TextStates) -> Judge:
  """A model as a judge; `text` are the states of an empty prompt."""
  assert model.transformer is not None
  return Judge(model.transformer.module, model.defaults.process,
               model.transformer.params, text)

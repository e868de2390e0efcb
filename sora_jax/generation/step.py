"""One step of sampling, compiled once for all steps of a size.

A batch holds one sample a row. Known tokens are told that their time is 0, and
a loop is seen from another offset at every step, which leaves no seam.
"""

from collections.abc import Callable
import dataclasses
import functools
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

from sora_jax import contracts
from sora_jax import types
from sora_jax.diffusion import flow
from sora_jax.diffusion import guidance as guidance_lib
from sora_jax.diffusion import sampling
from sora_jax.geometry import patches
from sora_jax.models import dit


@dataclasses.dataclass(frozen=True)
class Sampler:
  """What a compiled step is made for.

  Attributes:
    network: the transformer.
    process: what it predicts.
    stepper: how a step is taken.
    guidance: scale of classifier-free guidance; 1 is none.
    interval: (low, high) of the noise levels where guidance is on.
  """

  network: dit.DiT
  process: flow.Process
  stepper: contracts.Stepper
  guidance: float
  interval: tuple[float, float]


@flax.struct.dataclass
class Inputs:
  """What all steps see.

  Attributes:
    pos: [L, 3] float32, positions of the tokens.
    text: the encoded prompts, one a row.
    null: the prompts to stay away from.
    known: (x_known [B, L, P], mask [B, L] bool), or None.
  """

  pos: types.Array
  text: types.TextStates
  null: types.TextStates
  known: sampling.Known | None = None


@flax.struct.dataclass
class Step:
  """What one step has of its own.

  Attributes:
    coefficients: of the stepper.
    index: of the step among all of a sample, which its noise is drawn by.
    keys: [B] of the noise that a stepper draws, or None.
    offset: [B] int, the cyclic shift in tokens at which a loop is seen, or
      None.
  """

  coefficients: Any
  index: types.Array | int = 0
  keys: types.Array | None = None
  offset: types.Array | None = None


@functools.partial(jax.jit, static_argnums=0, donate_argnums=3)
def sample_step(sampler: Sampler, params: Any, inputs: Inputs, carry: Any,
                step: Step) -> Any:
  """The carry of the stepper, one step nearer to data."""
  cond, null = (
      _denoiser(sampler, params, inputs, states, carry.x.shape, step.offset)
      for states in (inputs.text, inputs.null))
  denoise = guidance_lib.guided(cond, null, sampler.guidance, sampler.interval)
  noise = None
  if sampler.stepper.draws_noise:
    keys = jax.vmap(jax.random.fold_in, (0, None))(step.keys, step.index)
    noise = draw_noise(keys, *carry.x.shape[1:])
  return sampling.sample_step(sampler.stepper, denoise, carry,
                              step.coefficients, inputs.known, noise)


def _denoiser(sampler: Sampler, params: Any, inputs: Inputs,
              states: types.TextStates, shape: tuple[int, int, int],
              offset: types.Array | None) -> Callable[..., jax.Array]:
  """(x_t, t) -> x0_hat [B, L, P] with the prompts of `states`."""
  ones = jnp.ones(shape[:2], jnp.int32)
  pos = jnp.broadcast_to(inputs.pos, (shape[0], *inputs.pos.shape))
  known = inputs.known
  rolled = jax.vmap(lambda x, by: jnp.roll(x, by, 0))

  def denoise(x_t, t, told=None):
    told = t if told is None else told
    # Known tokens are at time 0, in column 0 (types.Times).
    time = told[None] if known is None else jnp.stack([0. * told, told])
    time_index = 0 * ones if known is None else jnp.where(known[1], 0, ones)
    times = types.Times(t=jnp.broadcast_to(time, (shape[0], len(time))),
                        time_index=time_index)
    seen = x_t if offset is None else rolled(x_t, offset)
    # A row is one clip without padding: no segments, so nothing to mask.
    out = dit.denoise(sampler.network, params, types.Tokens(seen, pos, None),
                      times, states)
    out = flow.convert(sampler.process.prediction, out, seen, t,
                       sampler.process.t_min)["x0"]
    return out if offset is None else rolled(out, -offset)

  return denoise


@functools.partial(jax.jit, static_argnums=(1, 2))
def draw_noise(keys: jax.Array, tokens: int, channels: int) -> jax.Array:
  """[B, tokens, channels] float32, a row of each key."""
  return jax.vmap(lambda key: patches.noise(key, tokens, channels)[0])(keys)

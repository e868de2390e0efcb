"""The objective of the diffusion transformer and its text encoder.

The mean over unknown tokens of |x0_hat - x0|^2 / max(t, t_min)^2. Every segment
of a row has a time of its own; known tokens and padding share column 0. Known
tokens are given, nearly clean, and count in no loss, so animating an image,
extending and connecting are learned as masks.
"""

from collections.abc import Callable
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from sora_jax import mesh as mesh_lib
from sora_jax import types
from sora_jax.diffusion import flow
from sora_jax.training.objectives import shared

QUARTERS = 4


def dit_objective(denoise: Callable, encode: Callable, cfg: flow.Process,
                  columns: int) -> shared.Objective:
  """The objective.

  Args:
    denoise: (params, Tokens, Times, TextStates) -> [B, L, P].
    encode: (params, batch.text) -> TextStates; params is None where the text
      encoder is frozen, and the batch then holds its states.
    cfg: the diffusion process.
    columns: M, one more than the most segments of a row.

  Returns:
    An objective of params {"transformer": .., "text_encoder": ..}, the latter
    only where it is trained, and types.Batch.
  """

  def objective(params, batch: types.Batch, key, step):
    del step
    run = lambda params: loss(denoise, encode, cfg, columns, params, batch, key)
    (_, metrics), grads = jax.value_and_grad(run, has_aux=True)(params)
    return grads, metrics

  return objective


def init_params(transformer: Callable, text_encoder: Callable | None
                ) -> Callable[[jax.Array], dict[str, Any]]:
  """key -> params, given key -> parameters of each model that is trained."""

  def run(key):
    keys = shared.split(key, "transformer", "text_encoder")
    params = {"transformer": transformer(keys["transformer"])}
    if text_encoder:
      params["text_encoder"] = text_encoder(keys["text_encoder"])
    return params

  return run


def loss(denoise: Callable, encode: Callable, cfg: flow.Process, columns: int,
         params: dict[str, Any], batch: types.Batch, key: jax.Array
         ) -> tuple[jax.Array, dict[str, jax.Array]]:
  """(loss, metrics) of a batch; both float32."""
  keys = shared.split(key, "times", "noise")
  tokens, known = batch.tokens, jnp.asarray(batch.known)
  seg = jnp.asarray(tokens.seg)
  time = types.Times(
      t=flow.sample_times(cfg, keys["times"], seg, columns),
      time_index=jnp.where(known, 0, seg))
  t = jnp.take_along_axis(time.t, time.time_index, 1)[..., None]  # [B, L, 1]
  x0 = mesh_lib.constrain(jnp.asarray(tokens.x), mesh_lib.ROWS,
                          mesh_lib.TOKENS, None)
  x_t, targets = flow.corrupt(keys["noise"], x0, t)
  text = encode(params.get("text_encoder"), batch.text)
  out = denoise(params["transformer"], dataclasses.replace(tokens, x=x_t), time, text)
  out = out.astype(jnp.float32)
  x0_hat = flow.convert(cfg.prediction, out, x_t, t, cfg.t_min)["x0"]
  values = flow.loss(cfg, x0_hat, targets["x0"], t)  # [B, L]
  counted = (seg > 0) & ~known
  total = shared.masked_mean(values, counted)
  return total, {
      "loss": total, "weight": jnp.sum(counted),
      "clips": segments(seg, columns), "tokens": jnp.sum(seg > 0),
      "known_share": shared.masked_mean(known, seg > 0),
      **by_time(values, t[..., 0], counted)}


def segments(seg: types.Array, columns: int) -> jax.Array:
  """The number of segments in a batch of rows."""
  there = jnp.any(seg[:, :, None] == jnp.arange(1, columns), axis=1)
  return jnp.sum(there)


def by_time(values: jax.Array, t: jax.Array,
            counted: jax.Array) -> dict[str, jax.Array]:
  """The loss in each quarter of t; not a number where it has no token."""
  out = {}
  for q in range(QUARTERS):
    here = counted & (jnp.floor(t * QUARTERS).clip(0, QUARTERS - 1) == q)
    out[f"loss_t{q + 1}"] = jnp.where(
        jnp.any(here), shared.masked_mean(values, here), jnp.nan)
  return out

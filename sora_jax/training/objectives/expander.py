"""The objective of the expander: the mean of -log p(id | prompt, ids before)."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from sora_jax import types
from sora_jax.training.objectives import shared


def expander_objective(read: Callable) -> shared.Objective:
  """The objective of params {"expander": ..} and types.Pairs.

  Args:
    read: models.expander.read of the module.
  """

  def objective(params: dict[str, Any], batch: types.Pairs, key: jax.Array,
                step: jax.Array) -> tuple[Any, dict[str, jax.Array]]:
    del key, step
    (_, metrics), grads = jax.value_and_grad(
        lambda params: loss(read, params, batch), has_aux=True)(params)
    return grads, metrics

  return objective


def loss(read: Callable, params: dict[str, Any], batch: types.Pairs
         ) -> tuple[jax.Array, dict[str, jax.Array]]:
  """(loss, metrics) of a batch; both float32."""
  ids, there = jnp.asarray(batch.text.ids), jnp.asarray(batch.text.seg) > 0
  logits = read(params["expander"], batch.prompt, batch.text)
  values = jax.nn.logsumexp(logits, -1) - jnp.take_along_axis(
      logits, ids[..., None], -1)[..., 0]
  total = shared.masked_mean(values, there)
  return total, {
      "loss": total, "right": shared.masked_mean(jnp.argmax(logits, -1) == ids,
                                                 there),
      "weight": jnp.sum(there), "tokens": jnp.sum(there),
      "clips": jnp.sum(jnp.any(there, axis=1))}

"""What an objective is, and what objectives share.

An objective is (params, batch, key, step) -> (gradients, metrics): gradients
has the structure of params; metrics are float32 scalars, "loss" among them, and
"clips" the number of clips and images in the batch. See vae.py and dit.py beside
this; `state.program` makes a training step of one.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

Objective = Callable[..., tuple[Any, dict[str, jax.Array]]]
SUMS = ("clips", "tokens", "weight")  # metrics that add up; others are means


def accumulated(objective: Objective, parts: int) -> Objective:
  """The objective over `parts` of a batch, one after the other.

  Row i goes to part i modulo `parts`. The gradients and means of a part count
  by its metric "weight", alike if it has none, so that they are those of the
  whole batch. A mean that is not a number counts nothing.

  Raises:
    ValueError: when traced, rows that do not divide into the parts.
  """
  if parts == 1:
    return objective

  def cut(x):
    if x.shape[0] % parts:
      raise ValueError(f"a batch of {x.shape[0]} rows does not divide into "
                       f"{parts} parts: choose another accumulate")
    # Along the rows of each device, so that every part is on all of them.
    return jnp.moveaxis(x.reshape(-1, parts, *x.shape[1:]), 1, 0)

  def run(params, batch, key, step):
    def one(batch, i):
      grads, metrics = objective(params, batch, jax.random.fold_in(key, i), step)
      weight = jnp.asarray(metrics.get("weight", 1), jnp.float32)
      share = {k: (v, 1.) if k in SUMS else (
          jnp.where(jnp.isnan(v), 0, v) * weight,
          jnp.where(jnp.isnan(v), 0, weight)) for k, v in metrics.items()}
      return jax.tree.map(lambda g: g * weight, grads), share, weight

    add = lambda a, b: jax.tree.map(jnp.add, a, b)
    batches = jax.tree.map(cut, batch), jnp.arange(parts)
    first = one(*jax.tree.map(lambda x: x[0], batches))
    rest = jax.tree.map(lambda x: x[1:], batches)
    (grads, share, weight), _ = jax.lax.scan(
        lambda total, x: (add(total, one(*x)), None), first, rest)
    total = jnp.maximum(weight, 1e-6)
    return jax.tree.map(lambda g: g / total, grads), {
        k: v if k in SUMS else v / n for k, (v, n) in share.items()}

  return run


def masked_mean(values: jax.Array, mask: jax.Array) -> jax.Array:
  """Mean of values where mask, 0 where there is none; float32."""
  values = jnp.where(mask, values.astype(jnp.float32), 0)
  return jnp.sum(values) / jnp.maximum(jnp.sum(mask), 1)


def split(key: jax.Array, *names: str) -> dict[str, jax.Array]:
  """A key for each name."""
  return dict(zip(names, jax.random.split(key, len(names))))

"""What an objective is, and what objectives share.

An objective is (params, batch, key, step) -> (gradients, metrics): gradients
has the structure of params; metrics are float32 scalars, "loss" among them, and
"clips" the number of clips and images in the batch. See `vae_objective` and
`dit_objective`; `state.program` makes a training step of one.
"""

import jax
import jax.numpy as jnp


def masked_mean(values: jax.Array, mask: jax.Array) -> jax.Array:
  """Mean of values where mask, 0 where there is none; float32."""
  values = jnp.where(mask, values.astype(jnp.float32), 0)
  return jnp.sum(values) / jnp.maximum(jnp.sum(mask), 1)


def norm(tree) -> jax.Array:
  """The global norm of a tree of arrays, float32."""
  squares = [jnp.sum(jnp.square(x.astype(jnp.float32)))
             for x in jax.tree.leaves(tree)]
  return jnp.sqrt(sum(squares))


def split(key: jax.Array, *names: str) -> dict[str, jax.Array]:
  """A key for each name."""
  return dict(zip(names, jax.random.split(key, len(names))))

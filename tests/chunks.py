"""A clip through the VAE in chunks."""

import jax
import jax.numpy as jnp


def in_chunks(step, x, frames):
  """Calls step(chunk, cache) -> (output, cache) on the chunks of x in turn.

  Args:
    step: encodes or decodes one chunk.
    x: [B, T, ..]; its first frame is a chunk, then every `frames` frames.
    frames: of a chunk.

  Returns:
    The outputs, joined along time.
  """
  cache, found = None, []
  for start in (0, *range(1, x.shape[1], frames)):
    y, cache = step(x[:, start:start + (frames if start else 1)], cache)
    found.append(y)
  return jax.tree.map(lambda *parts: jnp.concatenate(parts, axis=1), *found)

"""Row lengths for a data set: as few shapes, and as long, as its clips ask for."""

import numpy as np

SHAPES = 3
REDUCED = 0.005  # the share of the clips that may be over the longest row
WORTH = 0.05  # of the tokens, in clips that fit it, makes a shorter row useful


def shapes(tokens: np.ndarray, step: int, shards: int = 1
           ) -> tuple[tuple[int, int], ...]:
  """(rows, length) .. with `step` tokens each, ascending in length.

  The longest row is the shortest, halving from one row a shard, that holds all
  but REDUCED of the clips; half and a quarter of it follow where they are of
  use. Shorter rows need no attention across chips.

  Args:
    tokens: [N] of each clip.
    step: tokens of a batch.
    shards: of which every row count is a multiple.

  Raises:
    ValueError: tokens that do not divide over the shards.
  """
  if step % shards:
    raise ValueError(f"{step} tokens do not divide over {shards} shards: choose "
                     "a multiple")
  length, whole = step // shards, int(tokens.sum())
  holds = lambda n: (tokens > n).mean() <= REDUCED
  while length % 2 == 0 and holds(length // 2):
    length //= 2
  found = [length]
  while (len(found) < SHAPES and found[-1] % 2 == 0 and tokens[
      tokens <= found[-1] // 2].sum() >= WORTH * whole):
    found.append(found[-1] // 2)
  return tuple((step // n, n) for n in reversed(found))

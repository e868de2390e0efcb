"""Runs a plan: threads make batches ahead, in the order of the steps.

A batch is a pure function of (plan, step, share): the step is all there is to
save, and neither threads nor hosts change the data.
"""

from collections.abc import Iterator

import grain

from sora_jax import contracts
from sora_jax import types

FOREVER = 2 ** 62


def batches(
    plan: contracts.Plan, start_step: int = 0,
    share: contracts.Share = contracts.WHOLE, threads: int = 1, prefetch: int = 4
) -> Iterator[tuple[int, types.Pixels | types.Batch]]:
  """Yields (step, this host's rows of its batch) from start_step on.

  Args:
    plan: a PixelPlan or TokenPlan.
    start_step: the first step.
    share: the rows of this host, of `mesh.host`.
    threads: that make batches; 0 makes them when they are asked for.
    prefetch: batches made ahead.
  """
  steps = grain.MapDataset.range(start_step, FOREVER)
  data = steps.map(lambda step: (int(step), plan.batch(int(step), share)))
  return iter(data.to_iter_dataset(grain.ReadOptions(
      num_threads=threads, prefetch_buffer_size=prefetch if threads else 0)))

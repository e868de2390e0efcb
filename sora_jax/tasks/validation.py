"""The loss on clips that nothing trains on: the split val of a data set.

Its clips, what is known of them, their times and their noise are the same at
every call and in every run, so two numbers differ by the weights alone.
"""

from collections.abc import Callable
from typing import Any

import jax

from sora_jax import contracts
from sora_jax import mesh as mesh_lib

# (params, batch, key) -> (loss, metrics), "weight" among them: what the loss is
# a mean over.
Loss = Callable[[Any, Any, jax.Array], tuple[jax.Array, dict[str, jax.Array]]]


def validation(loss: Loss, plan: contracts.Plan, steps: int, mesh: Any,
               prepare: Callable[[Any], Any] = lambda batch: batch
               ) -> Callable[[Any], dict[str, float]]:
  """Makes params -> {"val_loss": the mean over all batches}; every process calls it.

  Args:
    loss: of a batch.
    plan: of the held-out clips.
    steps: the batches of `plan` that hold each of them once.
    mesh: of `mesh.make_mesh`.
    prepare: batch on the mesh -> the batch of the loss.
  """

  def values(params, batch, key):
    total, metrics = loss(params, batch, key)
    return total * metrics["weight"], metrics["weight"]

  run = jax.jit(mesh_lib.on(mesh, values),
                out_shardings=mesh_lib.replicated(mesh))
  share = mesh_lib.host(mesh)

  def measure(params: Any) -> dict[str, float]:
    found = []
    for step in range(steps):
      batch = prepare(mesh_lib.to_global(mesh, plan.batch(step, share)))
      found.append(run(params, batch, jax.random.fold_in(jax.random.key(0),
                                                         step)))
    sums, weights = (sum(map(float, part)) for part in zip(
        *jax.device_get(found)))
    return {"val_loss": sums / weights if weights else float("nan")}

  return measure

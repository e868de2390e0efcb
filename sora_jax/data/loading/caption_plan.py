"""Packed batches for the captioner: whole clips, and which caption each has.

They are the batches of the transformer (plan.py) with nothing of a clip given
and no caption left out.
"""

import dataclasses

import numpy as np

from sora_jax import contracts
from sora_jax import types
from sora_jax.data.loading import caption_mix
from sora_jax.data.loading import conditioning
from sora_jax.data.loading import losses as losses_lib
from sora_jax.data.loading import plan as plan_lib

# The conditionings of TokenConfig that leave clips whole.
WHOLE = tuple((name, float(name == "none")) for name in
              conditioning.CONDITIONINGS) + (("interior", 0.0),)


@dataclasses.dataclass(frozen=True)
class CaptionPlan:
  """A plan of types.Captioned, a contracts.Plan.

  Attributes:
    plan: of the tokens, whose config has the conditionings WHOLE.
  """

  plan: plan_lib.TokenPlan

  @property
  def notes(self) -> tuple[str, ...]:
    """What is to be said of the plan before a run."""
    return self.plan.notes

  @property
  def losses(self) -> losses_lib.Losses:
    """The clips that could not be read."""
    return self.plan.losses

  @property
  def digest(self) -> str:
    """sha256 of all that decides the batches."""
    return self.plan.digest

  def batch(self, step: int, share: contracts.Share = contracts.WHOLE
            ) -> types.Captioned:
    """The rows of `share` of the batch of `step`."""
    chunk, _, members = self.plan.place(step, share)
    batch = self.plan.batch(step, share)
    assert isinstance(batch.text, types.Text)  # ids: nothing has encoded them
    kind = np.zeros_like(batch.text.seg)
    kinds = np.array([caption_mix.LENGTHS.index(length)
                      for _, length, _ in self.plan.mix.parts])
    for row, examples in enumerate(members):
      of = np.concatenate([[0], kinds[chunk.examples.caption[examples]]])
      kind[row] = of[batch.text.seg[row]]
    return types.Captioned(batch.tokens, batch.text, kind)

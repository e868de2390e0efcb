"""The time of a program on chips that are not there: a projection."""

from sora_jax.mesh import chips as chips_lib
from sora_jax.models import flops

# The share of a chip's peak that its arithmetic is taken to reach: products as
# MaxText's language models do (57 to 71 %), attention so low that the published
# 29.6 % of MaxDiffusion's Wan-14B on v5p, 75,600 tokens, comes out with the nine
# products of its kernels.
RATES = {"dense": 0.6, "attention": 0.39}


def project(work: flops.Work, chips: int, chip: chips_lib.Chip,
            touched: float, links: float, network: float) -> dict:
  """The time that a program takes at least, and at RATES.

  The projection is the slowest of arithmetic at RATES and of memory, links and
  network at their full speed: all of them are taken to overlap.

  Args:
    work: of all chips.
    chips: that share it evenly.
    chip: with flops, memory, links and network a second.
    touched: bytes to and from the memory of a chip.
    links: bytes that a chip sends to its neighbours.
    network: bytes that a chip sends to another slice.

  Returns:
    {"floors": seconds of each, "seconds": the projection, "mfu": the model's
    operations at that time as a share of the peak}.
  """
  peak = chips * chip.flops
  floors = {"arithmetic": (work.dense + work.attention) / peak,
            "memory": touched / chip.memory, "links": links / chip.links,
            "network": network / chip.network}
  busy = (work.dense / RATES["dense"]
          + work.attention / RATES["attention"]) / peak
  seconds = max(busy, floors["memory"], floors["links"], floors["network"])
  return {"floors": floors, "seconds": seconds,
          "mfu": work.flops / peak / seconds}

"""Peaks of chips: memory, and operations and bytes a second."""

import dataclasses

GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Chip:
  """What one chip has.

  Attributes:
    hbm: bytes of memory that the compiler lets a program use.
    flops: bfloat16 operations a second.
    memory: bytes a second to and from its memory.
    links: bytes a second that it sends to its neighbours, over all links.
    network: bytes a second that it sends to another slice.
    options: options of jax's topology of these chips.
  """

  hbm: float
  flops: float
  memory: float
  links: float
  network: float
  options: dict = dataclasses.field(default_factory=dict)


# cloud.google.com/tpu/docs: v4, v5e, v5p, v6e; half of the bidirectional
# bandwidth of the links is sent. v4's links: Jouppi et al. 2023, arXiv
# 2304.01433; its network is not stated and taken as v5p's.
CHIPS = {
    "v4": Chip(30.75 * GIB, 275e12, 1.2e12, 300e9, 6.25e9,
               {"chip_config_name": "megacore"}),
    "v5e": Chip(15.75 * GIB, 197e12, 0.819e12, 200e9, 3.125e9),
    "v5p": Chip(95.74 * GIB, 459e12, 2.765e12, 600e9, 6.25e9),
    "v6e": Chip(31.25 * GIB, 918e12, 1.638e12, 400e9, 12.5e9)}

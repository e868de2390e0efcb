"""Peaks of chips: memory, and operations and bytes a second."""

import dataclasses
import re

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

# What jax calls the device kind of our generations of TPUs, one device a chip.
TPU_KINDS = {"v4": "TPU v4", "v5e": "TPU v5 lite|TPU v5e", "v5p": "TPU v5p?",
             "v6e": "TPU v6 lite|TPU v6e"}
# Peaks of dense matrix products of GPUs by device kind: bfloat16, of the T4 and
# the V100 float16. The data sheets of NVIDIA; boards of PCIe are slower.
GPU_FLOPS = {"B200": 2250e12, "H200": 989e12, "H100 PCIe": 756e12,
             "H100 NVL": 835e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12,
             "L4": 121e12, "A10G?": 125e12, "T4": 65e12, "V100": 125e12}


def generation(kind: str) -> str:
  """"v4", "v5e", "v5p" or "v6e" of a device kind; "" of any other."""
  return next((name for name, regex in TPU_KINDS.items()
               if re.fullmatch(regex, kind)), "")


def peak_flops(kind: str) -> float:
  """Operations a second of a chip, by its device kind; 0 if it is not known."""
  if name := generation(kind):
    return CHIPS[name].flops
  return next((flops for regex, flops in GPU_FLOPS.items()
               if re.search(rf"\b{regex}\b", kind)), 0.0)

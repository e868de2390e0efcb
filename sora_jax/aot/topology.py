"""Compiles programs for TPU slices on a machine that has none.

The compiler inside libtpu serves named topologies: its memory figures, its
out-of-memory error and its text are those of the real chips. What the chips
then take is not known without one; CHIPS holds what they could at best.
"""

import dataclasses
import importlib.util
import os
import re
import time

import jax
from jax.experimental import topologies

from sora_jax.aot import hlo

GIB = 2**30
# The compiler looks for no chips and is silent about not finding them.
ALONE = {"TPU_SKIP_MDS_QUERY": "1", "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
         "TPU_WORKER_HOSTNAMES": "localhost", "TPU_ACCELERATOR_TYPE": "v5p-8",
         "TPU_MIN_LOG_LEVEL": "3"}


@dataclasses.dataclass(frozen=True)
class Chip:
  """What one chip has.

  Attributes:
    hbm: bytes of memory that a program may use, as the compiler says.
    flops: bfloat16 operations a second.
    memory: bytes a second to and from its memory.
    links: bytes a second that it sends to its neighbours, all links together.
    network: bytes a second that it sends to another slice.
    options: what the topology of these chips must be told.
  """

  hbm: float
  flops: float
  memory: float
  links: float
  network: float
  options: dict = dataclasses.field(default_factory=dict)


# cloud.google.com/tpu/docs: v4, v5e, v5p, v6e; of the bidirectional bandwidth
# of the links half is sent. v4's links: Jouppi et al. 2023, arXiv 2304.01433; its
# network is not stated and taken as v5p's.
CHIPS = {
    "v4": Chip(30.75 * GIB, 275e12, 1.2e12, 300e9, 6.25e9,
               {"chip_config_name": "megacore"}),
    "v5e": Chip(15.75 * GIB, 197e12, 0.819e12, 200e9, 3.125e9),
    "v5p": Chip(95.74 * GIB, 459e12, 2.765e12, 600e9, 6.25e9),
    "v6e": Chip(31.25 * GIB, 918e12, 1.638e12, 400e9, 12.5e9)}


@dataclasses.dataclass(frozen=True)
class Compiled:
  """What the compiler makes of a program, for one chip.

  Attributes:
    seconds: that it took to compile.
    needed: bytes of memory at the program's peak.
    memory: what is allocated: arguments, outputs, aliased (both, counted once),
      temporaries and code. Their sum is not the peak: it can be more than a chip
      has. Empty where the program does not fit.
    collectives: what the chip sends. Empty where the program does not fit.
    fits: whether the memory is there.
  """

  seconds: float
  needed: float
  memory: dict[str, int]
  collectives: list[hlo.Collective]
  fits: bool


def chip_of(topology: str) -> Chip:
  """The chip of a topology such as v5p:4x4x4.

  Raises:
    ValueError: a name that is no topology.
  """
  match = re.fullmatch(r"(\w+):\d+(x\d+){1,2}", topology or "")
  if not match or match[1] not in CHIPS:
    raise ValueError(
        f"there is no topology '{topology}': give KIND:AxB or KIND:AxBxC in "
        f"chips, such as v5p:4x4x4, where KIND is one of {', '.join(CHIPS)}")
  return CHIPS[match[1]]


def devices(topology: str, slices: int = 1) -> list:
  """The chips of `slices` slices of a topology, to make a mesh of.

  Raises:
    ValueError: a topology that there is not, or no compiler.
  """
  chip = chip_of(topology)
  if importlib.util.find_spec("libtpu") is None:
    raise ValueError("plan needs the TPU compiler: pip install "
                     "'sora_jax[tpu]'; it runs without a TPU")
  os.environ |= ALONE
  jax.config.update("jax_platforms", "cpu")
  # Programs for absent chips are not for this machine's cache.
  jax.config.update("jax_enable_compilation_cache", False)
  many = {"num_slices": slices} if slices > 1 else {}
  try:
    return list(topologies.get_topology_desc(
        platform="tpu", topology_name=topology, **chip.options, **many).devices)
  except jax.errors.JaxRuntimeError as e:
    raise ValueError(f"the TPU compiler knows no topology '{topology}': "
                     f"{str(e).splitlines()[0]}") from e


def compile_for(lowered, slices: list[int]) -> Compiled:
  """Compiles a lowered program.

  Args:
    lowered: of jax.jit(..).lower, on a mesh of `devices`.
    slices: the slice of each chip, in the order of the mesh.

  Raises:
    RuntimeError: an error of the compiler that is not about HBM.
  """
  start = time.monotonic()
  try:
    done = lowered.compile()
  except jax.errors.JaxRuntimeError as e:
    if not (needed := out_of_memory(str(e))):
      raise
    return Compiled(time.monotonic() - start, needed, {}, [], False)
  seconds, stats = time.monotonic() - start, done.memory_analysis()
  memory = {"arguments": stats.argument_size_in_bytes,
            "outputs": stats.output_size_in_bytes,
            "aliased": stats.alias_size_in_bytes,
            "temporaries": stats.temp_size_in_bytes,
            "code": stats.generated_code_size_in_bytes}
  return Compiled(seconds, stats.peak_memory_in_bytes, memory,
                  hlo.collectives(done.as_text(), slices), True)


def out_of_memory(message: str) -> float | None:
  """The bytes that a program needs, of the compiler's error; None if another."""
  if "hbm" not in message.lower():
    return None
  units = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
  found = re.search(r"(?:Used |required for [\w ]*\()([\d.]+)([KMGT])", message)
  return float(found[1]) * units[found[2]] if found else None

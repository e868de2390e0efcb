"""Compiles programs for TPU slices on a machine that has none.

The compiler inside libtpu serves named topologies: its memory figures, its
out-of-memory error and its text are those of the real chips. What the chips
then take is not known without one; chips.CHIPS holds what they could at best.
"""

import dataclasses
import importlib.util
import os
import re
import time

import jax
from jax.experimental import topologies

from sora_jax import extras
from sora_jax.aot import hlo
from sora_jax.mesh import chips

# The compiler looks for no chips and is silent about not finding them.
ALONE = {"TPU_SKIP_MDS_QUERY": "1", "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
         "TPU_WORKER_HOSTNAMES": "localhost", "TPU_ACCELERATOR_TYPE": "v5p-8",
         "TPU_MIN_LOG_LEVEL": "3"}


# The shapes that a slice of so many chips has if none is asked for.
# cloud.google.com/tpu/docs: v4, v5e, v5p, v6e.
SIDES_2D = {1: "1x1", 4: "2x2", 8: "2x4", 16: "4x4", 32: "4x8", 64: "8x8",
            128: "8x16", 256: "16x16"}
SIDES_3D = {4: "2x2x1", 8: "2x2x2", 16: "2x2x4", 32: "2x4x4", 64: "4x4x4",
            128: "4x4x8", 256: "4x8x8", 512: "8x8x8", 1024: "8x8x16",
            2048: "8x16x16"}


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


def named(text: str) -> str:
  """The topology KIND:AxB of an accelerator's name, such as v5p-128.

  The number of a v4 or a v5p counts TensorCores, of which a chip has two. What
  is no such name is returned as it is.

  Raises:
    ValueError: a number of chips that has no one topology.
  """
  match = re.fullmatch(r"(v4|v5p|v5e|v5litepod|v6e)-(\d+)", text)
  if not match:
    return text
  kind, number = match[1].replace("litepod", "e"), int(match[2])
  flat = kind in ("v5e", "v6e")
  cores = 1 if flat else 2
  sides = (SIDES_2D if flat else SIDES_3D).get(number // cores)
  if sides is None or number % cores:
    raise ValueError(f"--topology={text}: give the shape of the slice in chips, "
                     f"such as {kind}:{'4x4' if flat else '4x4x8'}")
  return f"{kind}:{sides}"


def chip_of(topology: str) -> chips.Chip:
  """The chip of a topology such as v5p:4x4x4.

  Raises:
    ValueError: a name that is no topology.
  """
  match = re.fullmatch(r"(\w+):\d+(x\d+){1,2}", topology or "")
  if not match or match[1] not in chips.CHIPS:
    raise ValueError(
        f"there is no topology '{topology}': give KIND:AxB or KIND:AxBxC in "
        "chips, such as v5p:4x4x4, or an accelerator such as v5p-128, where KIND "
        f"is one of {', '.join(chips.CHIPS)}")
  return chips.CHIPS[match[1]]


def devices(topology: str, slices: int = 1) -> list:
  """The chips of `slices` slices of a topology, to make a mesh of.

  Raises:
    ValueError: a topology that there is not, or no compiler.
  """
  chip = chip_of(topology)
  if importlib.util.find_spec("libtpu") is None:
    raise ValueError("plan needs the TPU compiler, which runs without a TPU: "
                     f"{extras.install('tpu')}")
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


def compile_for(lowered: jax.stages.Lowered, slices: list[int]) -> Compiled:
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

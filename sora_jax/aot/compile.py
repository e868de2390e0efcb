"""Compiles the programs of a request, and looks for a mesh that holds them.

What the compiler said is kept, by the program, the topology and the versions, in
the cache folder (XDG_CACHE_HOME).
"""

from collections.abc import Callable, Iterator
import dataclasses
import hashlib
import importlib.metadata
import inspect
import itertools
import json
import math
import os
from typing import Any

from sora_jax import files
from sora_jax import mesh as mesh_lib
from sora_jax.aot import hlo
from sora_jax.aot import projection
from sora_jax.aot import topology as topology_lib
from sora_jax.mesh import chips as chips_lib
from sora_jax.tasks import programs as programs_lib
from sora_jax.tasks import task as task_lib

STACK = ("jax", "libtpu")
TRIES = 4  # meshes that are compiled in search of one that fits


def plan(request: programs_lib.Request, topology: str, devices: list,
         log: Callable[[str], None]) -> dict:
  """Compiles every shape on the mesh of the config.

  Args:
    request: what is asked for.
    topology: its name.
    devices: of `topology.devices`.
    log: called with a line for every program that is compiled.

  Returns:
    All that `report.describe` tells, as JSON values.
  """
  mesh = mesh_lib.make_mesh(**request.cfg.mesh, devices=devices)
  slices = [getattr(d, "slice_index", 0) or 0 for d in mesh.devices.flat]
  chip = topology_lib.chip_of(topology)
  found, buckets = programs_of(request, mesh), []
  for i, program in enumerate(found.programs):
    log(f"compiling {program.name} for {topology} "
        f"({i + 1}/{len(found.programs)})")
    done = compiled(program.lower(), topology, slices)
    buckets.append(_bucket(program, done, chip))
  versions = {name: importlib.metadata.version(name) for name in STACK}
  return {**versions, "config": request.name, "what": request.what,
          "topology": topology, "slices": len(set(slices)), "chips": len(devices),
          "mesh": dict(mesh.shape), "changes": dict(request.changes),
          "hbm": chip.hbm, "parameters": found.parameters,
          "unit": found.unit, "buckets": buckets}


def _bucket(program: programs_lib.Program, done: topology_lib.Compiled,
            chip: chips_lib.Chip) -> dict:
  """What is known of one shape."""
  found = {"name": program.name, "units": program.units,
           "runs": program.runs, "flops": program.work.flops,
           "fits": done.fits, "needed": done.needed, "memory": done.memory,
           "compile_seconds": done.seconds,
           "collectives": [dataclasses.asdict(c) for c in done.collectives]}
  if not done.fits:
    return found
  # Arguments are read and results written, and what is held in between is
  # written and read at least once.
  touched = (done.memory["arguments"] + done.memory["outputs"]
             + 2 * done.memory["temporaries"])
  sent = lambda network: sum(
      c.sent for c in done.collectives if c.network == network)
  return found | projection.project(program.work, program.chips, chip, touched,
                                    sent(False), sent(True))


def laid_out(request: programs_lib.Request, topology: str, devices: list,
             axes: dict[str, int] | None = None) -> programs_lib.Request:
  """The request with a mesh and rows for a slice: a guess, or those of `axes`."""
  layout = task_lib.find(request.cfg.kind).layout
  if not layout or axes and (request.fixed or request.what != "train"):
    return programs_lib.laid_out(request, axes or {"data": -1})
  return layout(request, programs_lib.Slice(
      len(devices), _slices(devices), topology_lib.chip_of(topology).hbm), axes)


def _slices(devices: list) -> int:
  """How many slices chips lie in."""
  return len({getattr(d, "slice_index", 0) or 0 for d in devices})


def plan_or_propose(request: programs_lib.Request, topology: str, devices: list,
                    log: Callable[[str], None]) -> dict:
  """`plan`, and under "proposal" a mesh that fits where this one does not."""
  found = plan(request, topology, devices, log)
  if not all(b["fits"] for b in found["buckets"]):
    found["proposal"] = propose(request, topology, devices, found, log)
  return found


def propose(request: programs_lib.Request, topology: str, devices: list,
            found: dict, log: Callable[[str], None]) -> dict | None:
  """The plan of a mesh on which every shape fits; None if none is found.

  More parts for the parameters first, then for the tokens of a row, then for
  the heads: in the order of what is sent least. Rows are changed with the mesh,
  unless the user has fixed them.
  """
  tried = 0
  for axes in candidates(len(devices), found["slices"], found["mesh"]):
    if tried == TRIES:
      break
    try:
      better = plan(laid_out(request, topology, devices, axes), topology,
                    devices, log)
    except ValueError:  # rows, tokens or heads that this mesh does not divide
      continue
    tried += 1
    if all(b["fits"] for b in better["buckets"]):
      return better
  return None


def candidates(chips: int, slices: int,
               mesh: dict[str, int]) -> Iterator[dict[str, int]]:
  """Meshes that hold less on a chip than `mesh`, gentle ones first.

  Parameters lie over mesh.GATHERED devices at most, as long as that may do.
  """
  size = chips // slices
  for tensor, context, most in itertools.product(
      (1, 2, 4, 8), (1, 2, 4, 8, 16, 32, 64, 128, 256),
      sorted({min(mesh_lib.GATHERED, size), size})):
    rest, odd = divmod(size, tensor * context)
    fsdp = math.gcd(most, rest)
    if odd or most > mesh_lib.GATHERED >= fsdp:
      continue
    more = context * tensor > mesh["context"] * mesh["tensor"]
    same = (context, tensor) == (mesh["context"], mesh["tensor"])
    if more and fsdp >= min(mesh["fsdp"], rest) or same and fsdp > mesh["fsdp"]:
      yield {"data": slices * rest // fsdp, "fsdp": fsdp, "context": context,
             "tensor": tensor}


def compiled(lowered: Any, topology: str, slices: list[int]) -> topology_lib.Compiled:
  """`topology.compile_for`, or what it said of this program before."""
  versions = [importlib.metadata.version(name) for name in STACK]
  flags = [os.environ.get(k, "") for k in ("LIBTPU_INIT_ARGS", "XLA_FLAGS")]
  word = "\n".join([topology, str(slices), *versions, *flags,
                    inspect.getsource(hlo), inspect.getsource(topology_lib),
                    lowered.as_text()])
  path = os.path.join(
      os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache")),
      "sora_jax", "plans", hashlib.sha256(word.encode()).hexdigest() + ".json")
  if os.path.exists(path):
    with open(path, encoding="utf-8") as file:
      found = json.load(file)
    found["collectives"] = [hlo.Collective(**c) for c in found["collectives"]]
    return topology_lib.Compiled(**found)
  done = topology_lib.compile_for(lowered, slices)
  os.makedirs(os.path.dirname(path), exist_ok=True)
  files.write_json(path, dataclasses.asdict(done))
  return done


def programs_of(request: programs_lib.Request,
                mesh: Any) -> programs_lib.Compilable:
  """The programs of a request.

  Raises:
    ValueError: a config that has no such program, or a shape that the mesh does
      not divide.
  """
  kind, programs = request.cfg.kind, task_lib.find(request.cfg.kind).programs
  if request.what not in programs:
    raise ValueError(f"--what={request.what} is not for a config of kind {kind}: "
                     f"its programs are {', '.join(programs) or 'none'}")
  if request.what != "train" and not request.size:
    raise ValueError(f"--what={request.what} needs --size=WxH, and --frames")
  return programs[request.what](request, mesh)

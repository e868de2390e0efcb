"""Compiles the programs of a request, and looks for a mesh that holds them.

What the compiler said is kept, by the program, the topology and the versions, in
the cache folder (XDG_CACHE_HOME).
"""

import dataclasses
import hashlib
import importlib.metadata
import inspect
import json
import os
import sys

from sora_jax import files
from sora_jax import mesh as mesh_lib
from sora_jax.aot import hlo
from sora_jax.aot import projection
from sora_jax.aot import topology as topology_lib
from sora_jax.mesh import chips as chips_lib
from sora_jax.models import flops
from sora_jax.models.vae import vae
from sora_jax.tasks import build
from sora_jax.tasks import plan_sample
from sora_jax.tasks import plan_train
from sora_jax.tasks import programs as programs_lib

TRIES = 4  # meshes that are compiled in search of one that fits
MAKERS = {("dit", "train"): plan_train.train_dit,
          ("dit", "sample"): plan_sample.sample,
          ("vae", "train"): plan_train.train_vae,
          ("vae", "encode"): plan_sample.encode,
          ("vae", "decode"): plan_sample.decode}


def plan(request, topology: str, devices, axes: dict[str, int]) -> dict:
  """Compiles every bucket on one mesh.

  Args:
    request: what is asked for.
    topology: its name.
    devices: of `tpu.devices`.
    axes: the sizes of the mesh.

  Returns:
    All that `plan_report.describe` prints, as JSON values.
  """
  mesh = mesh_lib.make_mesh(**axes, devices=devices)
  slices = [getattr(d, "slice_index", 0) or 0 for d in mesh.devices.flat]
  chip = topology_lib.chip_of(topology)
  params, unit, programs = programs_of(request, mesh)
  buckets = []
  for i, program in enumerate(programs):
    _say(f"compiling {program.name} for {topology} ({i + 1}/{len(programs)})")
    done = compiled(program.lower(), topology, slices)
    buckets.append(_bucket(program, done, chip))
  return {"config": request.name, "what": request.what, "topology": topology,
          "slices": len(set(slices)), "chips": len(devices),
          "mesh": dict(mesh.shape), "hbm": chip.hbm, "parameters": params,
          "unit": unit, "buckets": buckets}


def _bucket(program, done: topology_lib.Compiled, chip: chips_lib.Chip) -> dict:
  """What is known of one bucket."""
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


def propose(request, topology: str, devices, found: dict) -> dict | None:
  """A mesh on which every bucket fits: the axes and its plan; None if none.

  More parts for the parameters first, then for the tokens of a row, then for
  the heads: in the order of what is sent least.
  """
  tried = 0
  for axes in candidates(len(devices), found["slices"], found["mesh"]):
    if tried == TRIES:
      break
    try:
      better = plan(request, topology, devices, axes)
    except ValueError:  # rows, tokens or heads that this mesh does not divide
      continue
    tried += 1
    if all(b["fits"] for b in better["buckets"]):
      return better
  return None


def candidates(chips: int, slices: int, mesh: dict[str, int]):
  """Meshes that hold less on a chip than `mesh`, gentle ones first."""
  size = chips // slices
  for tensor in (1, 2, 4, 8):
    for context in (1, 2, 4, 8, 16, 32, 64, 128, 256):
      if size % (tensor * context):
        continue
      axes = {"data": slices, "fsdp": size // (tensor * context),
              "context": context, "tensor": tensor}
      more = context * tensor > mesh["context"] * mesh["tensor"]
      same = (context, tensor) == (mesh["context"], mesh["tensor"])
      if more or same and axes["fsdp"] > mesh["fsdp"]:
        yield axes


def compiled(lowered, topology: str, slices: list[int]) -> topology_lib.Compiled:
  """`tpu.compile_for`, or what it said of this program before."""
  versions = [importlib.metadata.version(p) for p in ("jax", "libtpu")]
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
                mesh) -> tuple[int, str, list[programs_lib.Program]]:
  """The parameters, the unit and the programs of a request.

  Raises:
    ValueError: a config that has no such program, or a shape that the mesh does
      not divide.
  """
  make = MAKERS.get((request.cfg.kind, request.what))
  if make is None:
    raise ValueError(f"--what={request.what} is not for a config of kind "
                     f"{request.cfg.kind}: its programs are " + ", ".join(
                         what for kind, what in MAKERS if kind == request.cfg.kind))
  if request.what != "train" and not request.size:
    raise ValueError(f"--what={request.what} needs --size=WxH, and --frames")
  if request.cfg.kind == "dit":
    if not request.compressor:
      raise ValueError("--vae=FILE:VARIANT is needed, such as configs/vae.py:"
                       "tiny: this config does not say whose latents it is for")
    params, unit = flops.dit_params(programs_lib.transformer(request)), "tokens"
  else:
    module = build.vae_of(request.cfg)
    params = flops.params_of(lambda key: vae.init(module, key))
    unit = "pixels"
  return params, unit, make(request, mesh)


def _say(text: str) -> None:
  print(text, file=sys.stderr, flush=True)

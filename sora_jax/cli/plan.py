r"""`sora-jax plan`: what a config needs on a TPU slice, without one.

  sora-jax plan --config=configs/dit.py:14b --topology=v5p:4x4x4 \
      --mesh=fsdp=16,context=4 --config.data.shapes='((16,65536),)'

Compiles the programs of a verb with the compiler of the real chips and prints,
for every bucket, the memory of a chip against what it has, what is sent between
chips and the time that arithmetic, memory and links need at least. A bucket
that does not fit is named, and a mesh on which it does is looked for. The time
of a step is a projection at the rates that are printed; nothing was run.

What the compiler said is kept, by the program and the topology, in the cache
folder (XDG_CACHE_HOME), so that the same question is answered at once.
"""

import re

from absl import flags

from sora_jax import files
from sora_jax import mesh as mesh_lib
from sora_jax.aot import compile
from sora_jax.aot import report
from sora_jax.aot import topology as topology_lib
from sora_jax.cli import config as config_lib
from sora_jax.cli import options
from sora_jax.cli import sampling
from sora_jax.tasks import build
from sora_jax.tasks import programs


def run(argv: list[str]) -> int:
  """Runs the verb."""
  f = options.Flags()
  argv = config_lib.define(f, argv)
  text = lambda *a: flags.DEFINE_string(*a, flag_values=f)
  text("topology", None, "KIND:AxBxC in chips, such as v5p:4x4x4; the config's "
       "by default.")
  text("mesh", None, "Axes such as fsdp=32,context=2, those that are not named "
       "are 1; the config's by default.")
  text("json", None, "Also write the numbers to this file.")
  flags.DEFINE_integer("slices", 1, "Slices, joined along the axis data.",
                       lower_bound=1, flag_values=f)
  flags.DEFINE_enum("what", "train", programs.WHAT, "The verb whose "
                    "programs are compiled.", flag_values=f)
  text("size", None, "WxH of what is sampled, encoded or decoded.")
  flags.DEFINE_integer("frames", 1, "Its frames.", lower_bound=1, flag_values=f)
  text("vae", None, "FILE:VARIANT of the config of the VAE whose latents a "
       "transformer works on; the config's `compressor` by default.")
  f.read(argv)
  cfg = f.config
  topology = f.topology or cfg.get("topology")
  if not topology:
    raise ValueError("--topology=KIND:AxBxC is needed, such as v5p:4x4x4: this "
                     "config names none")
  axes = parse_mesh(f.mesh) if f.mesh else dict(cfg.mesh)
  vae = f.vae or cfg.get("compressor")
  request = programs.Request(
      cfg, " ".join(a for a in argv if a.startswith("--config")), f.what,
      sampling.parse_size(f.size), f.frames,
      vae and build.vae_of(config_lib.load(vae)))
  devices = topology_lib.devices(topology, f.slices)
  found = compile.plan(request, topology, devices, axes)
  if not all(b["fits"] for b in found["buckets"]):
    found["proposal"] = compile.propose(request, topology, devices, found)
  print("\n".join(report.describe(found)))
  if f.json:
    files.write_json(f.json, found)
  return 0


def parse_mesh(text: str) -> dict[str, int]:
  """'fsdp=32,context=2' to the sizes of all axes; data takes the rest if -1."""
  axes = dict.fromkeys(mesh_lib.AXES, 1)
  for part in text.split(","):
    match = re.fullmatch(r"(\w+)=(-?\d+)", part)
    if not match or match[1] not in axes or int(match[2]) < -1 or not int(
        match[2]):
      raise ValueError(f"--mesh={text}: give axes such as fsdp=32,context=2, of "
                       f"{', '.join(mesh_lib.AXES)}")
    axes[match[1]] = int(match[2])
  return axes

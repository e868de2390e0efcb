r"""`sora-jax plan`: what a config needs on a TPU slice, without one.

  sora-jax plan --config=configs/dit.py:14b --topology=v5p:4x4x4 \
      --mesh=fsdp=16,context=4 --config.data.shapes='((16,65536),)'

Compiles the programs of a verb with the compiler of the real chips and prints,
for every shape, the memory that a chip needs and has, what is sent between
chips, and the time that arithmetic, memory and links need at least. A shape
that does not fit is named, and a mesh is looked for on which it does. Without
--mesh a slice that the config was not made for is given a mesh and rows, and
the flags that give them to `train` are printed. The time of a step is a
projection at the rates that are printed; nothing was run.

The compiler's answer is kept in the cache folder (XDG_CACHE_HOME), by program
and topology, so that the same question is answered at once.
"""

import re
import sys

from absl import flags

from sora_jax import files
from sora_jax import mesh as mesh_lib
from sora_jax.aot import compile
from sora_jax.aot import report
from sora_jax.aot import topology as topology_lib
from sora_jax.cli import config as config_lib
from sora_jax.cli import options
from sora_jax.cli import sampling
from sora_jax.tasks import check
from sora_jax.tasks import config as configs
from sora_jax.tasks import programs

# Flags by which a user fixes the rows of a batch.
FIXED = ("--config.data.shapes", "--config.data.buckets")


def run(argv: list[str]) -> int:
  """Runs the verb."""
  f = options.Flags()
  argv = config_lib.define(f, argv)
  text = lambda *a: flags.DEFINE_string(*a, flag_values=f)
  text("topology", None, "KIND:AxBxC in chips, such as v5p:4x4x4, or the name of "
       "an accelerator, such as v5p-128; by default the config's.")
  text("mesh", None, "Axes such as fsdp=32,context=2, 1 for those that are not "
       "named; by default the config's on its own slice, and on another one that "
       "is laid out for it.")
  text("json", None, "Also write the numbers to this file.")
  flags.DEFINE_integer("slices", 1, "Slices, joined along the axis data.",
                       lower_bound=1, flag_values=f)
  text("what", "train", "The program that is compiled: train; sample for the "
       "transformer; encode or decode for the VAE.")
  text("size", None, "WxH in pixels of what is sampled, encoded or decoded.")
  flags.DEFINE_integer("frames", 1, "Frames of what is sampled, encoded or "
                       "decoded.", lower_bound=1, flag_values=f)
  text("vae", None, "FILE:VARIANT of the config of the VAE whose latents a "
       "transformer works on; by default the config's vae_config.")
  f.read(argv)
  cfg = f.config
  check.check(cfg)
  topology = topology_lib.named(f.topology or cfg.get("topology", ""))
  if not topology:
    raise ValueError("--topology=KIND:AxBxC is needed, such as v5p:4x4x4: this "
                     "config names none")
  if f.mesh:
    cfg.mesh.update(parse_mesh(f.mesh))
  vae = f.vae or cfg.get("vae_config")
  request = programs.Request(
      cfg, " ".join(a for a in argv if a.startswith("--config")), f.what,
      sampling.parse_size(f.size), f.frames,
      configs.load(vae) if vae else None,
      any(a.startswith(FIXED) for a in argv))
  devices = topology_lib.devices(topology, f.slices)
  if not f.mesh and (topology != cfg.get("topology") or f.slices > 1
                     or f.what != "train"):
    request = compile.laid_out(request, topology, devices)
  log = lambda line: print(line, file=sys.stderr, flush=True)
  found = compile.plan_or_propose(
      request, topology, devices, log)
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

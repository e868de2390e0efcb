"""Where the chips of real slices lie and which host has them; not a test.

  python tests/layouts.py            # makes layouts.json anew; needs libtpu
  python tests/layouts.py --compare  # fails where libtpu describes another

The compiler inside libtpu describes a slice that is not there as the runtime of
a real one does. layouts.json keeps of it, for each topology, the kind of the
chips and [process, slice, x, y, z] of every one, so that tests need no libtpu.
"""

import argparse
import dataclasses
import json
import pathlib

from sora_jax import mesh as mesh_lib

TABLE = pathlib.Path(__file__).parent / "layouts.json"
NAMES = ("v4:4x4x4", "v4:4x4x8", "v5e:4x4", "v5e:4x8", "v5e:8x16", "v5e:16x16",
         "v5p:2x2x4", "v5p:4x4x4", "v5p:4x8x8", "v6e:16x16", "2 x v5p:4x4x4",
         "2 x v6e:16x16")


@dataclasses.dataclass(frozen=True)
class Device:
  """A chip of a slice that is not here, with what a mesh reads of it."""

  id: int
  process_index: int
  slice_index: int
  coords: tuple[int, int, int]
  device_kind: str
  platform: str = "tpu"
  core_on_chip: int = 0


def devices(name):
  """The chips of a topology, or of "2 x TOPOLOGY", of the table."""
  layout = json.loads(TABLE.read_text())[name]
  return [Device(i, process, part, tuple(coords), layout["kind"])
          for i, (process, part, *coords) in enumerate(layout["chips"])]


def as_on(name, found, axes):
  """Devices of real processes in the order in which a slice has its chips.

  Args:
    name: of the table.
    found: devices that are here, as many; process p stands for host p.
    axes: of the mesh.
  """
  chips = mesh_lib.make_mesh(devices(name), **axes).devices.flat
  own = {}
  for device in found:
    own.setdefault(device.process_index, []).append(device)
  return [own[chip.process_index].pop(0) for chip in chips]


def described(name):
  """The entry of the table, as libtpu says it."""
  from sora_jax.aot import topology  # it turns the backend to the CPU
  slices, _, kind = name.rpartition(" x ")
  found = topology.devices(kind, int(slices or 1))
  return {"kind": found[0].device_kind, "chips": [
      [d.process_index, getattr(d, "slice_index", 0) or 0, *d.coords]
      for d in found]}


def main():
  parser = argparse.ArgumentParser()
  parser.add_argument("--compare", action="store_true")
  args = parser.parse_args()
  found = {name: described(name) for name in NAMES}
  if not args.compare:
    lines = [f" {json.dumps(name)}: {json.dumps(entry, separators=(',', ':'))}"
             for name, entry in found.items()]
    TABLE.write_text("{\n" + ",\n".join(lines) + "\n}\n")
  elif found != json.loads(TABLE.read_text()):
    raise SystemExit("libtpu describes other layouts than layouts.json")


if __name__ == "__main__":
  main()

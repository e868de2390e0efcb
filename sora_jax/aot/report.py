"""The lines that tell what `plan` found."""

import shlex

from sora_jax import messages
from sora_jax.aot import projection

GIB = 2**30


def describe(found: dict) -> list[str]:
  """The lines of `plan.plan`, and of the mesh that was found to fit."""
  slices = f"{found['slices']} slices of " if found["slices"] > 1 else ""
  lines = [
      f"{found['config']}: {found['parameters']:,} parameters, {found['what']} "
      f"on {slices}{found['topology']} ("
      f"{messages.count(found['chips'], 'chip')}), mesh {mesh(found['mesh'])}; "
      f"jax {found['jax']}, libtpu {found['libtpu']}"]
  lines += _changes(found)
  for bucket in found["buckets"]:
    lines += _bucket(bucket, found)
  if any("seconds" in b for b in found["buckets"]):
    lines.append(
        "The times are projections, nothing was run: the slowest of arithmetic "
        f"at {projection.RATES['dense']:.0%} of the peak in products and "
        f"{projection.RATES['attention']:.0%} in attention, and of memory, links and "
        "network at their full speed.")
  if "proposal" in found:
    names = ", ".join(b["name"] for b in found["buckets"] if not b["fits"])
    lines.append(f"does not fit: {names}")
    better = found["proposal"]
    if better is None:
      lines.append("no mesh of this topology was found on which it fits: take a "
                   "larger one")
    else:
      lines.append("a mesh on which it fits: --mesh=" + mesh(better["mesh"]))
      lines += _changes(better)
      lines += [line for b in better["buckets"] for line in _bucket(b, better)]
  return lines


def _changes(found: dict) -> list[str]:
  """How a run is told the layout that was found for the slice."""
  flags = " ".join(shlex.quote(f"--config.{key}={value}".replace(" ", ""))
                   for key, value in found["changes"].items())
  return [f"laid out for this slice by {flags}"] if flags else []


def mesh(axes: dict[str, int]) -> str:
  """'fsdp=32,context=2': the axes that are not 1."""
  return ",".join(f"{k}={n}" for k, n in axes.items() if n > 1) or "data=1"


def _bucket(b: dict, found: dict) -> list[str]:
  """The lines of one bucket."""
  unit, hbm = found["unit"], found["hbm"] / GIB
  needed = b["needed"] / GIB
  lines = [
      f"{b['name']}: {b['units']:,} {unit} a step, "
      f"{number(b['flops'] / b['units'])}FLOP a {unit[:-1]}, "
      f"{number(b['flops'])}FLOP a step",
      f"  memory of a chip: {needed:.2f} of {hbm:.2f} GiB"
      + (f", arguments {b['memory']['arguments'] / GIB:.2f}" if b["fits"]
         else ", DOES NOT FIT")]
  for c in b["collectives"]:
    over = "network" if c["network"] else "links"
    lines.append(f"  {c['kind']} over the {over}: "
                 f"{messages.count(c['count'], 'time', ',')}, a chip sends "
                 f"{number(c['sent'])}B, "
                 f"{c['overlapped'] / c['sent']:.0%} asynchronously")
  if b["fits"]:
    lines.append("  at least: " + ", ".join(
        f"{name} {time(s)}" for name, s in b["floors"].items() if s))
    total = (f"; {b['runs']} of them {time(b['runs'] * b['seconds'])}"
             if b["runs"] > 1 else "")
    lines.append(f"  projected: {time(b['seconds'])} a step, MFU "
                 f"{b['mfu']:.1%}{total}")
  return [*lines, f"  compiled in {b['compile_seconds']:.0f} s"]


def number(x: float) -> str:
  """1.23 M: a number with the prefix of its size and a space."""
  for size, prefix in ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"),
                       (1e6, "M"), (1e3, "k")):
    if x >= size:
      return f"{x / size:.3g} {prefix}"
  return f"{x:.3g} "


def time(seconds: float) -> str:
  """A time with the unit of its size."""
  if seconds >= 7200:
    return f"{seconds / 3600:.1f} h"
  if seconds >= 120:
    return f"{seconds / 60:.1f} min"
  return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"

"""What every model needs on four TPU slices, as the compiler of the TPUs says.

  python experiments/pods/table.py [--only=14b] > experiments/pods/table.md

Claim: tiny to 14b train on v4-128, v5e-256, v5p-128 and v5p-512, a minute of
1920x1080 is sampled in one piece and decoded, and every program fits at the mesh
that is stated. Each row is one `sora-jax plan`; its numbers are kept in rows/, so
that the same command goes on where it was stopped (delete a row to compile it
again), and rows that are not there yet are listed as not done. Needs libtpu and
no TPU.
"""

import argparse
import json
import math
import os
import re
import shlex
import subprocess
import sys

from sora_jax.aot import projection
from sora_jax.aot import report
from sora_jax.geometry import sizes
from sora_jax.mesh import chips as chips_lib
from sora_jax.models import flops as flops_lib
from sora_jax.models.vae import vae as vae_lib
from sora_jax.tasks import build
from sora_jax.tasks import config as config_lib

ROWS = os.path.join(os.path.dirname(__file__), "rows")
SLICES = {"v4-128": "v4:4x4x4", "v5e-256": "v5e:16x16", "v5p-128": "v5p:4x4x4",
          "v5p-512": "v5p:4x8x8"}
CHIPS = {"v4-128": 64, "v5e-256": 256, "v5p-128": 64, "v5p-512": 256}
LENGTH = {"tiny": 256, "s": 16_384, "b": 16_384, "l": 16_384, "xl": 32_768,
          "3b": 32_768, "14b": 65_536}
# Where the memory asks for shorter rows.
SHORTER = {("14b", "v4-128"): 8192, ("14b", "v5e-256"): 8192}
# How many chips share the tokens of a row; the others take rows of their own.
CONTEXT = {("xl", "v5e-256"): 4, ("3b", "v4-128"): 4, ("3b", "v5e-256"): 4,
           ("14b", "v5p-128"): 4, ("14b", "v5p-512"): 4}
# And how many share the heads and hidden units.
TENSOR = {("14b", "v5e-256"): 4}
SPLIT = ("l", "xl", "3b", "14b")  # parameters lie over all rows, by fsdp
# But for the width of xl, which 256 does not divide.
FSDP = {("xl", "v5p-512"): 128}
PAPER = {"s": (33, 6.06), "b": (130, 23.0), "l": (458, 80.7),
         "xl": (675, 118.6)}  # millions, Gflops: Table 4 of arXiv 2212.09748
# A minute is 1,440 frames and 361 latents; the tokens of 368 divide over all
# meshes below, so that none of them is filled up.
MINUTE = ("--size=1920x1080", "--frames=1469")
IMAGE = ("--size=2048x2048", "--frames=1")
# (name, slice, mesh, arguments) of what is not training.
OTHERS = (
    ("xl: a minute of 1080p", "v5p-128", "context=64",
     ("--config=configs/dit.py:xl", "--what=sample", *MINUTE)),
    ("14b: a minute of 1080p", "v5p-128", "context=64",
     ("--config=configs/dit.py:14b", "--what=sample", *MINUTE)),
    ("14b: a minute of 1080p", "v5p-512", "context=256",
     ("--config=configs/dit.py:14b", "--what=sample", *MINUTE)),
    ("14b: a minute of 1080p, stride 16", "v5p-128", "context=64",
     ("--config=configs/dit.py:14b", "--what=sample",
      "--vae=configs/vae.py:large", *MINUTE)),
    ("xl: 2048x2048", "v5p-8", "context=4",
     ("--config=configs/dit.py:xl", "--what=sample", *IMAGE)),
    ("14b: 2048x2048", "v5p-8", "context=4",
     ("--config=configs/dit.py:14b", "--what=sample", *IMAGE)),
    ("vae base decodes a minute of 1080p", "v5p-32", "context=16",
     ("--config=configs/vae.py:base", "--what=decode", *MINUTE)),
    ("vae large decodes a minute of 1080p", "v5p-8", "context=4",
     ("--config=configs/vae.py:large", "--what=decode", *MINUTE)),
)
SLICES |= {"v5p-8": "v5p:2x2x1", "v5p-32": "v5p:2x2x4"}


def rows() -> list[tuple[str, str, list[str]]]:
  """(name, slice, arguments of `plan`) of every row."""
  found = []
  for kind, chips in CHIPS.items():
    for model, length in LENGTH.items():
      found.append(training(model, kind, chips, length))
  found.append(training("14b", "v5p-128", 64, LENGTH["14b"], 2))
  for name, kind, mesh, args in OTHERS:
    found.append((name, kind, [*args, f"--topology={SLICES[kind]}",
                               f"--mesh={mesh}"]))
  return found


def training(model, kind, chips, length, slices=1):
  """A row of training."""
  context = CONTEXT.get((model, kind), 1)
  tensor = TENSOR.get((model, kind), 1)
  length = SHORTER.get((model, kind), length)
  rows = chips // context // tensor
  fsdp = FSDP.get((model, kind), rows) if model in SPLIT else 1
  axes = {"fsdp": fsdp, "context": context, "tensor": tensor,
          "data": slices * rows // fsdp}
  mesh = ",".join(f"{name}={n}" for name, n in axes.items() if n > 1)
  args = [f"--config=configs/dit.py:{model}", f"--topology={SLICES[kind]}",
          f"--config.data.shapes=(({slices * rows},{length}),)"]
  if slices > 1:
    args.append(f"--slices={slices}")
  if model == "tiny":
    args.append("--vae=configs/vae.py:tiny")
  several = f"{slices} x " if slices > 1 else ""
  return f"{model}: training", several + kind, [*args, f"--mesh={mesh}"]


def main() -> None:
  parser = argparse.ArgumentParser()
  parser.add_argument("--rows", default=ROWS)
  parser.add_argument("--only", default="", help="rows whose command has this")
  parser.add_argument("--show", action="store_true", help="compile nothing")
  args = parser.parse_args()
  os.makedirs(args.rows, exist_ok=True)
  done, missing = [], []
  for name, kind, flags in rows():
    path = os.path.join(args.rows, re.sub(r"[^\w.-]+", "_", f"{name} {kind}")
                        + ".json")
    command = ["plan", *flags]
    wanted = args.only in shlex.join(command) and not args.show
    if not os.path.exists(path) and wanted:
      print(shlex.join(["sora-jax", *command]), file=sys.stderr, flush=True)
      subprocess.run([sys.executable, "-m", "sora_jax", *command,
                      f"--json={path}"], stdout=subprocess.DEVNULL, check=False)
    if os.path.exists(path):
      with open(path, encoding="utf-8") as file:
        done.append((name, kind, flags, json.load(file)))
    else:
      missing.append((name, kind, flags))
  print("\n".join([*table(done, missing), "", *minute(), "", *paper()]))


def minute() -> list[str]:
  """What a minute of 1080p costs by its arithmetic, stride 8 and stride 16."""
  lines = ["A minute of 1920x1080 at 24 frames a second by its arithmetic alone "
           "(two forward passes a step, 30 steps, at the rates of `plan` on "
           "256 v5p chips; a projection):", "",
           "| model | VAE | tokens | FLOP a forward pass | a step | 30 steps |",
           "|" + "---|" * 6]
  for name in ("xl", "14b"):
    for vae in ("base", "large"):
      module = transformer(name, f"configs/vae.py:{vae}")
      stride = vae_lib.stride(build.vae_of(
          config_lib.load(f"configs/vae.py:{vae}")))
      size = sizes.latent_size((1440, 1080, 1920), stride, sizes.DEFAULT_PATCH)
      length = math.prod(sizes.grid_size(size, sizes.DEFAULT_PATCH))
      one = [(length, 256)]
      flops, scores = (count(module, one) for count in (
          flops_lib.dit_flops, flops_lib.attention_flops))
      work = flops_lib.Work(
          2 * flops, 2 * (flops - scores),
          2 * flops_lib.attention_flops(module, one, flops_lib.LANES))
      time = projection.project(work, 256, chips_lib.CHIPS["v5p"], 0, 0, 0)["seconds"]
      lines.append("| " + " | ".join([
          name, f"{vae}, {'x'.join(map(str, stride))}", f"{length:,}",
          report.number(flops).strip(), report.time(time),
          report.time(30 * time)]) + " |")
  return lines


def transformer(name: str, vae: str):
  """The transformer of a variant on the latents of a VAE."""
  return build.dit_of(config_lib.load(f"configs/dit.py:{name}"),
                      build.vae_of(config_lib.load(vae)).z)


def paper() -> list[str]:
  """The sizes beside those of the DiT paper."""
  lines = ["Beside the DiT paper (256 tokens, multiply-accumulates, text left "
           "out; parameters in millions):", "",
           "| size | Gflops | of the paper | parameters | of the paper | ours "
           "attend to text | theirs have a modulation a block | ours - text + "
           "modulation |", "|" + "---|" * 8]
  for name, (millions, gflops) in PAPER.items():
    module = transformer(name, "configs/vae.py:base")
    found = {k: n / 1e6 for k, n in flops_lib.paper_params(module).items()}
    alike = found["parameters"] - found["text"] + found["shared"]
    lines.append("| " + " | ".join([
        name, f"{flops_lib.paper_macs(module) / 1e9:.2f}", f"{gflops}",
        f"{found['parameters']:.1f}", f"{millions}", f"{found['text']:.1f}",
        f"{found['shared']:.1f}", f"{alike:.1f}"]) + " |")
  return lines


def table(done, missing) -> list[str]:
  """The lines of table.md."""
  lines = ["| what | slice | mesh | tokens or pixels a step | FLOP a step | "
           "memory of a chip at its peak, GiB | a chip sends | at least | "
           "projected | MFU |", "|" + "---|" * 10]
  for name, kind, _, plan in done:
    for b in plan["buckets"]:
      lines.append("| " + " | ".join(cells(name, kind, plan, b)) + " |")
  bad = [d for d in done if not all(b["fits"] for b in d[3]["buckets"])]
  programs = sum(len(plan["buckets"]) for *_, plan in done)
  lines += ["", f"{len(done)} of {len(done) + len(missing)} plans ({programs} "
            f"programs) compiled, {len(done) - len(bad)} of them fit.", "",
            "Commands:", ""]
  lines += [f"- {name}, {kind}: `sora-jax plan {shlex.join(flags)}`"
            for name, kind, flags, _ in done]
  if missing:
    lines += ["", "Not done:", ""]
    lines += [f"- {name}, {kind}: `sora-jax plan {shlex.join(flags)}`"
              for name, kind, flags in missing]
  return lines


def cells(name, kind, plan, b) -> list[str]:
  """The cells of one bucket."""
  hbm = plan["hbm"] / report.GIB
  first = [name, kind, report.mesh(plan["mesh"]), f"{b['units']:,}",
           report.number(b["flops"]).strip(),
           f"{b['needed'] / report.GIB:.2f} of {hbm:.2f}"]
  if not b["fits"]:
    return [*first, "", "", "does not fit", ""]
  sent = ", ".join(
      f"{c['kind']}{' (network)' if c['network'] else ''} "
      f"{report.number(c['sent'])}B" for c in b["collectives"][:3])
  floor = max(b["floors"], key=b["floors"].get)
  time = report.time(b["seconds"])
  if b["runs"] > 1:
    time += f"; {b['runs']} steps {report.time(b['runs'] * b['seconds'])}"
  return [*first, sent, f"{report.time(b['floors'][floor])} ({floor})",
          time, f"{b['mfu']:.0%}"]


if __name__ == "__main__":
  main()

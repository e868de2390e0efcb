"""What every model needs on TPU slices, as the compiler of the TPUs says.

  python experiments/pods/table.py [--only=14b] > experiments/pods/table.md

Claim: s to 14b train on eight slices, laid out as `plan` does it where the config
was made for another slice, every host has the rows of its chips, a minute of
1920x1080 is sampled in one piece and decoded, and what is compiled fits. Each row
is one `sora-jax plan`; its numbers are kept in rows/ with the version of libtpu
(run it with another version for a second count), so that the same command goes on
where it was stopped (delete a row to compile it again), and rows that are not
there yet are listed as not compiled. Needs libtpu and no TPU; --show needs
neither.
"""

import argparse
import collections
import functools
import glob
import importlib.metadata
import json
import math
import os
import pathlib
import re
import shlex
import subprocess
import sys

import jax

from sora_jax import mesh as mesh_lib
from sora_jax.aot import compile
from sora_jax.aot import projection
from sora_jax.aot import report
from sora_jax.geometry import sizes
from sora_jax.mesh import chips as chips_lib
from sora_jax.models import dit
from sora_jax.models import flops as flops_lib
from sora_jax.models.vae import vae as vae_lib
from sora_jax.tasks import build
from sora_jax.tasks import config as config_lib
from sora_jax.tasks import dit_layout
from sora_jax.tasks import programs as programs_lib

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "tests"))
import layouts

ROWS = os.path.join(os.path.dirname(__file__), "rows")
MODELS = ("s", "b", "l", "xl", "3b", "14b")
# Accelerator -> its topology, in the table of layouts.
SLICES = {"v4-128": "v4:4x4x4", "v4-256": "v4:4x4x8", "v5litepod-128": "v5e:8x16",
          "v5litepod-256": "v5e:16x16", "v5p-128": "v5p:4x4x4",
          "v5p-512": "v5p:4x8x8", "v6e-256": "v6e:16x16"}
TWO = "2 x v5p-128"
PAPER = {"s": (33, 6.06), "b": (130, 23.0), "l": (458, 80.7),
         "xl": (675, 118.6)}  # millions, Gflops: Table 4 of arXiv 2212.09748
# A minute is 1,440 frames and 361 latents; the tokens of 368 divide over all
# meshes below, so that none of them is filled up.
MINUTE = ("--size=1920x1080", "--frames=1469")
IMAGE = ("--size=2048x2048", "--frames=1")
# (name, slice, mesh, arguments) of Wan's training, whose published step is in
# docs/pods.md, and of what is not training.
OTHERS = (
    ("wan_14b: training at 75,600 tokens", "v5p-8", "context=4",
     ("--config=configs/dit.py:wan_14b", "--vae=configs/vae.py:base",
      "--config.data.shapes=((1,75600),)", "--config.transformer.remat=offload")),
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


def rows() -> list[tuple[str, str, list[str]]]:
  """(name, slice, arguments of `plan`) of every row."""
  found = [(f"{model}: training", kind,
            [f"--config=configs/dit.py:{model}", f"--topology={kind}"])
           for kind in SLICES for model in MODELS]
  found += [(f"{model}: training", TWO,
             [f"--config=configs/dit.py:{model}", "--topology=v5p-128",
              "--slices=2"]) for model in MODELS]
  return found + [(name, kind, [*args, f"--topology={kind}", f"--mesh={mesh}"])
                  for name, kind, mesh, args in OTHERS]


def main() -> None:
  parser = argparse.ArgumentParser()
  parser.add_argument("--rows", default=ROWS)
  parser.add_argument("--only", default="", help="rows whose command matches this")
  parser.add_argument("--show", action="store_true", help="compile nothing")
  args = parser.parse_args()
  os.makedirs(args.rows, exist_ok=True)
  done, missing = [], []
  for name, kind, flags in rows():
    start = os.path.join(args.rows, re.sub(r"[^\w.-]+", "_", f"{name} {kind}"))
    command = ["plan", *flags]
    if not args.show and re.search(args.only, shlex.join(command)):
      path = f"{start}_libtpu{importlib.metadata.version('libtpu')}.json"
      if not os.path.exists(path):
        print(shlex.join(["sora-jax", *command]), file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "sora_jax", *command,
                        f"--json={path}"], stdout=subprocess.DEVNULL, check=False)
    found = [json.loads(pathlib.Path(path).read_text())
             for path in sorted(glob.glob(f"{glob.escape(start)}_libtpu*.json"))]
    done += [(name, kind, flags, plan) for plan in found]
    if not found:
      missing.append((name, kind, flags))
  print("\n".join([*table(done, missing), "", *layouts_of_all(), "", *minute(), "",
                   *paper()]))


def layouts_of_all() -> list[str]:
  """Mesh, rows, and what each host reads, on every slice; nothing compiled."""
  lines = [
      "Meshes and rows of all sizes, from the layouts of hosts that libtpu "
      "describes (tests/layouts.json), nothing compiled: on the slice of a config "
      "its own, on others those that `plan` proposes. Every row of a batch is "
      "read by the hosts whose chips hold it. State is float32 parameters, two "
      "moments, average and gradients.", "",
      "| what | slice | mesh | rows x tokens | hosts | rows that a host reads | "
      "hosts that read a row | runs of host 0 | state of a chip, GiB |",
      "|" + "---|" * 9]
  for kind in (*SLICES, TWO):
    topology = f"2 x {SLICES['v5p-128']}" if kind == TWO else SLICES[kind]
    devices = layouts.devices(topology)
    for model in MODELS:
      lines.append(layout_line(model, kind, topology, devices))
  return lines


def layout_line(model: str, kind: str, topology: str, devices: list) -> str:
  """One line of `layouts_of_all`; raises where a row is read by nobody."""
  cfg = config_lib.load(f"configs/dit.py:{model}")
  request = programs_lib.Request(cfg, "", "train", None, 1, config_lib.load(
      "configs/vae.py:base"))
  if cfg.topology != topology:
    request = compile.laid_out(request, topology.split()[-1], devices)
  cfg = request.cfg
  (rows, length), = cfg.data.shapes
  mesh = mesh_lib.make_mesh(devices, **cfg.mesh)
  shares = [mesh_lib.host(mesh, process)
            for process in sorted({d.process_index for d in devices})]
  read = collections.Counter(row for s in shares for row in s.rows(rows))
  if len(read) != rows or len({len(s.runs) for s in shares}) != 1:
    raise SystemExit(f"{model} on {kind}: hosts do not share the rows")
  state = dit_layout.STATE * stored(
      transformer(model, "configs/vae.py:base"), mesh)
  runs = shares[0].runs
  return "| " + " | ".join([
      model, kind, report.mesh(dict(mesh.shape)), f"{rows} x {length:,}",
      str(len(shares)), str(len(shares[0].rows(rows))), str(max(read.values())),
      ", ".join(map(str, runs[:4])) + (" .." if len(runs) > 4 else ""),
      f"{state / report.GIB:.2f}"]) + " |"


def stored(network: dit.DiT, mesh: jax.sharding.Mesh) -> int:
  """The parameters of a transformer that a chip holds."""
  params = jax.eval_shape(functools.partial(dit.init, network), jax.random.key(0))
  places = mesh_lib.shardings(mesh, mesh_lib.fit(
      mesh, params, mesh_lib.param_specs(params, mesh_lib.DIT_RULES)))
  return sum(jax.tree.leaves(jax.tree.map(
      lambda x, place: math.prod(place.shard_shape(x.shape)), params, places)))


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
  lines = ["| what | slice | libtpu | mesh | tokens or pixels a step | FLOP a step "
           "| memory of a chip at its peak, GiB | a chip sends | of it "
           "asynchronous | at least | projected | MFU |", "|" + "---|" * 12]
  for name, kind, _, plan in done:
    for b in plan["buckets"]:
      lines.append("| " + " | ".join(cells(name, kind, plan, b)) + " |")
  bad = [d for d in done if not all(b["fits"] for b in d[3]["buckets"])]
  rows = {(name, kind): flags for name, kind, flags, _ in done}
  lines += ["", f"{len(rows)} of {len(rows) + len(missing)} rows compiled, with one "
            f"libtpu or several: {len(done)} plans, of which {len(done) - len(bad)} "
            "fit.", "", "Commands:", ""]
  lines += [f"- {name}, {kind}: `sora-jax plan {shlex.join(flags)}`"
            for (name, kind), flags in rows.items()]
  if missing:
    lines += ["", "Not compiled:", ""]
    lines += [f"- {name}, {kind}: `sora-jax plan {shlex.join(flags)}`"
              for name, kind, flags in missing]
  return lines


def cells(name, kind, plan, b) -> list[str]:
  """The cells of one bucket."""
  hbm = plan["hbm"] / report.GIB
  first = [name, kind, plan["libtpu"], report.mesh(plan["mesh"]),
           f"{b['units']:,}", report.number(b["flops"]).strip(),
           f"{b['needed'] / report.GIB:.2f} of {hbm:.2f}"]
  if not b["fits"]:
    return [*first, "", "", "", "does not fit", ""]
  sent = ", ".join(
      f"{c['kind']}{' (network)' if c['network'] else ''} "
      f"{report.number(c['sent'])}B" for c in b["collectives"][:3])
  total = sum(c["sent"] for c in b["collectives"])
  # Rows that were compiled before this was counted do not say it.
  counted = total and all("overlapped" in c for c in b["collectives"])
  beside = sum(c.get("overlapped", 0) for c in b["collectives"])
  floor = max(b["floors"], key=b["floors"].get)
  time = report.time(b["seconds"])
  if b["runs"] > 1:
    time += f"; {b['runs']} steps {report.time(b['runs'] * b['seconds'])}"
  return [*first, sent, f"{beside / total:.0%}" if counted else "",
          f"{report.time(b['floors'][floor])} ({floor})",
          time, f"{b['mfu']:.0%}"]


if __name__ == "__main__":
  main()

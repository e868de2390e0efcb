"""One run: trained by sora_jax.train, measured, and written as a line.

A longer run of the same width, rate and seed goes on from where the decay of a
shorter one began, so one trunk serves several budgets; the FLOPs of a line are
those of the whole run, as if it had been trained alone.
"""

import dataclasses
import json
import pathlib
import platform
import shutil
import time
from typing import Any

import family
import jax
import lines
import measure
import numpy as np

import sora_jax
from sora_jax.data.store import manifest as manifest_lib
from sora_jax.formats import writing
from sora_jax.tasks import export
from sora_jax.training import checkpoint


@dataclasses.dataclass(frozen=True)
class Job:
  """A run that a ladder asks for.

  Attributes:
    role: "pilot", "surface", "base", "four", "top" or "fixed".
    width: of the network.
    budget: in FLOPs.
    rate: the learning rate.
    seed: of everything that is drawn.
    trunk: the width, rate and seed of one trunk.
  """

  role: str
  width: int
  budget: float
  rate: float
  seed: int = 0

  @property
  def trunk(self) -> str:
    """The name of all that differs between the trunks of a tier."""
    return f"w{self.width}_lr{self.rate:.2e}_seed{self.seed}"

  @property
  def name(self) -> str:
    """The name of the run."""
    return f"{self.trunk}_{self.budget:.2e}"


def train(tier: Any, job: Job, out: pathlib.Path,
          prediction: str | None = None) -> lines.Line:
  """Trains a job, or goes on with it, and adds its line.

  Raises:
    KeyboardInterrupt: it was stopped; the same call goes on.
    ValueError: it does not fit memory, or the data are others.
  """
  data = out / "latents"
  manifest = manifest_lib.open_manifest(data)
  work = family.work(family.config(tier, job.width, 10, job.rate, job.seed),
                     manifest)
  family.refuse_too_large(tier, job.width, work)
  steps = family.whole_steps(job.budget, work)
  cfg = family.config(tier, job.width, steps, job.rate, job.seed,
                      bool(prompts_of(tier, job)))
  workdir = out / "work" / job.name
  line = {
      "tier": tier.name, "name": job.name, "role": job.role, "width": job.width,
      "layers": family.layers(job.width), "params": work.params,
      "budget": job.budget, "flops": steps * work.flops, "steps": steps,
      "tokens": steps * work.tokens, "clips": steps * work.clips,
      "epochs": steps * work.clips / len(manifest), "rate": job.rate,
      "seed": job.seed, "optimizer": tier.optimizer, "data": manifest.digest[:12],
      "revision": family.revision(), "prediction": prediction,
      "hardware": f"{jax.devices()[0].device_kind}, {platform.machine()}",
      "began": began(workdir)}
  fork(out, job, cfg, workdir)
  try:
    outcome = sora_jax.train(cfg, data, workdir, tier.vae)
  except FloatingPointError as e:
    return lines.add(out / "results", line | {
        "status": "diverged", "why": str(e)[:200], "ended": time.time()})
  if outcome.reason != "done":
    raise KeyboardInterrupt(f"{job.name} was stopped at step "
                            f"{int(outcome.state.step)} ({outcome.reason})")
  return lines.add(out / "results", line | finish(tier, job, out, workdir))


def finish(tier: Any, job: Job, out: pathlib.Path,
           workdir: pathlib.Path) -> dict[str, Any]:
  """What a trained run is measured to be."""
  curve, found, speed = history(workdir)
  if not np.isfinite(curve[-1][1]) or curve[-1][1] > curve[0][1]:
    return {"status": "diverged", "curve": curve, "ended": time.time(),
            "why": f"the held-out loss ended at {curve[-1][1]:.3g}"}
  writing.save(str(workdir / "model"), export.model_of_run(str(workdir))[0],
               np.float32)
  pipeline = sora_jax.load(workdir / "model")
  start = time.monotonic()
  count = prompts_of(tier, job)
  facts = measure.facts(
      pipeline, tier, count, workdir / "videos", out / "truth",
      out / "results" / "samples" / f"{job.name}.png") if count else None
  return {"status": "done",
          "loss": measure.loss(pipeline, str(out / "latents"), tier.held_out),
          "facts": facts, "surprise": found, "curve": curve,
          "gflops_per_s": speed, "measured_seconds": time.monotonic() - start,
          "ended": time.time()}


def prompts_of(tier: Any, job: Job) -> int:
  """The prompts that a run is asked; 0 is none."""
  return tier.prompts.get(job.role, tier.prompts["top"])


def history(workdir: pathlib.Path) -> tuple[list, dict[str, float], float]:
  """[(step, val_loss)], the surprise at the end and GFLOP/s of the steps."""
  rows = [json.loads(text) for text in (workdir / "metrics.jsonl").read_text(
      "utf-8").splitlines()]
  curve = [[row["step"], float("nan") if row["val_loss"] is None else
            row["val_loss"]] for row in rows if "val_loss" in row]
  surprise = {k: v for k, v in rows[-1].items() if k.startswith("surprise/")}
  speed = [row["timing"].get("tflops_per_s_per_chip", 0.0) for row in rows]
  return curve, surprise, 1000 * float(np.median(speed))


def began(workdir: pathlib.Path) -> float:
  """When a run was begun, of time.time(), also where it now goes on."""
  path = workdir / "began"
  if not path.exists():
    workdir.mkdir(parents=True, exist_ok=True)
    path.write_text(repr(time.time()), "utf-8")
  return float(path.read_text("utf-8"))


def fork(out: pathlib.Path, job: Job, cfg: Any, workdir: pathlib.Path) -> None:
  """Gives a new run the trunk of the longest shorter run, where there is one.

  That is its checkpoint before the decay, the last but one.
  """
  if (workdir / checkpoint.FOLDER).exists():
    return
  best, at = None, 0
  for other in sorted((out / "work").glob(f"{job.trunk}_*")):
    steps = sorted(int(p.name) for p in (other / checkpoint.FOLDER).glob("[0-9]*")
                   if p.name.isdigit())
    if len(steps) == 2 and (other / "model").exists() and (
        at < steps[0] <= cfg.steps * (1 - family.DECAY)):
      best, at = other, steps[0]
  if best is None:
    return
  part = workdir / f"{checkpoint.FOLDER}.part"
  shutil.rmtree(part, ignore_errors=True)
  shutil.copytree(best / checkpoint.FOLDER / str(at), part / str(at))
  shutil.copyfile(best / "metrics.jsonl", workdir / "metrics.jsonl")
  part.rename(workdir / checkpoint.FOLDER)

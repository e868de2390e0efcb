"""What is asked of every run, of its averaged weights, always alike.

  loss      on clips that nothing trains on, with fixed noise, at ten noise levels
            t = .05, .15 .. .95: the training loss |x0_hat - x0|^2 / max(t, .05)^2,
            with the short caption; by level, and by size and duration. In all the
            levels are weighted as training draws their tenth of the times
  facts     on the first n held-out prompts of `sora-jax evaluate`, with its
            parsers, floor and ceiling
  samples   fixed prompts at fixed noise, a line of frames for each
"""

from collections.abc import Callable, Mapping
import hashlib
import pathlib
from typing import Any

import jax
import numpy as np
from PIL import Image
from scipy import special
from scipy import stats

from sora_jax.data.store import latents
from sora_jax.data.store import manifest as manifest_lib
from sora_jax.diffusion import flow
from sora_jax.evaluation import cases as cases_lib
from sora_jax.evaluation import surprise
from sora_jax.evaluation import videos
from sora_jax.evaluation import worlds as worlds_suite
from sora_jax.generation import text_states
from sora_jax.geometry import patches
from sora_jax.media import sheets

LEVELS = tuple(round(0.05 + 0.1 * i, 2) for i in range(10))
ROWS = 16  # clips that are denoised together
BATCH = 16  # videos that are drawn together
FACTS = ("colour", "shape", "direction", "all_three")
SHOWN = 8  # prompts of the contact sheet


def loss(pipeline: Any, folder: str, count: int) -> dict[str, Any]:
  """The held-out loss of the first `count` clips of the split val.

  Returns:
    {"all", "levels": [10], "sizes": {"48x48x9": ..}}.
  """
  manifest = manifest_lib.open_manifest(folder, "val")
  model = pipeline.model
  judge = surprise.judge_of(model, text_states.encode(
      model, pipeline.tokenizer, [""]))
  groups: dict[str, list[tuple[int, latents.Record]]] = {}
  for i in range(min(count, len(manifest))):
    record = latents.decode(manifest.record(i))
    frames, height, width = record.size
    groups.setdefault(f"{width}x{height}x{frames}", []).append((i, record))
  found = {size: np.concatenate([
      _losses(pipeline, judge, group[at:at + ROWS])
      for at in range(0, len(group), ROWS)]) for size, group in groups.items()}
  every = np.concatenate(list(found.values()))  # [clips, levels]
  share = shares(judge.process)
  return {"all": float((every @ share).mean()), "clips": len(every),
          "levels": [float(x) for x in every.mean(0)],
          "sizes": {k: float((v @ share).mean())
                    for k, v in sorted(found.items())}}


def shares(process: flow.Process) -> np.ndarray:
  """[10] of the times that training draws, before their shift, by tenths of t."""
  edges = np.linspace(0, 1, len(LEVELS) + 1)
  normal = stats.norm(process.mean, process.std).cdf(special.logit(edges))
  return np.diff((1 - process.uniform) * normal + process.uniform * edges)


def _losses(pipeline, judge, group) -> np.ndarray:
  """[clips, levels] of clips of one size; a batch is filled up with its first."""
  full = (group + group[:1] * ROWS)[:ROWS]
  model = pipeline.model
  z = np.stack([record.z for _, record in full]).astype(np.float32)
  tokens = patches.patchify(z, model.patch, patches.time_positions(
      z.shape[1], full[0][1].fps, model.defaults.f_ref))
  text = text_states.encode(model, pipeline.tokenizer,
                            [record.captions[0] for _, record in full])
  key = lambda i, k: jax.random.fold_in(jax.random.fold_in(
      jax.random.key(0), i), k)
  found = []
  for k, t in enumerate(LEVELS):
    eps = np.stack([np.asarray(jax.random.normal(key(i, k), tokens.x.shape[1:]))
                    for i, _ in full])
    found.append(np.asarray(surprise.denoising_loss(
        judge.network, judge.process, judge.params, tokens.x, tokens.pos[0],
        text, np.float32(t), eps)))
  return np.stack(found, 1)[:len(group)]


def facts(pipeline: Any, tier: Any, count: int, folder: pathlib.Path,
          truth: pathlib.Path, shown: pathlib.Path) -> dict[str, Any]:
  """Facts right of `count` prompts: {metric: {value, low, high, floor, ..}}.

  Args:
    pipeline: that draws.
    tier: a tiers.Tier.
    count: of the prompts.
    folder: where drawn videos are kept.
    truth: where the truth through the VAE is kept, which all runs share.
    shown: a PNG to write of the first SHOWN videos, a line each.
  """
  todo = cases(tier, count)
  drawn = videos.generate(pipeline, todo, folder, BATCH)
  shown.parent.mkdir(parents=True, exist_ok=True)
  Image.fromarray(sheets.contact_sheet(drawn[:SHOWN], columns=5, side=48)
                  ).save(shown)
  found = worlds_suite.metrics(worlds_suite.score(
      todo, drawn, kept(pipeline.reconstruct, truth)))
  return {name: found[name] for name in FACTS}


def cases(tier: Any, count: int) -> list[cases_lib.Case]:
  """The held-out cases of a tier; the first n of more are the same.

  Every second one of the suite: those whose prompt is the short caption, which
  is what these runs train on.
  """
  return cases_lib.draw(2 * count, 0, [tier.size], tier.frames, tier.fps,
                        ["balls"], {"objects": [1, 2],
                                    "background": ["plain"]})[::2]


def kept(reconstruct: Callable[[np.ndarray], np.ndarray],
         folder: pathlib.Path) -> Callable[[np.ndarray], np.ndarray]:
  """`reconstruct`, whose results are kept in a folder."""
  folder.mkdir(parents=True, exist_ok=True)

  def run(video: np.ndarray) -> np.ndarray:
    name = hashlib.sha256(video.tobytes()).hexdigest()[:24]
    return videos.kept(folder / f"{name}.npz", name, lambda: reconstruct(video))

  return run


def score(facts_of: Mapping[str, Any] | None) -> float | None:
  """The fact score: the mean of colour, shape and direction; None without."""
  if not facts_of:
    return None
  return float(np.mean([facts_of[name]["value"] for name in FACTS[:3]]))

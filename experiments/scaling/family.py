"""The family: one rule that makes a network of a width, and what it computes.

  layers = width / 32, heads = width / 32, ffn = 4 width
  text encoder: one block of half the width, heads of 32 where it divides into them
  learning rate = a width^-b, fitted on the two smallest sizes (`rate_rule`)
  batch: the same tokens for all sizes, warm-up in tokens

FLOPs are counted by formula, 3 forward passes a step, over the batches that a run
trains on: attention, text, embeddings and the last layer included. The encoding
by the VAE is not in them. Steps of the decay count as all others do.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import functools
import hashlib
import math
import os
import pathlib
from typing import Any

import jax
import numpy as np

from sora_jax import types
from sora_jax.data.store import manifest as manifest_lib
from sora_jax.models import dit
from sora_jax.models import flops
from sora_jax.tasks import build
from sora_jax.tasks import config as config_lib
from sora_jax.tasks import task as task_lib

UNIT = 32  # of widths, and the size of a head
DECAY = 0.2  # the share of a run's steps that falls linearly to zero
ALONE = (("none", 1.0), *((name, 0.0) for name in (
    "first", "head", "suffix", "both", "loop", "keyframes", "region", "interior",
    "descriptive")))  # text alone, short captions
COUNTED = 16  # batches whose FLOPs are averaged
COPIES = 5  # of the parameters: themselves, the gradient, two moments, the average
KEPT = 40  # activations of a layer and token that the backward pass keeps


@dataclasses.dataclass(frozen=True)
class Work:
  """What a step of a run computes, on average.

  Attributes:
    params: of the transformer and the text encoder, its table of words aside.
    flops: of a step.
    tokens: of the clips in it, padding not counted.
    clips: in it.
  """

  params: int
  flops: float
  tokens: float
  clips: float


def layers(width: int) -> int:
  """The depth of a width.

  Raises:
    ValueError: no width of the family.
  """
  if width < 2 * UNIT or width % UNIT:
    raise ValueError(f"width is {width}: use a multiple of {UNIT} from {2 * UNIT}")
  return width // UNIT


def config(tier: Any, width: int, steps: int, rate: float, seed: int,
           asked: bool = False) -> Any:
  """The config of a run: configs/dit.py:tiny_cpu with the keys of the family.

  Args:
    tier: a tiers.Tier.
    width: of the transformer.
    steps: of the run, the decay among them.
    rate: the learning rate of the constant phase.
    seed: of parameters, noise and the order of the data.
    asked: whether the paired surprise is asked at the end.
  """
  cfg = config_lib.load("configs/dit.py:tiny_cpu")
  tokens = tier.rows * tier.length
  text = width // 2
  cfg.seed, cfg.steps, cfg.dtype = seed, steps, tier.dtype
  cfg.transformer.update(layers=layers(width), heads=width // UNIT,
                         head_size=UNIT, ffn=4 * width, text_width=text,
                         remat="none")
  cfg.text_encoder.update(vocab=tier.vocab, width=text, layers=1,
                          heads=1 if text % UNIT else text // UNIT, ffn=4 * text)
  with cfg.unlocked():  # keys that the variant leaves at their defaults
    cfg.optimizer.update(
        name=tier.optimizer, learning_rate=rate, decay=DECAY,
        decay_shape="linear", final=0.0, ema=tier.ema,
        warmup=math.ceil(tier.warmup_tokens / tokens))
    cfg.data.update(
        shapes=((tier.rows, tier.length),), text_limit=tier.text_limit,
        text_length=tier.text_length, max_segments=tier.segments,
        conditioning=ALONE)
  cfg.sampling.update(size=tier.size, frames=tier.frames, fps=tier.fps,
                      window=tier.frames, **tier.sampling)
  cfg.preview.update(size=tier.size, frames=tier.frames)
  cfg.surprise.update(every=steps if asked else 0, worlds=("balls",), fours=tier.fours,
                      size=tier.size, frames=tier.frames, fps=tier.fps)
  # The last save before the end is where the decay begins, so that a longer run
  # goes on from there.
  every = max(1, round(DECAY * steps))
  cfg.loop.update(log_every=max(1, steps // 40), save_every=every,
                  preview_every=0, validate_every=max(1, steps // 10))
  return cfg


def whole_steps(budget: float, work: Work) -> int:
  """Steps of a budget in FLOPs: five parts of which the last is the decay."""
  part = round(budget / work.flops * DECAY)
  if part < 1:
    raise ValueError(f"a budget of {budget:.2g} FLOPs has fewer than 5 steps of "
                     f"{work.flops:.2g}: give a larger one or a smaller width")
  return round(part / DECAY)


def work(cfg: Any, manifest: manifest_lib.Manifest) -> Work:
  """The arithmetic of a step of a config, by formula, over its own batches."""
  plan = task_lib.find("dit").plan(cfg, manifest)
  network = build.dit_of(cfg, manifest.info["channels"])
  encoder = build.text_encoder_of(cfg)
  found = []
  for step in range(COUNTED):
    batch = plan.batch(step)
    segments = flops.packed_segments(np.asarray(batch.tokens.seg),
                                     np.asarray(batch.text.seg))
    found.append((flops.TRAIN * (flops.dit_flops(network, segments)
                                 + flops.text_flops(encoder, segments[:, 1])),
                  segments[:, 0].sum(), len(segments)))
  return Work(params(network, encoder), *map(float, np.mean(found, 0)))


def params(network: dit.DiT, encoder: Any) -> int:
  """Parameters that are multiplied with: the table of words is only looked up."""
  one = np.ones((1, 1), np.int32)
  shapes = jax.eval_shape(functools.partial(encoder.init, jax.random.key(0)),
                          types.Text(ids=one, seg=one))
  table = encoder.vocab * encoder.width
  return flops.dit_params(network) + dit.count(shapes["params"]) - table


def rate_rule(best: Mapping[int, float]) -> tuple[float, float]:
  """(a, b) of the learning rate a width^-b through two widths and their best.

  b is kept within 0 and 1: two points do not show more.

  Raises:
    ValueError: not two widths.
  """
  if len(best) != 2:
    raise ValueError(f"the rule of the learning rate needs 2 widths, not "
                     f"{len(best)}")
  (w1, r1), (w2, r2) = sorted(best.items())
  b = min(max(-math.log(r2 / r1) / math.log(w2 / w1), 0.0), 1.0)
  return math.sqrt(r1 * r2) * (w1 * w2) ** (b / 2), b


def best_rate(rates: Sequence[float], losses: Sequence[float]) -> float:
  """The lowest point of a parabola of the loss over log rate, within the grid."""
  x = np.log(rates)
  if len(x) < 3:
    return float(rates[int(np.argmin(losses))])
  curve = np.polyfit(x, losses, 2)
  if curve[0] <= 0:
    return float(rates[int(np.argmin(losses))])
  return float(np.exp(np.clip(-curve[1] / (2 * curve[0]), x.min(), x.max())))


def refuse_too_large(tier: Any, width: int, size: Work, limit: float = 0) -> None:
  """Refuses a run that does not fit memory, before its first step.

  Args:
    tier: of the run.
    width: of the network.
    size: of its step.
    limit: bytes that there are; those of the device or the machine if 0.

  Raises:
    ValueError: it needs more, with both numbers.
  """
  stats = jax.devices()[0].memory_stats() or {}
  limit = limit or stats.get("bytes_limit") or (
      os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
  needed = 4 * (COPIES * size.params + KEPT * layers(width) * width
                * tier.rows * tier.length)
  if needed > limit:
    raise ValueError(f"tier {tier.name} at width {width} needs about "
                     f"{needed / 2**30:.1f} GiB and there are "
                     f"{limit / 2**30:.1f}: give fewer rows or a smaller width")


def revision() -> str:
  """A digest of the sources that decide what a run computes."""
  root = pathlib.Path(config_lib.resolve("configs/dit.py")).parent.parent
  package = pathlib.Path(build.__file__).parent.parent
  found = hashlib.sha256()
  for path in [*sorted(package.rglob("*.py")), root / "configs/dit.py",
               pathlib.Path(__file__)]:
    found.update(path.read_bytes())
  return found.hexdigest()[:12]

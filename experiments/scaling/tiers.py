"""The tiers: what each ladder trains on, how large it is, and how it is asked.

All runs of a tier share the data and its order, the held-out clips, the noise,
the sampler, the guidance and the decay of the average; only width, steps and the
learning rate of the rule differ. Costs: `ladder.py --tier=NAME --plan`.
"""

from collections.abc import Mapping
import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Tier:
  """A ladder.

  Attributes:
    name: of the tier.
    base: FLOPs of the base; the ladder ends at 32 times as much.
    widths: that the rule may choose from.
    surface: widths of the surface of small runs.
    fractions: budgets of the surface, as shares of the base.
    seeds: runs at base, and at 4x.
    rates: learning rates that the pilot tries at the two smallest widths; a
      surface of one width has no more than its own.
    pilot: its budget as a share of the base.
    fixed: whether one size goes through base, 4x and 32x as well.
    prepare, encode: flags of `sora-jax prepare` and `encode`.
    vae: the model whose VAE makes the latents.
    rows, length, segments: of a batch.
    vocab, text_limit, text_length: of prompts.
    warmup_tokens: tokens, padding included, of the rise of the learning rate.
    optimizer, ema, dtype: as in configs/dit.py.
    size, frames, fps: of what is drawn.
    sampling: steps, method and guidance of the sampler.
    fours: of each law, for the paired surprise.
    held_out: clips of the split val that the loss is taken on.
    prompts: how many are drawn at each part of the ladder; 0 is none.
    draws: of the bootstrap.
    where: the hardware that it is made for.
    optimised: whether the compiler optimises its programs.
  """

  name: str
  base: float
  widths: tuple[int, ...]
  surface: tuple[int, ...]
  fractions: tuple[float, ...]
  prepare: tuple[str, ...]
  seeds: tuple[int, int] = (3, 1)
  rates: tuple[float, ...] = (2e-3, 4e-3, 8e-3)
  pilot: float = 0.5
  fixed: bool = True
  encode: tuple[str, ...] = ("--suffixes=0", "--keyframes=0", "--noregions",
                             "--batch=32")
  vae: str = "tiny"
  rows: int = 2
  length: int = 256
  segments: int = 12
  vocab: int = 256
  text_limit: int = 48
  text_length: int = 384
  warmup_tokens: int = 10_000
  optimizer: str = "adamw"
  ema: float = 0.99
  dtype: str = "float32"
  size: tuple[int, int] = (48, 48)
  frames: int = 9
  fps: float = 8.0
  sampling: Mapping[str, Any] = dataclasses.field(default_factory=lambda: dict(
      steps=20, method="ancestral", guidance=3.0))
  fours: int = 16
  held_out: int = 192
  prompts: Mapping[str, int] = dataclasses.field(default_factory=lambda: dict(
      pilot=0, surface=0, base=96, four=96, top=304))
  draws: int = 200
  where: str = "two cores"
  optimised: bool = True


BALLS = ("world:balls", "--seed=21", "--test_share=0", "--held_out=.02",
         "--size=48x48:3,64x48:1", "--frames=1:15,9:85", "--fps=8",
         "--objects=1:70,2:30", "--plain=1", "--workers=1", "--vocab=256")
# The mixture of the larger tiers: five worlds, three sizes, images and videos.
MIXTURE = ("world:balls,occluder,orbit,painter,craft", "--seed=21",
           "--test_share=0", "--held_out=.02", "--size=64x64:3,96x64:1,64x96:1",
           "--frames=1:15,9:15,17:70", "--fps=8", "--objects=1:70,2:30",
           "--vocab=512")
LARGE: dict[str, Any] = dict(
    fractions=(1 / 8, 1 / 4, 1 / 2, 1), seeds=(5, 2), prepare=MIXTURE, vocab=512,
    vae="worlds/vae", size=(64, 64), frames=17, rows=16, length=640,
    text_limit=80, text_length=512, fours=32, held_out=512,
    warmup_tokens=1_000_000, ema=0.999,
    prompts=dict(pilot=0, surface=100, base=300, four=300, top=300))

TIERS = {tier.name: tier for tier in (
    Tier("smoke", 1.42e9, (64,), (64,), (1 / 3, 2 / 3, 1),
         (*BALLS, "--count=64", "--held_out=.04", "--size=48x48", "--frames=9"),
         seeds=(1, 1), rates=(4e-3,), pilot=0.4, fixed=False, rows=1, draws=20,
         length=128, text_length=128, warmup_tokens=500, ema=0.9, fours=1,
         held_out=2, optimised=False,
         prompts=dict(pilot=0, surface=0, base=4, four=4, top=4),
         sampling=dict(steps=2, method="euler", guidance=1.0)),
    Tier("hour", 5e11, (64, 96, 128, 160, 192), (64, 96, 128), (1 / 4, 1 / 2, 1),
         (*BALLS, "--count=4000"), rates=(2e-3, 4e-3, 8e-3, 1.6e-2)),
    Tier("cpu", 4.5e13, (128, 160, 192, 224, 256, 320, 384),
         (128, 160, 192, 256), **LARGE | dict(
             prepare=(*MIXTURE, "--count=8000"), rows=4)),
    Tier("gpu", 2e14, (128, 192, 256, 320, 384, 448, 512), (128, 192, 256, 320),
         **LARGE | dict(prepare=(*MIXTURE, "--count=24000"), dtype="bfloat16",
                        where="one H100")),
    Tier("gpu-long", 3.125e15, (192, 256, 320, 384, 512, 640, 768),
         (192, 256, 320, 384), **LARGE | dict(
             prepare=(*MIXTURE, "--count=100000"), dtype="bfloat16", rows=32,
             where="one H100")),
    Tier("pod", 3.125e18, (512, 768, 1024, 1280, 1536, 2048, 2560),
         (512, 768, 1024, 1536), **LARGE | dict(
             prepare=(*MIXTURE, "--count=4000000"), dtype="bfloat16", rows=1024,
             where="v5p-128")))}

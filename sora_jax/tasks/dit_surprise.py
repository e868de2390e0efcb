"""Paired surprise beside training: abilities as they come with compute.

The short form of evaluation/surprise.py, of the averaged weights: the fours are
drawn and encoded once, at the first call of a run.
"""

from collections.abc import Callable
import dataclasses
import functools
from typing import Any

import jax

from sora_jax import ranges
from sora_jax.formats import pretrained
from sora_jax.mesh import multihost
from sora_jax.tasks import dit_model
from sora_jax.tasks import prompts as prompts_lib

TIMES = (0.7, 0.9)


@dataclasses.dataclass(frozen=True)
class Options:
  """The section `surprise` of a config.

  Attributes:
    every: steps between two calls; 0 is never.
    worlds: names; without any nothing is asked.
    fours: of each law.
    size: (W, H) in pixels of the clips; a world of one size has its own.
    frames: of each.
    fps: frames per second.
  """

  every: int = 0
  worlds: tuple[str, ...] = ()
  fours: int = 32
  size: tuple[int, int] = (64, 64)
  frames: int = 17
  fps: float = 8.0

  def __post_init__(self):
    ranges.check("surprise", self, every=ranges.whole(), fours=ranges.whole(1),
                 frames=ranges.whole(2), fps=ranges.above(0))
    for name in self.worlds:
      laws(name, self)


def options_of(cfg: Any) -> Options:
  """The options of a config, which may have none of them."""
  return ranges.made(Options, "surprise", cfg.get("surprise", {}))


def laws(name: str, options: Options) -> list[str]:
  """The laws of a world whose fours single frames cannot tell.

  Raises:
    ValueError: no such world, or one that lacks a package or cannot draw clips
      of the size and length that are asked for.
  """
  # A run that does not ask has no need of the worlds.
  from sora_jax import worlds
  from sora_jax.worlds import fours
  if name not in worlds.WORLDS:
    raise ValueError(f"surprise.worlds has {name!r}; there are "
                     f"{', '.join(worlds.WORLDS)}")
  if why := worlds.missing(name):
    raise ValueError(f"surprise.worlds: {why}")
  world = worlds.WORLDS[name]
  facts = fours.sample(world, worlds.key(0, name), (options.size[0], options.size[1]),
                       options.frames, options.fps)
  return [law for law in world.LAWS if fours.partner(world, facts, law) is not None]


def measure(cfg: Any, vae: pretrained.Model, prompts: prompts_lib.Prompts
            ) -> tuple[Callable[[Any], dict[str, float]] | None, int]:
  """(state -> metrics, every how many steps); (None, 0) if nothing is asked."""
  options = options_of(cfg)
  if not options.every or not options.worlds:
    return None, 0

  @functools.cache
  def asked():
    from sora_jax.evaluation import surprise
    model = dit_model.model_of(cfg, vae, {"transformer": None,
                                          "text_encoder": None}, prompts.source)
    return [surprise.ask(model, name, law, options.fours, 0, options.size,
                         options.frames, options.fps, cfg.data.f_ref, alone=False)
            for name in options.worlds for law in laws(name, options)]

  def run(state: Any) -> dict[str, float]:
    # Training alone needs neither generation nor evaluation.
    from sora_jax.evaluation import surprise
    from sora_jax.generation import text_states
    ema = jax.device_put(multihost.gather(state.ema))
    model = dit_model.model_of(cfg, vae, ema, prompts.source, prompts.frozen)
    judge = surprise.judge_of(
        model, text_states.encode(model, prompts.tokenizer, [""]))
    found: dict[str, float] = {}
    for one in asked():
      numbers = surprise.surprise(judge, one, times=TIMES)
      name = f"surprise/{one.world}/{one.law}"
      found |= {name: numbers["value"], f"{name}/more": numbers["more"]["value"]}
    return found

  return run, options.every

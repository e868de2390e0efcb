"""Captioned simulated worlds whose truth is known: contracts.World.

A world is a module with the functions of contracts.World; it becomes one that
`prepare` and `evaluate` can be asked for by its line in WORLDS. The frozen
dataclass of its facts is its own. It states the `size`, `frames` and `fps` of
the clip, so that `render(facts)` needs nothing else, and `broken` if the world
has twins.
"""

from collections.abc import Sequence
import dataclasses
import importlib.util
import json
from typing import Any
import zlib

import numpy as np

from sora_jax import contracts
from sora_jax import extras
from sora_jax.worlds import balls
from sora_jax.worlds import bite
from sora_jax.worlds import collide
from sora_jax.worlds import craft
from sora_jax.worlds import figures
from sora_jax.worlds import hidden
from sora_jax.worlds import lookaway
from sora_jax.worlds import occluder
from sora_jax.worlds import orbit
from sora_jax.worlds import painter
from sora_jax.worlds import rigid
from sora_jax.worlds import shatter

WORLDS: dict[str, contracts.World] = {
    "balls": balls,
    "occluder": occluder,
    "lookaway": lookaway,
    "hidden": hidden,
    "figures": figures,
    "painter": painter,
    "bite": bite,
    "orbit": orbit,
    "collide": collide,
    "shatter": shatter,
    "craft": craft,
}
# What is evaluated by default: the tiny model knows these, and the scores of
# other models are compared with its own.
DEFAULT = ("balls", "occluder")
IN_RECORD = ("size", "frames", "fps")


def key(seed: int, *names: str) -> np.random.Generator:
  """The random numbers of (names, seed): streams do not share numbers.

  The facts of a world are drawn from key(seed, world) and the words of its
  captions from key(seed, world, "caption").

  Raises:
    ValueError: a seed below 0.
  """
  if seed < 0:
    raise ValueError(f"seed {seed}: use 0 or more")
  return np.random.default_rng(
      [zlib.crc32("/".join(names).encode()), int(seed)])


def to_json(facts: Any) -> str:
  """Facts as one line of JSON, less what a record says by itself."""
  fields = dataclasses.asdict(facts)
  if not fields.get("broken"):
    fields.pop("broken", None)
  return json.dumps({k: v for k, v in fields.items() if k not in IN_RECORD})


def render_many(name: str, facts: Sequence[Any]) -> list[np.ndarray]:
  """The clips of several facts of a world, together where it can do that."""
  world = WORLDS[name]
  together = getattr(world, "render_many", None)
  if together is None:
    return [world.render(one) for one in facts]
  return list(together(facts))


def missing(name: str) -> str:
  """What a world needs that is not installed, with the command; "" if nothing."""
  lack = [n for n in getattr(WORLDS[name], "NEEDS", ())
          if importlib.util.find_spec(n) is None]
  return (f"the world {name} needs {' and '.join(lack)}: {extras.install('worlds')}"
          if lack else "")


def unparsed(observed: Any) -> str:
  """Why nothing could be read from a clip; "" if something was."""
  return str(getattr(observed, "unparsed", ""))

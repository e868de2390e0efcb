"""What the rows of a world say of one video, whoever made it.

Whatever the video is, every row has an answer with its reason, and no error.
"""

from collections.abc import Mapping
import dataclasses
from typing import Any

import numpy as np

from sora_jax import contracts
from sora_jax import worlds
from sora_jax.worlds import rows as rows_lib

Value = bool | float | None


@dataclasses.dataclass(frozen=True)
class Verdict:
  """What was found in a video.

  Attributes:
    unparsed: why nothing could be read; then every share is 0 and no number is
      known. "" otherwise.
    values: row -> its value; None where the clip does not ask it.
  """

  unparsed: str
  values: Mapping[str, Value]


def rows(world: contracts.World) -> tuple[rows_lib.Row, ...]:
  """The rows of a world, none if it states none."""
  return tuple(getattr(world, "ROWS", ()))


def judge(world: contracts.World, facts: Any, video: np.ndarray) -> Verdict:
  """Asks all rows of a video uint8 [T, H, W, 3] that should show the facts.

  Facts of one frame, an image, ask none: all rows are None.
  """
  observed, why = _observed(world, facts, video)
  if facts.frames == 1:
    return Verdict(why, {r.name: None for r in rows(world)})
  if why:
    return Verdict(why, {r.name: None if r.unit else 0.0 for r in rows(world)})
  score = world.score(facts, observed)
  return Verdict("", {r.name: _plain(r.measure(facts, observed, score))
                      for r in rows(world)})


def alarms(world: contracts.World, facts: Any, video: np.ndarray) -> Verdict:
  """Asks the alarms of a video of facts without their object.

  A video in which nothing is seen raises none.
  """
  observed, why = _observed(world, facts, video, empty=True)
  asked = [r for r in rows(world) if r.alarm]
  if facts.frames == 1:
    return Verdict(why, {r.name: None for r in asked})
  if why:
    return Verdict(why, {r.name: 1.0 for r in asked})
  score = world.score(facts, observed)
  return Verdict("", {r.name: _plain(r.alarm(facts, observed, score))
                      for r in asked if r.alarm})


def less(hits: Verdict, false: Verdict | None) -> dict[str, Value]:
  """The values of hits less the alarms of the same rows."""
  return {name: value if false is None or value is None or
          false.values.get(name) is None else
          float(value) - float(false.values[name] or 0)
          for name, value in hits.values.items()}


def _observed(world, facts, video, empty=False):
  """(what is seen, why nothing is)."""
  width, height = facts.size
  if video.shape[1:] != (height, width, 3):
    return None, (f"unparsed: {video.shape[2]}x{video.shape[1]} pixels where "
                  f"{width}x{height} were asked for")
  if len(video) != facts.frames:
    return None, (f"unparsed: {len(video)} frame{'s'[:len(video) != 1]} where "
                  f"{facts.frames} were asked for")
  observed = world.parse(video, facts.fps)
  why = worlds.unparsed(observed)
  return observed, f"unparsed: {why}" if why and not empty else ""


def _plain(value):
  """A value that JSON knows."""
  if value is None:
    return None
  return bool(value) if isinstance(value, bool | np.bool_) else float(value)

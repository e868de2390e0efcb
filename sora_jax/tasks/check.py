"""Checks a whole config before anything is read, drawn or compiled."""

import dataclasses
from typing import Any

from sora_jax import mesh as mesh_lib
from sora_jax import ranges
from sora_jax.tasks import build
from sora_jax.tasks import config as config_lib
from sora_jax.tasks import task as task_lib

# What a config of every kind has.
NEEDED = ("seed", "steps", "mesh", "optimizer", "data", "loop")


@dataclasses.dataclass(frozen=True)
class Intervals:
  """How often a run is told of, saved and shown.

  Attributes:
    log_every: steps between lines of metrics.jsonl.
    save_every: steps between checkpoints.
    preview_every: steps between previews; 0 is never.
    save_minutes: minutes after which a checkpoint is saved as well; 0 is never.
    validate_every: steps between losses on the split val; 0 is never.
  """

  log_every: int
  save_every: int
  preview_every: int
  save_minutes: float = 0.0
  validate_every: int = 0

  def __post_init__(self):
    ranges.check("loop", self, log_every=ranges.whole(1),
                 save_every=ranges.whole(1), preview_every=ranges.whole(),
                 save_minutes=ranges.number(0),
                 validate_every=ranges.whole())


def intervals_of(cfg: Any) -> Intervals:
  """The intervals of a config."""
  return ranges.made(Intervals, "loop", cfg.loop)


def check(cfg: Any) -> None:
  """Refuses a config that no run can use.

  Raises:
    ValueError: a kind, a key or a value; the message says what is allowed.
  """
  config_lib.refuse_unknown(cfg)
  task = task_lib.find(cfg.kind)
  needed = (*NEEDED, *task.needed)
  if missing := [key for key in needed if key not in cfg]:
    raise ValueError(f"config: the key {missing[0]} is missing; a config of kind "
                     f"{cfg.kind} has kind, {', '.join(needed)}")
  for key, rule in (("seed", ranges.whole()), ("steps", ranges.whole(1))):
    if not rule.holds(cfg[key]):
      raise ValueError(f"{key} is {cfg[key]!r}, it must be {rule.what}")
  for axis, size in config_lib.section(cfg.mesh).items():
    mesh_lib.check_axis(axis, size)
  build.optimizer_of(cfg)
  intervals_of(cfg)
  task.check(cfg)

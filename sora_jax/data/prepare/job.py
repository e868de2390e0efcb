"""What a data set is made of: all that decides its content."""

import dataclasses
from typing import Any

from sora_jax.data.prepare import filters
from sora_jax.data.sources import world

SHARD = 256  # clips of a shard
TEST_SHARE = 0.05


@dataclasses.dataclass(frozen=True)
class Job:
  """All that decides the content of a data set.

  Attributes:
    source: "[WEIGHT*]KIND:REST", see mixture.py; several are a mixture.
    options: of worlds.
    test_share: the share of items that only the split test holds.
    seed: of the division into splits.
    shard: clips of a shard.
    vocab: ids of the tokenizer, at most.
    rules: of what is kept.
    cuts: whether files are cut into shots.
    chunk_seconds: the longest chunk of a video or shot; 0 leaves them whole.
    held_out: the share of files that only the split val holds; 0 makes none.
  """

  source: str | tuple[str, ...]
  options: world.WorldOptions
  test_share: float
  seed: int
  shard: int
  vocab: int
  rules: filters.Rules
  cuts: bool
  chunk_seconds: float
  held_out: float = 0.0

  @property
  def name(self) -> str:
    """The sources, as they were typed."""
    return self.source if isinstance(self.source, str) else " ".join(self.source)

  @property
  def mixed(self) -> bool:
    """Whether there are several sources; keys then begin with the number of one."""
    return not isinstance(self.source, str)

  def describe(self, exact: bool) -> dict[str, Any]:
    """What dataset.json says; exact clips are neither filtered nor cut.

    Options that came later are left out where they have their default: a data
    set that was begun before them goes on.
    """
    fields = {"kind": "pixels", **dataclasses.asdict(self)}
    for section, key, default in (("options", "follow_links", False),
                                  ("rules", "max_repeats", 0)):
      if fields[section][key] == default:
        del fields[section][key]
    if not self.held_out:
      del fields["held_out"]
    scanned = ("rules", "cuts", "chunk_seconds") if exact else ()
    return {k: v for k, v in fields.items() if k not in scanned}

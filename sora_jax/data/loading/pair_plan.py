"""Batches of pairs for the expander: a pair a row, in a seeded order."""

import dataclasses
import functools
import hashlib

import numpy as np

from sora_jax import contracts
from sora_jax import ranges
from sora_jax import types
from sora_jax.data.store import pairs as pairs_lib
from sora_jax.text import prompts
from sora_jax.text import tokenizer as tokenizer_lib
from sora_jax.text import words


@dataclasses.dataclass(frozen=True)
class PairConfig:
  """What batches look like.

  Attributes:
    rows: pairs of a batch.
    seed: of the order.
  """

  rows: int = 64
  seed: int = 0

  def __post_init__(self):
    ranges.check("data", self, rows=ranges.whole(1), seed=ranges.whole())


@dataclasses.dataclass(frozen=True)
class PairPlan:
  """A plan of types.Pairs, a contracts.Plan; pairs come again epoch by epoch.

  Attributes:
    pairs: of the data.
    tokenizer: of its texts.
    cfg: what batches look like.
    lengths: the most ids of a short and of a descriptive text.
    kept: the pairs that are no longer, by their numbers.
  """

  pairs: pairs_lib.Pairs
  tokenizer: tokenizer_lib.Tokenizer
  cfg: PairConfig
  lengths: tuple[int, int]
  kept: np.ndarray

  @property
  def notes(self) -> tuple[str, ...]:
    """What is to be said before a run."""
    long = len(self.pairs) - len(self.kept)
    return (f"{self.pairs.root}: {long} of {len(self.pairs)} pairs have more ids "
            f"than {self.lengths[0]} and {self.lengths[1]} and are left out",
            ) if long else ()

  @property
  def digest(self) -> str:
    """sha256 of all that decides the batches."""
    return hashlib.sha256(repr((self.pairs.digest, self.tokenizer.digest, self.cfg,
                                self.lengths)).encode()).hexdigest()

  def batch(self, step: int, share: contracts.Share = contracts.WHOLE
            ) -> types.Pairs:
    """The rows of `share` of the batch of `step`."""
    found = []
    for row in share.rows(self.cfg.rows):
      epoch, at = divmod(step * self.cfg.rows + row, len(self.kept))
      found.append(self.pairs.pairs[_order(self.cfg.seed, epoch, len(self.kept),
                                           self.kept.tobytes())[at]])
    encode = lambda texts, limit: types.Text(*prompts.encode_rows(
        self.tokenizer, list(map(words.spaced, texts)), limit, False))
    short, long = zip(*found)
    return types.Pairs(encode(short, self.lengths[0]),
                       encode(long, self.lengths[1]))


@functools.lru_cache(4)
def _order(seed: int, epoch: int, count: int, kept: bytes) -> np.ndarray:
  """The order of the pairs in an epoch."""
  order = np.random.default_rng([seed, epoch]).permutation(count)
  return np.frombuffer(kept, np.int64)[order]


def pair_plan(pairs: pairs_lib.Pairs, cfg: PairConfig,
              lengths: tuple[int, int]) -> PairPlan:
  """The plan of some pairs; those with more ids than `lengths` are left out.

  Raises:
    ValueError: no pair is left.
  """
  tokenizer = tokenizer_lib.of(pairs)
  short, long = ([len(ids) + 1 for ids in tokenizer.processor.encode(
      list(map(words.spaced, texts)))] for texts in zip(*pairs.pairs))
  kept = np.flatnonzero((np.array(short) <= lengths[0])
                        & (np.array(long) <= lengths[1])).astype(np.int64)
  if not len(kept):
    raise ValueError(f"{pairs.root}: no pair has at most {lengths[0]} and "
                     f"{lengths[1]} ids: raise expander.prompt_length and length")
  return PairPlan(pairs, tokenizer, cfg, lengths, kept)

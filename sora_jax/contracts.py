"""The contracts between rooms, as Protocols: what each kind of part can do.

A part that satisfies one of these is used by naming it in one line of its
room's table (docs/extend.md). Nothing here needs jax: the workers of `prepare`
import this module too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
  import jax

  from sora_jax import stations
  from sora_jax import types

Facts = TypeVar("Facts")
Carry = TypeVar("Carry")


class Source(Protocol):
  """Where clips come from: a sequence whose items can be made alone.

  `s[i]` raises stations.Reject for an item that is left out. A source may also
  have the attributes

    exact: True where its items are stations.Item, which are neither scanned nor
      filtered; False by default.
    root: the folder that its files lie in, where nothing may be written.
    ignored: ending -> number of files that are neither media nor captions.
  """

  @property
  def fingerprint(self) -> str:
    """A text that changes when a file, a caption or an option does."""
    ...

  def __len__(self) -> int:
    """The number of items."""
    ...

  def __getitem__(self, index: int) -> stations.Raw | stations.Item:
    """Item `index`: a file as it was found, or a clip that is exact."""
    ...


class Plan(Protocol):
  """A stream of batches, each a pure function of (manifest, seed, step)."""

  digest: str  # of all that decides the batches

  def batch(self, step: int, host: tuple[int, int] = (0, 1)) -> Any:
    """The rows of `host` = (index, count) of the batch of `step`."""
    ...


class Stepper(Protocol[Carry]):
  """A way from noise to data: diffusion/steppers.py."""

  def init(self, start: types.Array) -> Carry:
    """The carry at the first noise level."""
    ...

  def step(self, denoise: Callable[..., jax.Array], carry: Carry,
           *args: Any) -> Carry:
    """The carry one step nearer to data."""
    ...


class World(Protocol[Facts]):
  """A simulated world whose truth is known; one file in worlds/."""

  def sample(self, key: np.random.Generator, size: tuple[int, int],
             frames: int, fps: float) -> Facts:
    """Draws what is true of a clip of (W, H) pixels."""
    ...

  def render(self, facts: Facts) -> np.ndarray:
    """The clip, uint8 [T, H, W, 3]."""
    ...

  def describe(self, facts: Facts,
               key: np.random.Generator) -> tuple[str, str]:
    """The short and the descriptive caption."""
    ...

  def read(self, text: str) -> Facts:
    """What a caption says: the way back of `describe`."""
    ...

  def parse(self, clip: np.ndarray) -> Any:
    """What is seen in the pixels of a clip."""
    ...

  def score(self, facts: Facts, observed: Any) -> dict[str, bool | float]:
    """Whether each fact was seen."""
    ...

  def twin(self, facts: Facts, law: str) -> Facts:
    """The same clip with one law broken."""
    ...

  def what_if(self, facts: Facts, key: np.random.Generator) -> Facts:
    """The same clip with one fact changed."""
    ...


class Suite(Protocol):
  """A way to score a model: evaluation/."""

  def evaluate(self, model: Any, todo: Sequence[Any], out: str,
               **how: Any) -> dict:
    """Scores a model and writes the results to a folder."""
    ...

"""The contracts between rooms, as Protocols: what each kind of part can do.

A part that satisfies one of these is used by naming it in one line of its
room's table (docs/extend.md). Nothing here needs jax: the workers of `prepare`
import this module too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import dataclasses
from typing import Any, Protocol, TYPE_CHECKING, TypeVar

import numpy as np

from sora_jax import messages

if TYPE_CHECKING:
  import jax

  from sora_jax import stations
  from sora_jax import types

FactsT = TypeVar("FactsT", bound="Facts")
Carry = TypeVar("Carry")
Model = TypeVar("Model")
Request = TypeVar("Request", contravariant=True)


class Source(Protocol):
  """Where clips come from: a sequence whose items can be made alone.

  `s[i]` raises stations.Reject for an item that is left out. A source may also
  have the attributes

    exact: True where its items are stations.Item, which are neither scanned nor
      filtered; False by default.
    root: the folder that its files lie in, where nothing may be written.
    ignored: ending -> number of files that are neither media nor captions.
    held_out: index -> the clip that stands in the split val in the place of an
      item that is held out, where it is not the item itself.
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


@dataclasses.dataclass(frozen=True)
class Share:
  """The rows of every batch that a host reads.

  A batch is cut into `count` equal runs of rows, and a host reads some of them:
  those that its devices hold. They need not follow one another, and hosts that
  split the tokens of a row read the same one.

  Attributes:
    runs: of this host, ascending.
    count: of all hosts.
  """

  runs: tuple[int, ...] = (0,)
  count: int = 1

  def rows(self, size: int) -> list[int]:
    """The rows of this host in a batch of `size`, ascending.

    Raises:
      ValueError: rows that do not divide into the runs.
    """
    if size % self.count:
      raise ValueError(f"a batch of {messages.count(size, 'row')} does not divide "
                       f"into the {self.count} runs that the hosts share: choose a "
                       "multiple")
    run = size // self.count
    return [first * run + i for first in self.runs for i in range(run)]


WHOLE = Share()  # of one host alone


class Plan(Protocol):
  """A stream of batches, each a pure function of (manifest, seed, step).

  A plan may also have `notes`, lines that a run tells before it begins.
  """

  @property
  def digest(self) -> str:
    """sha256 of all that decides the batches."""
    ...

  def batch(self, step: int, share: Share = WHOLE) -> Any:
    """The rows of `share` of the batch of `step`."""
    ...


class Stepper(Protocol[Carry]):
  """A way from noise to data; one file in diffusion/steppers/.

  It is hashable (a frozen dataclass), for programs are compiled with it. The
  known tokens are kept around it (diffusion/sampling.py).
  """

  @property
  def draws_noise(self) -> bool:
    """Whether `step` is given new noise."""
    ...

  def steps(self, evaluations: int) -> int:
    """The steps that take at most so many evaluations of the network."""
    ...

  def coefficients(self, times: np.ndarray) -> Any:
    """A NamedTuple of arrays [K]: the numbers of the K steps between `times`.

    `times` [K + 1] descends within [0, 1], where 0 is data.
    """
    ...

  def init(self, start: types.Array) -> Carry:
    """The carry at the first time: a NamedTuple whose field x is the sample."""
    ...

  def step(self, denoise: Callable[..., jax.Array], carry: Carry, c: Any,
           noise: Any) -> Carry:
    """The carry one step nearer to data.

    Args:
      denoise: (x_t [B, L, P], t scalar) -> x0_hat [B, L, P].
      carry: of `init` or of the step before.
      c: the coefficients of this step, scalars.
      noise: [B, L, P] standard normal if `draws_noise`, else None.
    """
    ...


class Facts(Protocol):
  """What is true of a clip of a world: a frozen dataclass of the world's own.

  Its other fields become JSON in the records of a data set (worlds.to_json).
  """

  @property
  def size(self) -> tuple[int, int]:
    """(W, H) in pixels."""
    ...

  @property
  def frames(self) -> int:
    """The number of frames; 1 is an image."""
    ...

  @property
  def fps(self) -> float:
    """Frames per second."""
    ...


class World(Protocol[FactsT]):
  """A simulated world whose truth is known; one file in worlds/.

  A world may also have

    SIZE: (W, H), the one size that it draws; it refuses others.
    counterpart(facts, law) -> facts: the lawful clip that `twin(facts, law)`
      ends as. The twin of the counterpart begins as the counterpart and ends as
      `facts`, so in the four clips every frame is as often lawful as not.
    UNPAIRED: the laws of which `counterpart` refuses to tell one.
    NEEDS: packages of an extra that it cannot do without.
    ROWS: what the suite of emergence asks of its clips, worlds.rows.Row each.
    empty(facts) -> facts: the clip without the object that is lost from view; it
      looks the same from when the object is hidden on.
    render_many(facts) -> clips: several clips at once, where that is faster;
      each equals what `render` draws.
    vary(facts, key) -> facts: others of the same kind, where drawing them with
      `sample` takes long.

  Facts may have `hidden`, the number of frames in which the object is out of
  sight: scores are then shown by it too. What `parse` returns may have the
  attribute `unparsed`: why nothing could be read ("no object"), "" otherwise.
  """

  @property
  def SHORTEST(self) -> float:
    """Seconds of the shortest video that it can show; 0 if any will do."""
    ...

  @property
  def OPTIONS(self) -> Mapping[str, Sequence[Any]]:
    """What `sample` can be asked for by keyword: name to values.

    The simplest value comes first. Evaluation spreads its cases over all, so
    every clip that the world draws can have each of them.
    """
    ...

  @property
  def LAWS(self) -> Sequence[str]:
    """The laws that `twin` can break."""
    ...

  def sample(self, key: np.random.Generator, size: tuple[int, int],
             frames: int, fps: float, held_out: bool = False,
             *args: Any, **options: Any) -> FactsT:
    """Draws what is true of a clip of (W, H) pixels.

    What held_out=True draws is never drawn by held_out=False, so that a model
    can be asked for what it was not trained on. `options` are of OPTIONS.

    Raises:
      ValueError: facts that cannot be drawn, in one line with the number.
    """
    ...

  def render(self, facts: FactsT) -> np.ndarray:
    """The clip, uint8 [T, H, W, 3]."""
    ...

  def describe(self, facts: FactsT, key: np.random.Generator,
               language: str = "en") -> tuple[str, str]:
    """The short and the descriptive caption.

    With language="zh" the short one is Chinese; the descriptive one is the same
    English one.
    """
    ...

  def told(self, facts: FactsT) -> Mapping[str, Any]:
    """What captions can tell of the facts, by name."""
    ...

  def read(self, text: str) -> Mapping[str, Any]:
    """What a caption tells, English or Chinese: a part of `told(facts)`.

    Raises:
      ValueError: a text that tells nothing of this world.
    """
    ...

  def parse(self, video: np.ndarray, fps: float) -> Any:
    """What is seen in the pixels uint8 [T, H, W, 3], whoever made them."""
    ...

  def score(self, facts: FactsT, observed: Any) -> Mapping[str, bool | float]:
    """Whether each fact was seen, or to what share, 0 to 1."""
    ...

  def twin(self, facts: FactsT, law: str) -> FactsT:
    """The same clip with one law of the world broken.

    Raises:
      ValueError: a law that the world does not have; the message names those
        that it has.
    """
    ...

  def what_if(self, facts: FactsT, key: np.random.Generator) -> FactsT:
    """The same clip with one fact changed."""
    ...


class Captioner(Protocol):
  """Writes what a clip shows; language.recaption writes a data set with one.

  It may also have `vae_digest`, of the VAE whose latents it reads: latents of
  another VAE are then refused.
  """

  @property
  def name(self) -> str:
    """A short name, such as "captioner" or "endpoint-MODEL"."""
    ...

  @property
  def digest(self) -> str:
    """sha256 of its weights; "" where they are not known."""
    ...

  def caption(self, records: Sequence[Any]) -> list[tuple[str, str]]:
    """The short and the descriptive caption of each clip of some.

    Args:
      records: data.store.latents.Record, of any sizes.

    Raises:
      ValueError: it reads no latents.
    """
    ...

  def describe(self, video: np.ndarray, fps: float) -> str:
    """The descriptive caption of a video uint8 [T, H, W, 3] of any size."""
    ...


class Suite(Protocol[Model, Request]):
  """A way to score a model; one file in evaluation/.

  It may have `draw`, with the arguments of evaluation.cases.draw, where it draws
  its cases otherwise.
  """

  def load(self, name: str) -> Model:
    """As much of a model as is scored, by its name or folder."""
    ...

  def evaluate(self, model: Model, request: Request) -> dict[str, Any]:
    """Scores a model by an evaluation.cases.Request.

    Writes results.json, tables.md and contact sheets to the request's folder,
    and returns what results.json holds.
    """
    ...


class Expander(Protocol):
  """Makes a longer prompt of a short one; language/expand.py checks it.

  It may also have `timeout`, seconds that all tries for a prompt may take, and
  `within(seconds)`, the same expander with so much time for the next one.
  """

  @property
  def name(self) -> str:
    """What lines for users call it."""
    ...

  def expand(self, prompt: str, seed: int = 0, seen: str = "") -> str:
    """A longer text that keeps all that the prompt says.

    Args:
      prompt: what the user wrote.
      seed: another seed may give another text.
      seen: a caption of the image or video that is given, "" without one.

    Raises:
      ValueError: no text this time; another seed may give one.
      OSError, RuntimeError: no text now; whoever asks does not ask again.
    """
    ...

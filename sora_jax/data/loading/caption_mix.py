"""Which captions training shows: of which origin, short or descriptive.

data.captions of a config is

  ()                                the captions of the records, of which
                                    data.conditioning.descriptive are the
                                    descriptive ones
  (ORIGIN,)                         95 % descriptive captions of that origin and
                                    5 % short ones of the records, the mix of
                                    DALL-E 3 (Betker et al. 2023, section 3)
  ((ORIGIN, LENGTH, WEIGHT), ..)    any mix

An origin that wrote one caption a clip has it as both lengths.
"""

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any

import numpy as np

from sora_jax import ranges
from sora_jax.data.store import captions as captions_lib
from sora_jax.data.store import latents
from sora_jax.data.store import manifest as manifest_lib

LENGTHS = ("short", "descriptive")
DESCRIPTIVE = 0.95  # of the captions, where a config names an origin alone

Part = tuple[str, str, float]  # origin, length, weight
_PARTS = ranges.rows(("origin", ranges.text()), ("length", ranges.one_of(*LENGTHS)),
                     ("weight", ranges.above(0)))


@dataclasses.dataclass(frozen=True, eq=False)
class CaptionMix:
  """The captions of a split that training chooses from.

  Attributes:
    manifest: of the latents.
    parts: (origin, length, weight) ..
    stores: the captions of every origin but that of the records.
  """

  manifest: manifest_lib.Manifest
  parts: tuple[Part, ...]
  stores: Mapping[str, captions_lib.Captions]

  @property
  def shares(self) -> np.ndarray:
    """[K] float64, the share of each part."""
    weights = np.array([weight for _, _, weight in self.parts])
    return weights / weights.sum()

  @property
  def digest(self) -> str:
    """Of the captions that are not in the records; "" without any."""
    return " ".join(self.stores[origin].info["sha256"]
                    for origin in sorted(self.stores))

  def tokens(self, clips: np.ndarray) -> np.ndarray:
    """Text tokens of each part, [N, K] int32, of N entries of the manifest."""
    own = self.manifest.entries["text_tokens"]
    return np.stack([
        (self.stores[origin].tokens if origin in self.stores else own)[
            clips, LENGTHS.index(length)] for origin, length, _ in self.parts], 1)

  def texts(self, index: int, own: Sequence[str]) -> tuple[str, ...]:
    """The K captions of an entry, whose record holds `own`.

    Raises:
      ValueError: an origin has none of this entry, or its file is damaged.
    """
    found = {origin: store.of(index) for origin, store in self.stores.items()}
    both = lambda texts: (*texts, *texts[:1] * latents.CAPTIONS)
    return tuple(both(found.get(origin, tuple(own)))[LENGTHS.index(length)]
                 for origin, length, _ in self.parts)


def parts_of(captions: Any, descriptive: float = 0.5) -> tuple[Part, ...]:
  """The parts that data.captions of a config asks for.

  Args:
    captions: as the head of this file says.
    descriptive: the share of descriptive captions where it is ().

  Raises:
    ValueError: anything else.
  """
  own = captions_lib.ORIGINAL
  if captions in ((), []):
    return tuple(zip((own, own), LENGTHS, (1 - descriptive, descriptive)))
  one = isinstance(captions, (tuple, list)) and len(captions) == 1 and (
      isinstance(captions[0], str))
  if not one and not _PARTS.holds(captions):
    raise ValueError(f"data.captions is {captions!r}, it must be (), the name of "
                     f"one origin, or {_PARTS.what}")
  if one:
    captions = ((captions[0], "descriptive", DESCRIPTIVE),
                (own, "short", 1 - DESCRIPTIVE))
  parts = tuple((origin, length, float(weight))
                for origin, length, weight in captions)
  for origin in {origin for origin, _, _ in parts} - {own}:
    try:
      captions_lib.folder_of("", origin)  # a name that an origin can have
    except ValueError as e:
      raise ValueError(f"data.captions: {e}") from e
  return parts


def open_mix(manifest: manifest_lib.Manifest, captions: Any,
             descriptive: float = 0.5) -> CaptionMix:
  """The captions of a split that a config asks for.

  Raises:
    ValueError: an origin that the data set does not have; the message names
      those that it has.
  """
  parts = parts_of(captions, descriptive)
  names = sorted({origin for origin, _, _ in parts} - {captions_lib.ORIGINAL})
  if names and manifest.info.get("estimated"):
    raise ValueError(f"data.captions names {names[0]!r} and {manifest.root} is not "
                     "encoded: plan with the data set of sora-jax encode")
  return CaptionMix(manifest, parts, {
      name: captions_lib.open_captions(manifest, name) for name in names})

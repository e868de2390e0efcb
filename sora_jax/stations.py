"""The stations of a clip on its way from a source into a data set.

  source -> Raw -> scan -> transcode -> Item -> record

One type a station; what a station refuses is a Reject with its reason. Nothing
here needs jax, so that the workers of `prepare` never load it. The stations
behind the records (latents, examples, batches) are in types.py.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Raw:
  """A file as a source found it; nothing is known of its content yet.

  Attributes:
    key: unique within the source.
    file: a path, or the bytes of a file.
    captions: as in `Item`, of one line each and of any length.
    facts: as in `Item`.
    fps: frames per second where the source knows better than the file.
  """

  key: str
  file: str | bytes
  captions: tuple[str, ...]
  facts: str = ""
  fps: float | None = None


@dataclasses.dataclass(frozen=True)
class Item:
  """One clip on its way into a shard.

  Attributes:
    key: unique within the source.
    data: the bytes of a video or image file.
    frames, height, width, fps: of the decoded video.
    captions: the short one first, then the descriptive one if there is one.
    facts: JSON of the ground truth, "" where there is none.
  """

  key: str
  data: bytes
  frames: int
  height: int
  width: int
  fps: float
  captions: tuple[str, ...]
  facts: str = ""


class Reject(ValueError):
  """An item that is left out and counted; the message is the reason."""

  def __init__(self, reason: str, key: str = ""):
    super().__init__(reason)
    self.key = key

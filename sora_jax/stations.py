"""The stations of a clip on its way from a source into a data set.

  source -> Raw -> scan -> ScannedClip -> filters -> KeptClip -> transcode
         -> Item -> record

One type a station. What a station refuses raises Reject with its reason, and is
listed as Rejected. Nothing here needs jax, so that the workers of `prepare`
never load it. The stations behind the records (latents, examples, batches) are
in types.py.
"""

import dataclasses
from typing import Any


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
class ScannedClip:
  """What one decode told of a clip: a file, or a shot or chunk of one.

  Attributes:
    item: the number of the file in its source.
    key: unique within the source.
    file: a hash of the file's bytes, in hex.
    start, stop: its frames in the file, the last one excluded.
    pts: the time of its first frame, in units of the file's time base; None
      where the file does not say.
    whole: whether it is all of the file.
    frames, fps: of the clip as it will be kept; fps in frames per second.
    height, width: of a frame, in pixels, upright.
    pixel_aspect: the width of a pixel / its height.
    constant_fps: False where frames come at uneven times.
    brightness, motion, static, combed: as filters.Rules limits them.
    words: of the first caption.
    captions_cut: the number of captions that were too long.
    phash: the perceptual hash of its first, middle and last frame, 192 bits in
      hex.
    caption_hash: of the first caption, 64 bits in hex.
    altered: what was done to show its frames, as in containers.Frame.
    thumb, caption: of some clips a JPEG in base64, and the first caption.
  """

  item: int
  key: str
  file: str
  start: int
  stop: int
  pts: int | None
  whole: bool
  frames: int
  fps: float
  height: int
  width: int
  pixel_aspect: float
  constant_fps: bool
  brightness: float
  motion: float
  static: float
  words: int
  captions_cut: int
  phash: str
  caption_hash: str = ""
  altered: tuple[str, ...] = ()
  combed: float = 0.0
  thumb: str | None = None
  caption: str | None = None

  def to_json(self) -> dict[str, Any]:
    """The attributes, ready for JSON; ScannedClip(**row) is the way back."""
    return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class KeptClip:
  """A clip that goes into the data set.

  Attributes:
    item: the number of its file, or of the clip itself, in the source.
    scanned: what the scan told; None of a clip that is exact, such as a
      rendered one.
    changes: why its file cannot be kept as it is, () where it can.
    times: how often an epoch sees it.
  """

  item: int
  scanned: ScannedClip | None = None
  changes: tuple[str, ...] = ()
  times: int = 1

  @property
  def key(self) -> str:
    """Unique within the source; "" of an exact clip, which has none yet."""
    return self.scanned.key if self.scanned else ""

  def without_pictures(self) -> "KeptClip":
    """The same without the thumbnail: as small as what workers are sent."""
    if not self.scanned:
      return self
    return dataclasses.replace(self, scanned=dataclasses.replace(
        self.scanned, thumb=None, caption=None))


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


@dataclasses.dataclass(frozen=True)
class Rejected:
  """A line of rejects.jsonl: what was left out, and why.

  Attributes:
    item: the number of the file in its source, or of the record.
    reason: one line, which names the number and the limit.
    key: of the file or clip, where it is known.
    thumb: a JPEG in base64 for the report, of some; it is not stored.
  """

  item: int
  reason: str
  key: str | None = None
  thumb: str | None = None

  def to_json(self) -> dict[str, Any]:
    """What is stored; Rejected(**row) is the way back."""
    key = {} if self.key is None else {"key": self.key}
    return {"item": self.item, **key, "reason": self.reason}

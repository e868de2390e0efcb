"""tfds:NAME or tfds:DIR: data sets of TFDS.

  tfds:DIR, tfds:NAME[/CONFIG][:VERSION] [?split=..&video=..&caption=..&fps=..]

TFDS data sets are read by index through array_record, without TensorFlow, and
are neither downloaded nor built here: a NAME is looked for in TFDS_DATA_DIR or
~/tensorflow_datasets. The video is the feature `video` or `image`, else the
only one that can be one: the bytes of a file, a Video, an Image, or a uint8
tensor [T, H, W, 3] or [H, W, 3]. The caption is `captions`, `caption`, `text`,
`prompt` or the name of a ClassLabel. Tensors need a feature `fps` or ?fps=.
"""

import dataclasses
import os
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from sora_jax import files
from sora_jax import stations
from sora_jax.data.sources import items
from sora_jax.data.sources import world
from sora_jax.media import video_io

CAPTIONS = ("captions", "caption", "text", "prompt")
VIDEO = ("video", "image")


@dataclasses.dataclass(frozen=True, eq=False)
class Tfds:
  """The examples of a TFDS data set.

  Attributes:
    splits: (split, the examples by index) ..
    video, caption: names of features; caption may be None.
    labels: the names of the caption's classes, where it is a ClassLabel.
    fps: of tensors, or None.
    fingerprint: of splits and version.
  """

  splits: tuple[tuple[str, Any], ...]
  video: str
  caption: str | None
  labels: tuple[str, ...]
  fps: float | None
  fingerprint: str

  def __len__(self) -> int:
    return sum(len(data) for _, data in self.splits)

  def __getitem__(self, index: int) -> stations.Raw:
    starts = np.cumsum([0, *(len(data) for _, data in self.splits)])
    at = int(np.searchsorted(starts, index, "right")) - 1
    split, data = self.splits[at]
    index -= int(starts[at])
    key = f"{split}-{index}"
    try:
      example = data[index]
      value = example[self.video]
    except Exception as e:  # whatever protobuf and TFDS raise
      raise stations.Reject(f"is no example: {items.one_line(e)}", key) from e
    fps = float(np.asarray(example.get("fps", self.fps or 0)))
    if isinstance(value, bytes):
      file = value
    else:
      file, fps = _pack(np.asarray(value), fps, key)
    try:
      captions = self._captions(example)
    except ValueError as e:
      raise stations.Reject(f"its caption {e}", key) from e
    return stations.Raw(key, file, captions, fps=fps or None)

  def _captions(self, example: dict[str, Any]) -> tuple[str, ...]:
    if self.caption is None:
      return ()
    value = example[self.caption]
    if self.labels:
      return items.clean([self.labels[int(value)].replace("_", " ")])
    values = [value] if isinstance(value, (bytes, str)) else list(value)
    return items.clean(files.decode_text(v) if isinstance(v, bytes) else v
                       for v in values)


def read_tfds(rest: str, options: world.WorldOptions) -> Tfds:
  """The source tfds:DIR or tfds:NAME.

  Raises:
    ValueError: not there, not readable by index, or without a video.
  """
  del options
  name, query = items.parse_query(rest, ("split", "video", "caption", "fps"))
  root = name if os.path.isdir(name) else _find(name)
  try:
    builder = tfds.builder_from_directory(root)
    names = [query["split"]] if "split" in query else sorted(
        builder.info.splits)
    splits = tuple((s, builder.as_data_source(s)) for s in names)
  except Exception as e:  # TFDS raises many kinds
    raise ValueError(
        f"tfds:{name}: {items.one_line(e)} (it must be stored as "
        "array_record: tfds build --file_format=array_record)") from e
  features = builder.info.features
  video = query.get("video") or _video(name, features)
  caption = query.get("caption") or next(
      (k for k in CAPTIONS if k in features),
      next((k for k, f in features.items()
            if isinstance(f, tfds.features.ClassLabel)), None))
  for key in filter(None, (video, caption)):
    if key not in features:
      raise ValueError(f"tfds:{name} has no feature {key!r}; it has "
                       f"{', '.join(features)}")
  labels = getattr(features[caption], "names", None) if caption else None
  fps = _number(name, query["fps"]) if "fps" in query else None
  about = [(s, len(data)) for s, data in splits]
  return Tfds(splits, video, caption, tuple(labels or ()), fps,
              f"{rest} {about} {builder.info.full_name}")


def _find(name: str) -> str:
  """The folder of the newest version of a prepared data set."""
  home = os.environ.get("TFDS_DATA_DIR") or os.path.expanduser(
      os.path.join("~", "tensorflow_datasets"))
  name, _, version = name.partition(":")
  found = []
  for base, _, names in os.walk(os.path.join(home, *name.split("/"))):
    if "dataset_info.json" in names and (
        not version or os.path.basename(base) == version):
      found.append(base)
  if not found:
    raise ValueError(f"tfds:{name} is neither a folder nor prepared in {home}: "
                     f"run `tfds build {name} --file_format=array_record`")
  number = lambda path: [int(n) if n.isdigit() else -1
                         for n in os.path.basename(path).split(".")]
  return max(found, key=number)


def _video(name: str, features: tfds.features.FeaturesDict) -> str:
  """The name of the feature that holds the video."""
  kinds = (tfds.features.Video, tfds.features.Image)
  fits = [k for k, f in features.items() if isinstance(f, kinds)
          or len(getattr(f, "shape", None) or ()) in (3, 4)]
  chosen = [k for k in VIDEO if k in features] or fits
  if len(chosen) != 1 and not set(chosen) & set(VIDEO):
    raise ValueError(f"tfds:{name}: which of its features {', '.join(features)} "
                     "is the video? give ?video=NAME")
  return chosen[0]


def _number(name: str, text: str) -> float:
  try:
    value = float(text)
  except ValueError:
    value = 0
  if not 0.1 <= value <= 1000:
    raise ValueError(f"tfds:{name}?fps={text}: give frames per second")
  return value


def _pack(video: np.ndarray, fps: float, key: str) -> tuple[bytes, float]:
  """The bytes of a decoded video or image, and its frame rate."""
  video = video[None] if video.ndim == 3 else video
  if video.ndim == 4 and video.shape[-1] == 1:
    video = np.repeat(video, 3, -1)
  if video.dtype != np.uint8 or video.ndim != 4 or video.shape[-1] != 3 or (
      not video.size):
    raise stations.Reject(f"is {video.dtype} {video.shape}, no uint8 [T, H, W, 3]",
                       key)
  if len(video) > 1 and not fps:
    raise stations.Reject("names no frame rate: give ?fps=", key)
  return video_io.pack(video, fps or 8.0), fps

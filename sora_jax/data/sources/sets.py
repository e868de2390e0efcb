"""Data sets as sources: folders of `sora-jax prepare`, and those of TFDS.

  shards:DIR[?split=train]
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
import urllib.parse

import numpy as np
import tensorflow_datasets as tfds

from sora_jax import stations
from sora_jax.data.sources import items
from sora_jax.data.store import manifest as manifest_lib
from sora_jax.data.store import records
from sora_jax.media import video_io

CAPTIONS = ("captions", "caption", "text", "prompt")
VIDEO = ("video", "image")


@dataclasses.dataclass(frozen=True, eq=False)
class Shards:
  """The records of a folder of `prepare`.

  Attributes:
    rows: (manifest, index) of each item.
    files: a fingerprint.
  """

  rows: tuple
  files: str

  def __len__(self) -> int:
    return len(self.rows)

  def __getitem__(self, index: int) -> stations.Raw:
    manifest, i = self.rows[index]
    where = f"{manifest.split}-{i}"
    try:
      item = records.read(manifest, i)
    except (ValueError, RuntimeError, IndexError) as e:
      raise stations.Reject(" ".join(str(e).split())[:200], where) from e
    return stations.Raw(item.key, item.data, item.captions, item.facts, item.fps)


@dataclasses.dataclass(frozen=True, eq=False)
class Tfds:
  """The examples of a TFDS data set.

  Attributes:
    parts: (split, data source) ..
    video, caption: names of features; caption may be None.
    labels: the names of the caption's classes, where it is a ClassLabel.
    fps: of tensors, or None.
    files: a fingerprint.
  """

  parts: tuple
  video: str
  caption: str | None
  labels: tuple[str, ...]
  fps: float | None
  files: str

  def __len__(self) -> int:
    return sum(len(data) for _, data in self.parts)

  def __getitem__(self, index: int) -> stations.Raw:
    starts = np.cumsum([0, *(len(data) for _, data in self.parts)])
    part = int(np.searchsorted(starts, index, "right")) - 1
    split, data = self.parts[part]
    index -= int(starts[part])
    key = f"{split}-{index}"
    try:
      example = data[index]
      value = example[self.video]
    except Exception as e:  # whatever protobuf and TFDS raise
      raise stations.Reject("is no example: " + " ".join(str(e).split())[:200],
                         key) from e
    fps = float(np.asarray(example.get("fps", self.fps or 0)))
    if isinstance(value, bytes):
      file = value
    else:
      file, fps = _pack(np.asarray(value), fps, key)
    return stations.Raw(key, file, self._captions(example), fps=fps or None)

  def _captions(self, example) -> tuple[str, ...]:
    if self.caption is None:
      return ()
    value = example[self.caption]
    if self.labels:
      return items.clean([self.labels[int(value)].replace("_", " ")])
    values = [value] if isinstance(value, (bytes, str)) else list(value)
    return items.clean(v.decode("utf-8", "replace") if isinstance(v, bytes)
                       else v for v in values)


def prepared(text: str) -> Shards:
  """The source shards:DIR[?split=NAME]."""
  root, options = _options(text, ("split",))
  splits = [options["split"]] if "split" in options else list(
      manifest_lib.open_manifest(root).info["shards"])
  rows, digests = [], []
  for split in splits:
    manifest = manifest_lib.open_manifest(root, split)
    if manifest.info.get("kind") != "pixels":
      raise ValueError(f"shards:{root} holds {manifest.info.get('kind')}, not "
                       "clips: give a folder of sora-jax prepare")
    # A clip of a weighted mixture has several rows and one record.
    _, once = np.unique(manifest.entries[["shard", "record"]], return_index=True)
    rows += [(manifest, int(i)) for i in np.sort(once)]
    digests.append(manifest.digest)
  return Shards(tuple(rows), " ".join(digests))


def tfds_set(text: str) -> Tfds:
  """The source tfds:DIR or tfds:NAME.

  Raises:
    ValueError: not there, not readable by index, or without a video.
  """
  name, options = _options(text, ("split", "video", "caption", "fps"))
  root = name if os.path.isdir(name) else _find(name)
  try:
    builder = tfds.builder_from_directory(root)
    splits = [options["split"]] if "split" in options else sorted(
        builder.info.splits)
    parts = tuple((s, builder.as_data_source(s)) for s in splits)
  except Exception as e:  # TFDS raises many kinds
    raise ValueError(
        f"tfds:{name}: {' '.join(str(e).split())[:200]} (it must be stored as "
        "array_record: tfds build --file_format=array_record)") from e
  features = builder.info.features
  video = options.get("video") or _video(name, features)
  caption = options.get("caption") or next(
      (k for k in CAPTIONS if k in features),
      next((k for k, f in features.items()
            if isinstance(f, tfds.features.ClassLabel)), None))
  for key in filter(None, (video, caption)):
    if key not in features:
      raise ValueError(f"tfds:{name} has no feature {key!r}; it has "
                       f"{', '.join(features)}")
  labels = getattr(features[caption], "names", None) if caption else None
  fps = _number(name, options["fps"]) if "fps" in options else None
  about = [(s, len(data)) for s, data in parts]
  return Tfds(parts, video, caption, tuple(labels or ()), fps,
              f"{text} {about} {builder.info.full_name}")


def _options(text: str, known) -> tuple[str, dict]:
  """'DIR?split=train' to ('DIR', {'split': 'train'})."""
  name, _, query = text.partition("?")
  options = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
  for key in options:
    if key not in known:
      raise ValueError(f"{text}: there is no option {key!r}; there are "
                       f"{', '.join(known)}")
  return name, options


def _find(name: str) -> str:
  """The folder of the newest version of a prepared data set."""
  home = os.environ.get("TFDS_DATA_DIR") or os.path.expanduser(
      os.path.join("~", "tensorflow_datasets"))
  name, _, version = name.partition(":")
  found = []
  for base, _, files in os.walk(os.path.join(home, *name.split("/"))):
    if "dataset_info.json" in files and (
        not version or os.path.basename(base) == version):
      found.append(base)
  if not found:
    raise ValueError(f"tfds:{name} is neither a folder nor prepared in {home}: "
                     f"run `tfds build {name} --file_format=array_record`")
  number = lambda path: [int(n) if n.isdigit() else -1
                         for n in os.path.basename(path).split(".")]
  return max(found, key=number)


def _video(name: str, features) -> str:
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

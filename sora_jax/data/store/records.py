"""The records of prepared clips, in the format that TFDS reads.

One record is a tf.train.Example with the fields of `features`; TFDS writes and
parses it without TensorFlow, and `tfds.builder_from_directory(folder)
.as_data_source("train")` gives the same dicts to anyone.
"""

import functools
import os

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core import example_serializer

from sora_jax import stations
from sora_jax.data.store import manifest as manifest_lib


@functools.cache
def features() -> tfds.features.FeaturesDict:
  """The fields of a record."""
  return tfds.features.FeaturesDict({
      "key": tfds.features.Text(doc="unique within the data set"),
      "video": tfds.features.Tensor(
          shape=(), dtype=np.bytes_, doc="bytes of a video or image file"),
      "captions": tfds.features.Sequence(
          tfds.features.Text(), doc="short first, then descriptive"),
      "facts": tfds.features.Text(doc="JSON of the ground truth, or empty"),
      "frames": np.int32, "height": np.int32, "width": np.int32,
      "fps": np.float32})


def encode(item: stations.Item) -> bytes:
  """The record of an item, the same bytes in every process.

  The fields of an Example are a map, whose order protobuf draws anew in every
  process where it is not asked for one, and TFDS does not ask.
  """
  example = _serializer().get_tf_example(features().encode_example({
      "key": item.key, "video": item.data, "captions": list(item.captions),
      "facts": item.facts, "frames": item.frames, "height": item.height,
      "width": item.width, "fps": item.fps}))
  return example.SerializeToString(deterministic=True)


@functools.cache
def _serializer() -> example_serializer.ExampleSerializer:
  return example_serializer.ExampleSerializer(features().get_serialized_info())


def decode(record: bytes) -> stations.Item:
  """The item of a record.

  Raises:
    ValueError: not such a record.
  """
  try:
    d = features().deserialize_example_np(record)
  except Exception as e:  # protobuf and TFDS raise many kinds
    raise ValueError("is no record of a prepared clip: "
                     + " ".join(str(e).split())[:200]) from e
  return stations.Item(
      key=d["key"].decode(), data=d["video"], facts=d["facts"].decode(),
      captions=tuple(c.decode() for c in d["captions"]),
      frames=int(d["frames"]), height=int(d["height"]), width=int(d["width"]),
      fps=float(d["fps"]))


def entry(item: stations.Item) -> tuple:
  """The manifest fields of an item after shard and record."""
  return (item.frames, item.height, item.width, item.fps,
          len(item.captions[0].split()))


def read(manifest: manifest_lib.Manifest, index: int) -> stations.Item:
  """Item `index` of a prepared data set."""
  return decode(manifest.record(index))


def write_tfds(root: str | os.PathLike, info: dict) -> None:
  """Adds the files by which TFDS knows a finished folder."""
  template = tfds.core.ShardedFileTemplate(
      data_dir=root, dataset_name="sora", filetype_suffix="array_record",
      template="{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}")
  source, splits = info["source"], []
  source = source if isinstance(source, str) else " ".join(source)
  for split, count in info["shards"].items():
    entries = np.load(os.path.join(root, f"{split}.npy"), allow_pickle=False)
    size = sum(os.path.getsize(os.path.join(root, manifest_lib.shard_name(
        split, i, count))) for i in range(count))
    lengths = np.zeros(count, int)
    np.maximum.at(lengths, entries["shard"], entries["record"] + 1)
    splits.append(tfds.core.SplitInfo(
        name=split, num_bytes=size, filename_template=template,
        shard_lengths=lengths.tolist()))
  tfds.folder_dataset.write_metadata(
      data_dir=root, features=features(), split_infos=splits,
      check_data=False, description=f"{source}, by sora-jax prepare")

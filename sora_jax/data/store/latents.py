"""Cached latents: one safetensors record per clip, shared by writer and reader.

A record holds float16 latents, normalised per channel:

  z [t, h, w, C]              the whole clip, the posterior mean
  suffix_c [t - c, h, w, C]   latents c .. t - 1, 1 <= c < t, encoded without
                              seeing what comes before (geometry/frames.py)
  keyframe_f [1, h, w, C]     frame f encoded as a video of one frame
  masked [t, h, w, C]         the clip with a region of it blanked

and the captions, fps, valid (T, H, W) and region as JSON in the metadata. The
entry of the manifest says which suffixes, keyframes and region there are and
how many tokens the captions have, which is all that planning needs. The folder
is laid out as in shards.py.
"""

import dataclasses
import json
import os
import shutil

import numpy as np
import safetensors
import safetensors.numpy

from sora_jax import files
from sora_jax.data.store import old_names
from sora_jax.data.store import shards
from sora_jax.text import tokenizer as tokenizer_lib

MOST = 4  # suffixes of a record, and keyframes
CAPTIONS = 2  # that training chooses from: the short and the descriptive one
LATENTS = np.dtype([
    ("shard", np.int32), ("record", np.int32), ("t", np.int32),
    ("h", np.int32), ("w", np.int32), ("frames", np.int32),
    ("height", np.int32), ("width", np.int32), ("fps", np.float32),
    ("suffix_starts", np.int32, (MOST,)), ("keyframes", np.int32, (MOST,)),
    ("region", np.int32, (6,)), ("text_tokens", np.int32, (CAPTIONS,))])


@dataclasses.dataclass(frozen=True)
class Record:
  """The latents of a clip.

  Attributes:
    z: [t, h, w, C], h and w a multiple of the patch.
    captions: the short one first, then the descriptive one if there is one.
    fps: frames per second.
    size: valid (T, H, W) in frames and pixels.
    suffixes: first latent c -> [t - c, h, w, C].
    keyframes: frame -> [1, h, w, C].
    region: t0, t1, y0, y1, x0, x1 in tokens, what was blanked; or None.
    masked: as z, of the clip with the region blanked; or None.
  """

  z: np.ndarray
  captions: tuple[str, ...]
  fps: float
  size: tuple[int, int, int]
  suffixes: dict[int, np.ndarray] = dataclasses.field(default_factory=dict)
  keyframes: dict[int, np.ndarray] = dataclasses.field(default_factory=dict)
  region: tuple[int, ...] | None = None
  masked: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Extras:
  """What is stored of a clip besides the whole.

  Attributes:
    suffixes: how many of its ends, each encoded without what is before it.
    keyframes: how many of its frames, each encoded as a video of one frame.
    regions: whether a clip is stored with a region of it blanked, too.
  """

  suffixes: int = 2
  keyframes: int = 2
  regions: bool = True

  def __post_init__(self):
    if max(self.suffixes, self.keyframes) > MOST:
      raise ValueError(f"{self.suffixes} suffixes and {self.keyframes} keyframes "
                       f"of a clip; at most {MOST} of each can be stored")


def describe(source: dict, vae: str, stride: tuple[int, int, int],
             patch: tuple[int, int, int], channels: int, seed: int,
             extras: Extras) -> dict:
  """dataset.json of latents, before they are written.

  Args:
    source: dataset.json of the prepared data.
    vae: digest of the model that encodes.
    stride: (time, height, width) of the VAE.
    patch: of the tokens; sizes are padded to stride x patch.
    channels: of the latents.
    seed: of the suffixes, keyframes and regions.
    extras: what is stored besides the whole.
  """
  data = {k: source[k] for k in ("source", "options", "seed", "tokenizer",
                                 "vocab_size") if k in source}
  return {"kind": "latents", "vae": vae, "stride": list(stride),
          "patch": list(patch), "channels": channels, "latent_seed": seed,
          **dataclasses.asdict(extras), **data}


def start(out: str | os.PathLike, data: str | os.PathLike,
          info: dict) -> dict | None:
  """Makes the folder `out` ready for write_shard, with the tokenizer of `data`.

  Returns:
    dataset.json if `out` is finished, else None.

  Raises:
    ValueError: `out` holds another data set.
  """
  done = shards.start(out, info)
  if done is None:
    shutil.copyfile(os.path.join(data, "tokenizer.model"),
                    os.path.join(out, "tokenizer.model"))
  return done


def encode(record: Record) -> bytes:
  """The bytes of a record."""
  named = {"z": record.z,
           **{f"suffix_{c}": z for c, z in record.suffixes.items()},
           **{f"keyframe_{f}": z for f, z in record.keyframes.items()}}
  if record.masked is not None:
    named["masked"] = record.masked
  half = {k: np.ascontiguousarray(z, np.float16) for k, z in named.items()}
  return safetensors.numpy.save(half, {"record": json.dumps({
      "captions": record.captions, "fps": float(record.fps),
      "size": [int(n) for n in record.size],
      "region": record.region and [int(n) for n in record.region]})})


def decode(data: bytes) -> Record:
  """The record of its bytes; arrays are float16.

  Raises:
    ValueError: not such a record.
  """
  try:
    about = _about(data)
    named = {old_names.array(k): z
             for k, z in safetensors.numpy.load(data).items()}
    numbered = lambda name: {int(k.removeprefix(name)): z
                             for k, z in named.items() if k.startswith(name)}
    return Record(
        z=named["z"], captions=tuple(about["captions"]),
        fps=float(about["fps"]), size=tuple(about["size"]),
        suffixes=numbered("suffix_"), keyframes=numbered("keyframe_"),
        region=about["region"] and tuple(about["region"]),
        masked=named["masked"] if about["region"] else None)
  except (ValueError, KeyError, TypeError, AttributeError,
          safetensors.SafetensorError) as e:
    raise ValueError("is no record of latents: "
                     + " ".join(str(e).split())[:200]) from e


def captions_of(data: bytes) -> tuple[str, ...]:
  """The captions of a record; its arrays are not looked at.

  Raises:
    ValueError: not such a record.
  """
  try:
    return tuple(map(str, _about(data)["captions"]))
  except (ValueError, KeyError, TypeError, AttributeError) as e:
    raise ValueError("is no record of latents: "
                     + " ".join(str(e).split())[:200]) from e


def _about(data: bytes) -> dict:
  """What a record says beside its arrays, in the names of this format."""
  size = int.from_bytes(data[:8], "little")
  about = files.parse_json(files.parse_json(
        data[8:8 + size])["__metadata__"]["record"])
  return {old_names.FIELDS.get(k, k): x for k, x in about.items()}


def entry(record: Record, tokenizer: tokenizer_lib.Tokenizer) -> tuple:
  """The fields of LATENTS after shard and record.

  Raises:
    ValueError: shapes that do not fit together, or values that are not finite.
  """
  t, h, w, _ = record.z.shape
  if not np.isfinite(np.asarray(record.z, np.float32)).all():
    raise ValueError("has latents that are not finite")
  for c, z in record.suffixes.items():
    if not 1 <= c < t or z.shape != (t - c, *record.z.shape[1:]):
      raise ValueError(f"has a suffix {z.shape} from latent {c} of "
                       f"{record.z.shape}")
  for f, z in record.keyframes.items():
    if not 0 <= f < record.size[0] or z.shape != (1, *record.z.shape[1:]):
      raise ValueError(f"has a keyframe {z.shape} of frame {f}")
  if record.masked is not None and record.masked.shape != record.z.shape:
    raise ValueError(f"has masked latents {record.masked.shape} of "
                     f"{record.z.shape}")
  fill = lambda keys: tuple((sorted(keys) + [-1] * MOST)[:MOST])
  counts = [len(tokenizer.processor.encode(c)) + 1 for c in record.captions]
  counts = (counts + counts[:1] * CAPTIONS)[:CAPTIONS]
  return (t, h, w, *record.size, record.fps, fill(record.suffixes),
          fill(record.keyframes), record.region or (-1,) * 6, tuple(counts))

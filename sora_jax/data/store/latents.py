"""Cached latents: one safetensors record per clip, shared by writer and reader.

A record holds float16 latents, normalised per channel:

  z [t, h, w, C]            the whole clip, the posterior mean
  tail_c [t - c, h, w, C]   latents c .. t - 1, 1 <= c < t, encoded without
                            seeing what is before frame stride (c - 1) + 1
  still_f [1, h, w, C]      frame f encoded as a video of one frame
  blind [t, h, w, C]        the clip with a box of it blanked

and the captions, fps, valid (T, H, W) and box as JSON in the metadata. The
manifest row says which tails, stills and box there are and how many tokens the
captions have, which is all that planning needs. The folder is laid out as in
shards.py.
"""

import dataclasses
import json
import os
import shutil

import numpy as np
import safetensors
import safetensors.numpy

from sora_jax.data.store import shards
from sora_jax.text import tokenizer as tokenizer_lib

MOST = 4  # tails and stills of a record
CAPTIONS = 2  # that training chooses from: the short and the descriptive one
LATENTS = np.dtype([
    ("shard", np.int32), ("record", np.int32), ("t", np.int32),
    ("h", np.int32), ("w", np.int32), ("frames", np.int32),
    ("height", np.int32), ("width", np.int32), ("fps", np.float32),
    ("cuts", np.int32, (MOST,)), ("stills", np.int32, (MOST,)),
    ("box", np.int32, (6,)), ("text", np.int32, (CAPTIONS,))])


@dataclasses.dataclass(frozen=True)
class Record:
  """The latents of a clip.

  Attributes:
    z: [t, h, w, C], h and w a multiple of the patch.
    captions: the short one first, then the descriptive one if there is one.
    fps: frames per second.
    size: valid (T, H, W) in frames and pixels.
    tails: cut c -> [t - c, h, w, C].
    stills: frame -> [1, h, w, C].
    box: t0, t1, y0, y1, x0, x1 in tokens, what was blanked; or None.
    blind: as z, of the clip with the box blanked; or None.
  """

  z: np.ndarray
  captions: tuple[str, ...]
  fps: float
  size: tuple[int, int, int]
  tails: dict[int, np.ndarray] = dataclasses.field(default_factory=dict)
  stills: dict[int, np.ndarray] = dataclasses.field(default_factory=dict)
  box: tuple[int, ...] | None = None
  blind: np.ndarray | None = None


def describe(source: dict, vae: str, stride, patch, channels: int, seed: int,
             tails: int, stills: int, boxes: bool) -> dict:
  """dataset.json of latents, before they are written.

  Args:
    source: dataset.json of the prepared data.
    vae: digest of the model that encodes.
    stride: (time, height, width) of the VAE.
    patch: of the tokens; sizes are padded to stride x patch.
    channels: of the latents.
    seed: of cuts and stills.
    tails: tails stored of a clip.
    stills: frames stored of a clip.
    boxes: whether a clip is stored with a box blanked too.
  """
  if max(tails, stills) > MOST:
    raise ValueError(f"{tails} tails and {stills} stills of a clip; at most "
                     f"{MOST} of each can be stored")
  data = {k: source[k] for k in ("source", "options", "seed", "tokenizer",
                                 "vocab_size") if k in source}
  return {"kind": "latents", "vae": vae, "stride": list(stride),
          "patch": list(patch), "channels": channels, "latent_seed": seed,
          "tails": tails, "stills": stills, "boxes": boxes, **data}


def begin(out, data, info: dict) -> dict | None:
  """Makes the folder `out` ready for write_shard, with the tokenizer of `data`.

  Returns:
    dataset.json if `out` is finished, else None.

  Raises:
    ValueError: `out` holds another data set.
  """
  done = shards.begin(out, info)
  if done is None:
    shutil.copyfile(os.path.join(data, "tokenizer.model"),
                    os.path.join(out, "tokenizer.model"))
  return done


def encode(record: Record) -> bytes:
  """The bytes of a record."""
  named = {"z": record.z, **{f"tail_{c}": z for c, z in record.tails.items()},
           **{f"still_{f}": z for f, z in record.stills.items()}}
  if record.box:
    named["blind"] = record.blind
  half = {k: np.ascontiguousarray(z, np.float16) for k, z in named.items()}
  return safetensors.numpy.save(half, {"record": json.dumps({
      "captions": record.captions, "fps": float(record.fps),
      "size": [int(n) for n in record.size],
      "box": record.box and [int(n) for n in record.box]})})


def decode(data: bytes) -> Record:
  """The record of its bytes; arrays are float16.

  Raises:
    ValueError: not such a record.
  """
  try:
    size = int.from_bytes(data[:8], "little")
    about = json.loads(json.loads(data[8:8 + size])["__metadata__"]["record"])
    named = safetensors.numpy.load(data)
    part = lambda name: {int(k.removeprefix(name)): z for k, z in named.items()
                         if k.startswith(name)}
    return Record(z=named["z"], captions=tuple(about["captions"]),
                  fps=float(about["fps"]), size=tuple(about["size"]),
                  tails=part("tail_"), stills=part("still_"),
                  box=about["box"] and tuple(about["box"]),
                  blind=named["blind"] if about["box"] else None)
  except (ValueError, KeyError, TypeError, safetensors.SafetensorError) as e:
    raise ValueError("is no record of latents: "
                     + " ".join(str(e).split())[:200]) from e


def row(record: Record, tokenizer: tokenizer_lib.Tokenizer) -> tuple:
  """The fields of LATENTS after shard and record.

  Raises:
    ValueError: shapes that do not fit together, or values that are not finite.
  """
  t, h, w, _ = record.z.shape
  if not np.isfinite(np.asarray(record.z, np.float32)).all():
    raise ValueError("has latents that are not finite")
  for c, z in record.tails.items():
    if not 1 <= c < t or z.shape != (t - c, *record.z.shape[1:]):
      raise ValueError(f"has a tail {z.shape} at cut {c} of {record.z.shape}")
  for f, z in record.stills.items():
    if not 0 <= f < record.size[0] or z.shape != (1, *record.z.shape[1:]):
      raise ValueError(f"has a still {z.shape} of frame {f}")
  if record.box and record.blind.shape != record.z.shape:
    raise ValueError(f"has a blanked clip {record.blind.shape} of "
                     f"{record.z.shape}")
  fill = lambda keys: tuple((sorted(keys) + [-1] * MOST)[:MOST])
  counts = [len(tokenizer.processor.encode(c)) + 1 for c in record.captions]
  counts = (counts + counts[:1] * CAPTIONS)[:CAPTIONS]
  return (t, h, w, *record.size, record.fps, fill(record.tails),
          fill(record.stills), record.box or (-1,) * 6, tuple(counts))

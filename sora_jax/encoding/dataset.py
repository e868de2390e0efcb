"""Caches the latents of a data set, so that the transformer trains from them.

A shard is the unit of work: clips are decoded a batch ahead (decode_batches),
what is stored of each is chosen (parts) and encoded together (batches).
"""

from collections.abc import Callable, Iterator
from concurrent import futures
import dataclasses
import functools
import os

import numpy as np

from sora_jax import stations
from sora_jax.data.store import captions_carry
from sora_jax.data.store import latents
from sora_jax.data.store import manifest as manifest_lib
from sora_jax.data.store import shards
from sora_jax.encoding import batches as batches_lib
from sora_jax.encoding import decode_batches
from sora_jax.encoding import parts as parts_lib
from sora_jax.formats import pretrained
from sora_jax.geometry import sizes as sizes_lib
from sora_jax.models.vae import vae as vae_lib
from sora_jax.text import tokenizer as tokenizer_lib

Shard = tuple[str, int]  # split and number


def encode(model: pretrained.Model, data: str | os.PathLike,
           out: str | os.PathLike, *, seed: int = 0,
           extras: latents.Extras | None = None, batch: int = 16,
           policy: sizes_lib.ResizePolicy | None = None,
           part: tuple[int, int] | None = None,
           report: Callable[[float, int], None] = lambda done, total: None
           ) -> dict | None:
  """Writes the latents of every split of a prepared data set.

  Goes on where it was stopped: a shard is the unit of work. Captions that
  `caption` wrote of the data set are taken along, by a later call too.

  Args:
    model: the model folder whose VAE encodes.
    data: a folder of `prepare`.
    out: the folder to write.
    seed: of the suffixes, keyframes and regions.
    extras: what is stored of a clip besides the whole; all of it by default.
    batch: videos encoded at once.
    policy: the sizes that clips are encoded at; their own by default.
    part: (i, n): only every n-th shard from the i-th on, 0 <= i < n, for n
      processes side by side; a call without it finishes the data set.
    report: called with (clips done, clips in all), at once and after every
      program that has run; the first may be a fraction.

  Returns:
    dataset.json of the latents; None for a part.

  Raises:
    ValueError: no data set of clips, `out` holds the latents of another one, or
      no clip can be encoded.
  """
  extras, policy = extras or latents.Extras(), policy or sizes_lib.ResizePolicy()
  manifests = {split: manifest_lib.open_manifest(data, split)
               for split in manifest_lib.open_manifest(data).info["shards"]}
  for split_of in manifests.values():
    manifest_lib.require(split_of, "pixels")
  stride = vae_lib.stride(model.vae.module)
  stored = manifest_lib.read_info(out) or {}
  # A set that an older version began names the whole folder.
  vae = (model.digest if stored.get("vae") == model.digest else
         model.vae_digest)
  info = latents.describe(manifests["train"].info, vae, stride,
                          model.patch, model.vae.module.z, seed, extras)
  sizes = np.concatenate([manifest_lib.sizes(m.entries)
                          for m in manifests.values()])
  info["resized"] = None if policy == sizes_lib.ResizePolicy() else {
      **dataclasses.asdict(policy),
      **sizes_lib.resize_report(sizes, policy, stride, model.patch)}
  if (done := latents.start(out, data, info)) is not None:
    captions_carry.carry(data, out)
    return done
  batches = batches_lib.batches_for(model, batches_lib.frames_by_size(
      sizes_lib.resized_all(sizes, policy, stride, model.patch)), batch)
  tokenizer = tokenizer_lib.of(manifests["train"])
  todo = [(split, shard) for split, m in manifests.items()
          for shard in range(m.info["shards"][split])]
  todo = todo[part[0]::part[1]] if part else todo
  clips = {(split, shard): found for split, m in manifests.items()
           for shard, found in enumerate(decode_batches.by_shard(m))}
  missing = [shard for shard in todo if not shards.is_written(out, *shard)]
  size = lambda some: sum(int(times.sum()) for shard in some
                          for _, times in clips[shard])
  total = size(todo)
  count = total - size(missing)
  report(count, total)
  with futures.ThreadPoolExecutor() as pool:
    decoded = decode_batches.decode(
        pool, [(manifests[shard[0]], *found) for shard in missing
               for found in clips[shard]], policy, stride, model.patch)

    def part_done(before: int, here: int, share: float) -> None:
      report(before + share * here, total)

    def records(shard: Shard, rejects: list[stations.Rejected]) -> Iterator:
      nonlocal count
      for (_, times), found in zip(clips[shard], decoded):
        here = int(times.sum())
        share = functools.partial(part_done, count, here)
        for record, times_of in _records(batches, found, seed, extras, rejects,
                                         share):
          yield latents.encode(record), latents.entry(record, tokenizer), times_of
        count += here
        report(count, total)

    for shard in missing:
      rejects: list[stations.Rejected] = []
      shards.write_shard(out, *shard, records(shard, rejects), latents.LATENTS,
                         rejects)
  if part:
    return None
  counts = {split: m.info["shards"][split] for split, m in manifests.items()}
  info = shards.collect(out, counts, info)
  if not info["clips"].get("train"):
    raise ValueError(
        f"0 training clips of {data} could be encoded, {info['rejected']} were "
        f"rejected, see {out}/rejects.jsonl: mend the data and give a new folder")
  info = shards.finish(out, info)
  captions_carry.carry(data, out)
  return info


def _records(batches: batches_lib.Batches,
             found: list[decode_batches.DecodedClip | stations.Rejected],
             seed: int, extras: latents.Extras, rejects: list,
             report: Callable[[float], None]
             ) -> Iterator[tuple[latents.Record, int]]:
  """Yields the records of decoded clips, and how often each is listed.

  `report` is called with the share of the clips that is encoded.
  """
  model = batches.model
  stride = vae_lib.stride(model.vae.module)
  rejects += [clip for clip in found if isinstance(clip, stations.Rejected)]
  parts = [parts_lib.of_clip(clip, seed, extras, stride, model.patch)
           for clip in found if not isinstance(clip, stations.Rejected)]
  videos = [v for part in parts for v in part.videos]
  z = iter(batches.encode(videos, lambda done: report(done / len(videos))))
  for part in parts:
    yield part.record([next(z) for _ in part.videos]), part.clip.times

"""Turns a source into a data set on disk: shards, manifest, tokenizer.

Worker processes each write whole shards; a run that stops is carried on by the
same call, which skips the shards that are there. The folder is described in
shards.py; TFDS reads it too (records.py).
"""

from concurrent import futures
import dataclasses
import multiprocessing
import os

import numpy as np
import tqdm

from sora_jax.data import records
from sora_jax.data import shards
from sora_jax.data import sources
from sora_jax.data import tokenizer

SHARD = 256  # items of a shard
MAX_CAPTIONS = 100_000  # that the tokenizer is trained on


@dataclasses.dataclass(frozen=True)
class Job:
  """All that decides the content of a data set.

  Attributes:
    source: see sources.items.
    options: of worlds.
    test_share: the share of items that only the split test holds.
    seed: of the division into splits.
    shard: items of a shard.
    vocab: ids of the tokenizer, at most.
  """

  source: str
  options: sources.WorldOptions
  test_share: float = 0.05
  seed: int = 0
  shard: int = SHARD
  vocab: int = 512


def prepare(source: str, out, options: sources.WorldOptions | None = None,
            test_share: float = 0.05, workers: int | None = None,
            shard: int = SHARD, vocab: int = 512, quiet: bool = False) -> dict:
  """Writes the data set `out`; finishes an interrupted one.

  Args:
    source: "world:NAME[,NAME]" or "folder:DIR".
    out: the folder to write.
    options: of worlds, with the seed that also divides the splits.
    test_share: in [0, 1).
    workers: processes; 0 works in this one; all cores by default.
    shard: items of a shard.
    vocab: the most ids of the tokenizer.
    quiet: no progress bar.

  Returns:
    dataset.json: source, clips and shards per split, rejected, tokenizer.

  Raises:
    ValueError: an unknown or empty source, nothing left in it, or a folder
      that holds another data set.
  """
  options = options or sources.WorldOptions()
  if not 0 <= test_share < 1:
    raise ValueError(f"test_share is {test_share:g}; it must be in [0, 1)")
  job = Job(source, options, test_share, options.seed, shard, vocab)
  items = sources.items(source, options)
  if not len(items):
    raise ValueError(f"{source} holds 0 clips: nothing to prepare")
  out = os.fspath(out)
  description = {"kind": "pixels", **dataclasses.asdict(job),
                 "items": len(items)}
  if (done := shards.begin(out, description)) is not None:
    return done
  parts = _divide(len(items), job)
  _write_all(out, job, parts, workers, quiet)
  return _finish(out, job, parts, description)


def _divide(count: int, job: Job) -> dict[tuple[str, int], np.ndarray]:
  """The item indices of each (split, shard), in a seeded order."""
  order = np.random.default_rng([job.seed, 7]).permutation(count)
  test = round(count * job.test_share)
  if job.test_share and count > 1:
    test = min(max(test, 1), count - 1)
  parts = {}
  for split, indices in (("train", order[test:]), ("test", order[:test])):
    for i in range(-(-len(indices) // job.shard)):
      parts[split, i] = indices[i * job.shard:(i + 1) * job.shard]
  return parts


def _write_all(out, job, parts, workers, quiet):
  """Writes the shards that are missing, in parallel."""
  todo = [p for p in parts if not shards.is_written(out, *p)]
  total = sum(len(x) for x in parts.values())
  left = sum(len(parts[p]) for p in todo)
  bar = tqdm.tqdm(total=total, initial=total - left, unit="clip",
                  disable=quiet, desc=f"prepare {job.source}")
  workers = os.cpu_count() if workers is None else workers
  with bar:
    if workers == 0 or len(todo) <= 1:
      for p in todo:
        bar.update(_write(out, job, *p, parts[p]))
      return
    context = multiprocessing.get_context("spawn")
    with futures.ProcessPoolExecutor(min(workers, len(todo)), context) as pool:
      jobs = [pool.submit(_write, out, job, *p, parts[p]) for p in todo]
      try:
        for done in futures.as_completed(jobs):
          bar.update(done.result())
      except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise


def _write(out: str, job: Job, split: str, shard: int,
           indices: np.ndarray) -> int:
  """Writes one shard; runs in a worker process."""
  items = sources.items(job.source, job.options)
  rejects = []

  def each():
    for i in indices:
      try:
        item = items[int(i)]
      except sources.Reject as e:
        rejects.append({"item": int(i), "key": items.rows[i][3],
                        "reason": str(e)})
        continue
      yield records.encode(item), records.row(item)

  shards.write_shard(out, split, shard, each(), shards.PIXELS, rejects)
  return len(indices)


def _finish(out, job, parts, description) -> dict:
  """Names the shards, trains the tokenizer, writes the metadata."""
  counts = {split: sum(s == split for s, _ in parts) for split in shards.SPLITS}
  info = shards.collect(out, counts, description)
  if not info["clips"].get("train"):
    raise ValueError(
        f"{job.source} leaves 0 training clips of {description['items']} items "
        f"({info['rejected']} rejected, see {out}/rejects.jsonl)")
  train = shards.Manifest(out, "train", np.load(
      os.path.join(out, "train.npy"), allow_pickle=False), info)
  step = max(1, len(train) // MAX_CAPTIONS)
  texts = (c for i in range(0, len(train), step)
           for c in records.read(train, i).captions)
  tok = tokenizer.train(texts, os.path.join(out, "tokenizer.model"), job.vocab)
  records.write_tfds(out, info)
  return shards.finish(out, {**info, "tokenizer": tok.digest,
                             "vocab_size": tok.vocab_size})

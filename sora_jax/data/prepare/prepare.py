"""Turns sources into a data set on disk: shards, manifest, tokenizer, report.

Two passes, both over all cores and both in parts that are written aside and
renamed, so that a run that stops is carried on by the same call:

  survey   every file is decoded once and measured (survey.py); then filters.py
           decides what is kept, over all files at once
  write    each shard copies its clips, or cuts and re-codes those that cannot
           stay as they are (clips.py)

Rendered worlds skip the survey. The folder is described in shards.py and
docs/data.md; TFDS reads it too (records.py).
"""

import collections
import dataclasses
import functools
import os

import numpy as np
import tqdm

from sora_jax import stations
from sora_jax.data.prepare import filters
from sora_jax.data.prepare import fingerprint
from sora_jax.data.prepare import report_page
from sora_jax.data.prepare import runners
from sora_jax.data.prepare import scans
from sora_jax.data.prepare import transcode
from sora_jax.data.sources import mixture
from sora_jax.data.sources import world
from sora_jax.data.store import manifest
from sora_jax.data.store import records
from sora_jax.data.store import shards
from sora_jax.text import tokenizer

SHARD = 256  # items of a shard
MAX_CAPTIONS = 100_000  # that the tokenizer is trained on


@dataclasses.dataclass(frozen=True)
class Job:
  """All that decides the content of a data set.

  Attributes:
    source: see sources.items; several are a mixture.
    options: of worlds.
    test_share: the share of items that only the split test holds.
    seed: of the division into splits.
    shard: items of a shard.
    vocab: ids of the tokenizer, at most.
    rules: of what is kept.
    cuts: whether files are cut into shots.
    piece_seconds: of the pieces of longer videos and shots; 0 is never.
  """

  source: str | tuple[str, ...]
  options: world.WorldOptions
  test_share: float = 0.05
  seed: int = 0
  shard: int = SHARD
  vocab: int = 512
  rules: filters.Rules = filters.Rules()
  cuts: bool = False
  piece_seconds: float = 0.0

  def describe(self, exact: bool) -> dict:
    """What dataset.json says; worlds are neither filtered nor cut."""
    fields = {"kind": "pixels", **dataclasses.asdict(self)}
    looks = ("rules", "cuts", "piece_seconds") if exact else ()
    return {k: v for k, v in fields.items() if k not in looks}


def prepare(source, out, options: world.WorldOptions | None = None,
            test_share: float = 0.05, workers: int | None = None,
            shard: int = SHARD, vocab: int = 512, quiet: bool = False, *,
            rules: filters.Rules | None = None, cuts: bool = False,
            piece_seconds: float = 0.0, dry_run: bool = False,
            beam: tuple[str, ...] | None = None) -> dict:
  """Writes the data set `out`; finishes an interrupted one.

  Args:
    source: "[WEIGHT*]KIND:REST", see sources.py, or several of them.
    out: the folder to write.
    options: of worlds, with the seed that also divides the splits.
    test_share: in [0, 1).
    workers: processes; 0 works in this one; all cores by default.
    shard: items of a shard.
    vocab: the most ids of the tokenizer.
    quiet: no progress bar.
    rules: of what is kept.
    cuts: cut files into shots (needs the extra `data`).
    piece_seconds: the longest that the equal pieces of a video or shot may be;
      0 leaves all whole.
    dry_run: survey and report only; the survey is kept for the run itself.
    beam: flags of Apache Beam, which then runs the work.

  Returns:
    dataset.json: source, clips and shards per split, rejected, tokenizer; of a
    dry run what it would keep, without shards.

  Raises:
    ValueError: an unknown or empty source, nothing left in it, a folder that
      lies in the source or holds another data set, or a finished one whose
      source has changed.
  """
  options = options or world.WorldOptions()
  if not 0 <= test_share < 1:
    raise ValueError(f"test_share is {test_share:g}; it must be in [0, 1)")
  source = source if isinstance(source, str) else tuple(source)
  source = source[0] if len(source) == 1 else source
  job = Job(source, options, test_share, options.seed, shard, vocab,
            rules or filters.Rules(), cuts, piece_seconds)
  mixture.mix.cache_clear()  # the files may be others than at the last call
  items = mixture.mix(source, options)
  if not len(items):
    raise ValueError(f"{_name(job)} holds 0 clips: nothing to prepare")
  out, exact = os.fspath(out), items.exact
  if around := items.around(out):
    raise ValueError(f"{out} lies in {around}, where what is written "
                     "would be read as clips: give a folder outside of it")
  description = {**job.describe(exact.all()), "items": len(items)}
  if (done := shards.check(out, description)) is not None:
    fingerprint.check(out, items.fingerprint)
    return done
  run = functools.partial(_run, workers, quiet, beam)
  clips, rejects = scans.look(
      out, job, items, functools.partial(run, f"survey {_name(job)}"))
  summary = _summary(items, clips, rejects)
  if dry_run or not clips:
    shards.write_rejects(out, rejects)
    report_page.write(out, {**description, **summary}, clips, rejects)
  if not clips:
    raise _nothing(out, job, description, len(rejects))
  if dry_run:
    return summary
  shards.begin(out, description)
  fingerprint.begin(out, items.fingerprint)
  parts = _divide(clips, job)
  counts = {split: sum(s == split for s, _ in parts) for split in shards.SPLITS}
  todo = [(*p, parts[p]) for p in parts if not shards.is_written(out, *p)]
  run(f"prepare {_name(job)}", functools.partial(_write, out, job), todo,
      sum(len(p) for p in parts.values()), sum(len(t[2]) for t in todo))
  return _finish(out, job, counts, description, clips, rejects, summary)


def _name(job: Job) -> str:
  return job.source if isinstance(job.source, str) else " ".join(job.source)


def _run(workers, quiet, beam, title: str, call, tasks: list, total: int,
         left: int) -> None:
  """Runs tasks with a progress bar of clips, `left` of `total` to do."""
  with tqdm.tqdm(total=total, initial=total - left, unit="clip", desc=title,
                 disable=quiet or not tasks) as bar:
    runners.run(call, tasks, workers, lambda n: bar.update(
        total - bar.n if n is None else n), beam)


def _divide(clips: list[dict], job: Job) -> dict[tuple[str, int], list]:
  """The clips of each (split, shard), in a seeded order.

  All clips of a file go into the same split.
  """
  units = collections.defaultdict(list)
  for clip in clips:
    units[clip["item"]].append({k: v for k, v in clip.items()
                                if k not in ("thumb", "caption")})
  units = list(units.values())
  order = np.random.default_rng([job.seed, 7]).permutation(len(units))
  test = round(len(units) * job.test_share)
  if job.test_share and len(units) > 1:
    test = min(max(test, 1), len(units) - 1)
  parts = {}
  for split, indices in (("train", order[test:]), ("test", order[:test])):
    found = [clip for i in indices for clip in units[i]]
    for i in range(-(-len(found) // job.shard)):
      parts[split, i] = found[i * job.shard:(i + 1) * job.shard]
  return parts


def _write(out: str, job: Job, task) -> int:
  """Writes one shard; runs in a worker process."""
  split, shard, clips = task
  items = mixture.mix(job.source, job.options)
  rejects = []

  def each():
    for clip in clips:
      file = b""
      try:
        item = items[clip["item"]]
        if isinstance(item, stations.Raw):
          file = item.file
          if not clip["key"].startswith(item.key):
            raise stations.Reject("the source changed while the data set was "
                                   "prepared")
          item = transcode.make(item, clip, job.rules)
      except (ValueError, OSError) as e:
        rejects.append({"item": clip["item"], "key": clip.get("key", ""),
                        "reason": scans.reason_of(e, file)})
        continue
      times = clip.get("times", 1) if split == "train" else 1
      yield records.encode(item), records.row(item), times

  shards.write_shard(out, split, shard, each(), manifest.PIXELS, rejects)
  return len(clips)


def _summary(items, clips: list[dict], rejects: list[dict]) -> dict:
  """Counts of what was found, beside clips and rejects."""
  made = collections.Counter(c for clip in clips
                             for c in clip.get("changes", ()))
  skipped = int((items.times == 0).sum())
  found = {"clips": {"kept": len(clips)}, "rejected": len(rejects),
           "recoded": dict(made), "ignored": items.ignored,
           "captions_cut": sum(c.get("cut", 0) for c in clips),
           "left_out_by_weight": skipped}
  return {k: v for k, v in found.items() if v or k in ("clips", "rejected")}


def _finish(out, job, counts, description, clips, rejects, summary) -> dict:
  """Names the shards, trains the tokenizer, writes metadata and report."""
  info = shards.collect(out, counts, {
      **description, **{k: summary[k] for k in summary
                        if k not in ("clips", "rejected")}}, rejects)
  if not info["clips"].get("train"):
    raise _nothing(out, job, description, info["rejected"])
  train = manifest.Manifest(out, "train", np.load(
      os.path.join(out, "train.npy"), allow_pickle=False), info)
  step = max(1, len(train) // MAX_CAPTIONS)
  texts = (c for i in range(0, len(train), step)
           for c in records.read(train, i).captions)
  tok = tokenizer.train(texts, os.path.join(out, "tokenizer.model"), job.vocab)
  records.write_tfds(out, info)
  info = {**info, "tokenizer": tok.digest, "vocab_size": tok.vocab_size}
  report_page.write(out, info, clips, rejects)
  return shards.finish(out, info)


def _nothing(out, job, description, rejected: int) -> ValueError:
  return ValueError(
      f"{_name(job)} leaves 0 training clips of {description['items']} items "
      f"({rejected} rejected, see {out}/rejects.jsonl)")

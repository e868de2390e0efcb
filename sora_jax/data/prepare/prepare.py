"""Turns sources into a data set on disk: shards, manifest, tokenizer, report.

Two passes, both over all cores and both in parts that are written whole or not
at all, so that a run that stops is carried on by the same call:

  scan    every file is decoded once and measured (scan.py); then filters.py
          decides what is kept, over all files at once
  write   each shard copies its clips, or cuts and re-codes those that cannot
          stay as they are (transcode.py)

Rendered worlds skip the scan. The folder is described in shards.py and
docs/data.md; TFDS reads it too (records.py).
"""

import collections
from collections.abc import Callable, Sequence
import functools
import os
from typing import Any

import numpy as np
import tqdm

from sora_jax import files
from sora_jax import stations
from sora_jax.data.prepare import beam_runner
from sora_jax.data.prepare import filters
from sora_jax.data.prepare import fingerprint
from sora_jax.data.prepare import job as job_lib
from sora_jax.data.prepare import report_page
from sora_jax.data.prepare import runners
from sora_jax.data.prepare import scans
from sora_jax.data.prepare import shots
from sora_jax.data.prepare import write
from sora_jax.data.sources import mixture
from sora_jax.data.sources import world
from sora_jax.data.store import manifest
from sora_jax.data.store import records
from sora_jax.data.store import shards
from sora_jax.text import tokenizer

MAX_CAPTIONS = 100_000  # that the tokenizer is trained on
REPEATED = 8  # captions that the report names


def prepare(source: str | Sequence[str], out: str | os.PathLike,
            options: world.WorldOptions | None = None,
            test_share: float = job_lib.TEST_SHARE, workers: int | None = None,
            shard: int = job_lib.SHARD, vocab: int = tokenizer.VOCAB,
            quiet: bool = False, *, rules: filters.Rules | None = None,
            cuts: bool = False, chunk_seconds: float = 0.0,
            held_out: float = 0.0,
            dry_run: bool = False, beam: tuple[str, ...] | None = None
            ) -> dict[str, Any]:
  """Writes the data set `out`; finishes an interrupted one.

  Args:
    source: "[WEIGHT*]KIND:REST", see mixture.py, or several of them.
    out: the folder to write.
    options: of worlds, with the seed that also divides the splits.
    test_share: in [0, 1).
    workers: processes; 0 works in this one; all cores by default.
    shard: clips of a shard.
    vocab: the most ids of the tokenizer.
    quiet: no progress bar.
    rules: of what is kept.
    cuts: cut files into shots (needs the extra `data`).
    chunk_seconds: the longest that the equal chunks of a video or shot may be;
      0 leaves all whole.
    held_out: the share in [0, 1) of files that only the split val holds, 1 to
      512 clips; 0 makes no such split. Of worlds, clips of facts that they hold
      out by rule.
    dry_run: scan and report only; the scan is kept for the run itself.
    beam: flags of Apache Beam, which then runs the work.

  Returns:
    dataset.json: source, clips and shards per split, rejected, tokenizer; of a
    dry run what it would keep, without shards.

  Raises:
    ValueError: an unknown or empty source, nothing left in it, a folder that
      lies in the source or holds another data set, a finished one whose source
      has changed, or an extra that is not installed.
  """
  options = options or world.WorldOptions()
  if not 0 <= test_share < 1:
    raise ValueError(f"test_share is {test_share:g}; it must be in [0, 1)")
  if not 0 <= held_out < 1:
    raise ValueError(f"held_out is {held_out:g}; it must be in [0, 1)")
  if cuts:
    shots.require()
  if beam is not None:
    beam_runner.require()
  names = source if isinstance(source, str) else tuple(source)
  files.refuse_address(os.fspath(out), "out ")
  for name in [names] if isinstance(names, str) else names:
    files.refuse_address(name)
  job = job_lib.Job(names[0] if len(names) == 1 else names, options, test_share,
                    options.seed, shard, vocab, rules or filters.Rules(), cuts,
                    chunk_seconds, held_out)
  mixture.mix.cache_clear()  # the files may be others than at the last call
  items = mixture.mix(job.source, options)
  if not len(items):
    raise ValueError(f"{job.name} holds 0 clips: nothing to prepare")
  out = os.fspath(out)
  if around := items.around(out):
    raise ValueError(f"{out} lies in {around}, where what is written would be "
                     "read as clips: give a folder outside of it")
  description = {**job.describe(bool(items.exact.all())), "items": len(items)}
  if (done := shards.find_finished(out, description)) is not None:
    fingerprint.require_unchanged(out, items.fingerprint)
    return done
  run = functools.partial(_run, workers, quiet, beam)
  clips, rejects = scans.scan_source(
      out, job, items, functools.partial(run, f"scan {job.name}"))
  summary = _summary(items, clips, rejects)
  if dry_run or not clips:
    shards.write_rejects(out, rejects)
    report_page.write(out, {**description, **summary}, clips, rejects)
  if not clips:
    raise _nothing(out, job, description, len(rejects))
  if dry_run:
    return summary
  shards.start(out, description)
  fingerprint.forget_changed(out, items.fingerprint)
  parts = write.divide(clips, job)
  todo = [(*p, parts[p]) for p in parts if not shards.is_written(out, *p)]
  run(f"prepare {job.name}", functools.partial(write.write_shard, out, job),
      todo, sum(map(len, parts.values())), sum(len(t[2]) for t in todo))
  counts = {split: sum(s == split for s, _ in parts) for split in shards.SPLITS}
  return _finish(out, job, counts, description, clips, rejects, summary)


def _run(workers: int | None, quiet: bool, beam: tuple[str, ...] | None,
         title: str, call: Callable[[Any], int], tasks: list, total: int,
         left: int) -> None:
  """Runs tasks with a progress bar of clips, `left` of `total` to do."""
  with tqdm.tqdm(total=total, initial=total - left, unit="clip", desc=title,
                 disable=quiet or not tasks) as bar:
    runners.run(call, tasks, workers, lambda n: bar.update(
        total - bar.n if n is None else n), beam)


def _summary(items: mixture.Mixture, clips: Sequence[stations.KeptClip],
             rejects: Sequence[stations.Rejected]) -> dict[str, Any]:
  """Counts of what was found, beside clips and rejects."""
  recoded = collections.Counter(c for clip in clips for c in clip.changes)
  found = {"clips": {"kept": len(clips)}, "rejected": len(rejects),
           "recoded": dict(recoded), "ignored": items.ignored,
           "captions_cut": sum(clip.scanned.captions_cut for clip in clips
                               if clip.scanned),
           "left_out_by_weight": int((items.times == 0).sum()),
           "repeated": _repeated(items, clips)}
  return {k: v for k, v in found.items() if v or k in ("clips", "rejected")}


def _repeated(items: mixture.Mixture, clips: Sequence[stations.KeptClip]
              ) -> dict[str, Any]:
  """The captions that most files share, and the share of files that do.

  Returns:
    {} where none do; else "share" in 0 .. 1 and "captions", pairs of a caption
    and its number of files.
  """
  scanned = [clip.scanned for clip in clips if clip.scanned]
  counts = {caption: n for caption, n in filters.files_by_caption(
      scanned).items() if n > 1}
  if not counts:
    return {}
  files = len({clip.item for clip in scanned})
  first = {clip.caption_hash: clip.item for clip in reversed(scanned)}
  most = sorted(counts, key=lambda c: (-counts[c], first[c]))[:REPEATED]
  found = []
  for caption in most:
    try:
      raw = items[first[caption]]
    except stations.Reject:  # it has changed since
      continue
    found.append([raw.captions[0][:200], counts[caption]])
  return {"share": round(sum(counts.values()) / files, 4), "captions": found}


def _finish(out: str, job: job_lib.Job, counts: dict[str, int],
            description: dict[str, Any], clips: Sequence[stations.KeptClip],
            rejects: Sequence[stations.Rejected],
            summary: dict[str, Any]) -> dict[str, Any]:
  """Names the shards, trains the tokenizer, writes metadata and report."""
  info = shards.collect(out, counts, {
      **description, **{k: summary[k] for k in summary
                        if k not in ("clips", "rejected")}}, rejects)
  if not info["clips"].get("train"):
    raise _nothing(out, job, description, info["rejected"])
  train = manifest.Manifest(out, "train", np.load(
      os.path.join(out, "train.npy"), allow_pickle=False), info)
  step = max(1, len(train) // MAX_CAPTIONS)
  captions = (c for i in range(0, len(train), step)
              for c in records.read(train, i).captions)
  trained = tokenizer.train(captions, os.path.join(out, "tokenizer.model"),
                            job.vocab)
  records.write_tfds(out, info)
  info = {**info, "tokenizer": trained.digest, "vocab_size": trained.vocab_size}
  report_page.write(out, info, clips, rejects)
  return shards.finish(out, info)


def _nothing(out: str, job: job_lib.Job, description: dict[str, Any],
             rejected: int) -> ValueError:
  """The error of a data set without training clips."""
  return ValueError(
      f"{job.name} leaves 0 training clips of {description['items']} items "
      f"({rejected} rejected, see {out}/rejects.jsonl)")

"""The survey of a whole source, in parts, and what is kept after it.

A part is parts/survey-00012.jsonl, the rows of PART items. The rows do not
depend on thresholds: another --dry-run of the same folder filters them anew
without decoding anything.

While a worker reads a file, parts/survey-00012.at names it: a file that kills
its reader twice is rejected instead of being tried for ever.
"""

import functools
import json
import os

import numpy as np

from sora_jax import files
from sora_jax import stations
from sora_jax.data.prepare import filters
from sora_jax.data.prepare import scan
from sora_jax.data.prepare import transcode
from sora_jax.data.sources import mixture
from sora_jax.data.store import shards

PART = 32  # items of a part
PICTURES = 48  # clips of a source that carry a thumbnail
TRIES = 2  # processes that a file may kill


def look(out: str, job, items: mixture.Mixture, run) -> tuple[list, list]:
  """Surveys all items that have not been, and filters them.

  Args:
    out: the data set.
    job: a prepare.Job.
    items: its source.
    run: called with (function, tasks, items in all, items to do).

  Returns:
    (clips kept, rejects), each a dict, in the order of the source.
  """
  times, exact = items.times, items.exact
  wanted = np.flatnonzero((times > 0) & ~exact)
  _begin(out, {"source": job.source, "cuts": job.cuts,
               "piece_seconds": job.piece_seconds, "seed": job.seed,
               "files": items.fingerprint})
  every = max(1, len(wanted) // PICTURES)
  tasks = [(i // PART, wanted[i:i + PART].tolist())
           for i in range(0, len(wanted), PART)]
  todo = [t for t in tasks if not os.path.isfile(f"{_stem(out, t[0])}.jsonl")]
  run(functools.partial(_part, out, job, every), todo, len(wanted),
      sum(len(t[1]) for t in todo))
  found = []
  for part, _ in tasks:
    with open(f"{_stem(out, part)}.jsonl", encoding="utf-8") as f:
      found += [json.loads(line) for line in f]
  kept, rejects = filters.keep(found, job.rules)
  for clip in kept:
    clip["changes"] = transcode.changes(clip, job.rules)
  kept += [{"item": int(i)} for i in np.flatnonzero((times > 0) & exact)]
  kept.sort(key=lambda clip: clip["item"])  # stable: shots stay in order
  for clip in kept:
    clip["times"] = int(times[clip["item"]])
  return kept, rejects


def reason_of(error: Exception, file: str | bytes = b"") -> str:
  """An error as the reason of a reject: one line, without the file's path."""
  text = getattr(error, "strerror", None) or str(error)
  name = "the video" if isinstance(file, bytes) else file
  return (" ".join(text.removeprefix(f"{name}: ").split())
          or type(error).__name__)


def _stem(out: str, part: int) -> str:
  return os.path.join(out, shards.PARTS, f"survey-{part:05d}")


def _begin(out: str, about: dict) -> None:
  """Forgets a survey of something else."""
  path = os.path.join(out, shards.PARTS, "survey.json")
  about = json.loads(json.dumps(about))
  os.makedirs(os.path.dirname(path), exist_ok=True)
  if files.find_json(path) != about:
    for name in os.listdir(os.path.dirname(path)):
      if name.startswith("survey-"):
        os.unlink(os.path.join(os.path.dirname(path), name))
    files.write_json(path, about)


def _part(out: str, job, every: int, task) -> int:
  """Surveys some items; runs in a worker process."""
  part, indices = task
  items = mixture.mix(job.source, job.options)
  stem = _stem(out, part)
  died = files.find_json(f"{stem}.at") or {}
  rows = []
  for i in indices:
    tries = died.get("tries", 0) if died.get("item") == i else 0
    key, file = str(i), b""
    try:
      if tries >= TRIES:
        raise stations.Reject("kills the process that reads it",
                               died.get("key", key))
      raw = items[i]
      key, file = raw.key, raw.file
      files.write_json(f"{stem}.at", {"item": i, "key": key,
                                       "tries": tries + 1})
      rows += scan.scan(raw, i, job.cuts, job.piece_seconds, i % every == 0)
    except (ValueError, OSError) as e:
      rows.append({"item": i, "key": getattr(e, "key", "") or key,
                   "reason": reason_of(e, file)})
  files.write_json_lines(f"{stem}.jsonl", rows)
  if os.path.exists(f"{stem}.at"):
    os.unlink(f"{stem}.at")
  return len(indices)

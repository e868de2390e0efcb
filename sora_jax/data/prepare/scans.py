"""The scan of a whole source, in parts, and what is kept after it.

A part is parts/scan-00012.jsonl, a ScannedClip or Rejected a line, of PART
items. The lines do not depend on thresholds: another --dry-run of the same
folder filters them anew without decoding anything.

While a worker reads a file, parts/scan-00012.at names it: a file that kills its
reader twice is rejected instead of being tried for ever.

What the machine lacks is no property of a file. A disk that is full or a missing
library ends the run; a file that may not be read now is rejected, and the next
run looks at it again. Scans of other versions of the tools are begun anew.
"""

from collections.abc import Callable
import errno
import functools
from importlib import metadata
import json
import os
from typing import Any, cast

import numpy as np

from sora_jax import files
from sora_jax import stations
from sora_jax.data.prepare import filters
from sora_jax.data.prepare import job as job_lib
from sora_jax.data.prepare import scan
from sora_jax.data.prepare import transcode
from sora_jax.data.sources import mixture
from sora_jax.data.store import shards

FORMAT = 3  # of the lines; scans of another one are begun anew
PART = 32  # items of a part
PICTURES = 48  # clips of a source that carry a thumbnail
TRIES = 2  # processes that a file may kill
# Errors that another run may not see, and those of the whole machine.
AGAIN = {errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE, errno.ETIMEDOUT,
         errno.ENODEV, errno.ENXIO}
FATAL = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC, errno.EDQUOT}

# Called with (function, tasks, items in all, items to do); runs them all.
Run = Callable[[Callable[[Any], int], list, int, int], None]


def scan_source(out: str, job: job_lib.Job, source: mixture.Mixture, run: Run
                ) -> tuple[list[stations.KeptClip], list[stations.Rejected]]:
  """Scans all items that have not been, and filters them.

  Args:
    out: the data set.
    job: what decides it.
    source: of the job.
    run: runs the tasks.

  Returns:
    (clips kept, rejects), in the order of the source.
  """
  times, exact = source.times, source.exact
  wanted = np.flatnonzero((times > 0) & ~exact)
  tools = ["av", "pillow", *["scenedetect-headless", "scenedetect"] * job.cuts]
  _forget_changed(out, {
      "format": FORMAT, "source": job.source, "cuts": job.cuts,
      "chunk_seconds": job.chunk_seconds, "seed": job.seed,
      "follow_links": job.options.follow_links,
      "fingerprint": source.fingerprint,
      "tools": {name: _version(name) for name in tools}})
  every = max(1, len(wanted) // PICTURES)
  tasks = [(i // PART, wanted[i:i + PART].tolist())
           for i in range(0, len(wanted), PART)]
  todo = [t for t in tasks if not _is_scanned(out, t[0])]
  run(functools.partial(_scan_part, out, job, every), todo, len(wanted),
      sum(len(t[1]) for t in todo))
  scanned = [row for part, _ in tasks for row in _read(out, part)]
  passed, rejects = filters.keep(scanned, job.rules)
  kept = [stations.KeptClip(
      clip.item, clip, transcode.changes(clip, job.rules),
      int(times[clip.item])) for clip in passed]
  kept += [stations.KeptClip(int(i), times=int(times[i]))
           for i in np.flatnonzero((times > 0) & exact)]
  kept.sort(key=lambda clip: clip.item)  # stable: shots stay in order
  return kept, rejects


def reason_of(error: Exception, file: str | bytes = b"") -> str:
  """An error as the reason of a reject: one line, without the file's path."""
  text = getattr(error, "strerror", None) or str(error)
  name = "the video" if isinstance(file, bytes) else file
  return (" ".join(text.removeprefix(f"{name}: ").split())
          or type(error).__name__)


def _version(name: str) -> str | None:
  """The version of an installed package, None where there is none."""
  try:
    return metadata.version(name)
  except metadata.PackageNotFoundError:
    return None


def _is_scanned(out: str, part: int) -> bool:
  """Whether a part is scanned, and nothing in it is to be tried again."""
  path = f"{_stem(out, part)}.jsonl"
  return os.path.isfile(path) and not os.path.exists(f"{_stem(out, part)}.again")


def require_machine(error: BaseException) -> bool:
  """Raises an error that no file is to blame for.

  Returns:
    Whether another run may not see it.
  """
  again = False
  cause: BaseException | None = error
  while cause is not None:
    number = cause.errno if isinstance(cause, OSError) else None
    if isinstance(cause, ImportError) or number in FATAL:
      raise error
    again |= number in AGAIN
    cause = cause.__cause__ or cause.__context__
  return again


def _stem(out: str, part: int) -> str:
  return os.path.join(out, shards.PARTS, f"scan-{part:05d}")


def _forget_changed(out: str, about: dict[str, Any]) -> None:
  """Forgets a scan of something else, and that of an older version."""
  folder = os.path.join(out, shards.PARTS)
  path = os.path.join(folder, "scan.json")
  about = json.loads(json.dumps(about))
  os.makedirs(folder, exist_ok=True)
  if files.find_json(path) != about:
    for name in os.listdir(folder):
      if name.startswith(("scan-", "survey")):  # "survey": before version 1
        os.unlink(os.path.join(folder, name))
    files.write_json(path, about)


def _read(out: str, part: int
          ) -> list[stations.ScannedClip | stations.Rejected]:
  """The lines of a part."""
  with open(f"{_stem(out, part)}.jsonl", encoding="utf-8") as f:
    rows = [json.loads(line) for line in f]
  return [stations.Rejected(**row) if "reason" in row else
          stations.ScannedClip(**row) for row in rows]


def _scan_part(out: str, job: job_lib.Job, every: int,
               task: tuple[int, list[int]]) -> int:
  """Scans the items of a part; runs in a worker process."""
  part, indices = task
  source = mixture.mix(job.source, job.options)
  stem = _stem(out, part)
  died = files.find_json(f"{stem}.at") or {}
  found: list[stations.ScannedClip | stations.Rejected] = []
  again = False
  for i in indices:
    tries = died.get("tries", 0) if died.get("item") == i else 0
    key, file = str(i), cast(str | bytes, b"")
    try:
      if tries >= TRIES:
        raise stations.Reject("kills the process that reads it",
                              died.get("key", key))
      raw = cast(stations.Raw, source[i])  # exact items are not scanned
      key, file = raw.key, raw.file
      files.write_json(f"{stem}.at", {"item": i, "key": key,
                                      "tries": tries + 1})
      found += scan.scan(raw, i, job.cuts, job.chunk_seconds, i % every == 0)
    except (ValueError, OSError) as e:
      again |= require_machine(e)
      found.append(stations.Rejected(i, reason_of(e, file),
                                     getattr(e, "key", "") or key))
  if again:
    files.write_text(f"{stem}.again", "")
  elif os.path.exists(f"{stem}.again"):
    os.unlink(f"{stem}.again")
  files.write_json_lines(f"{stem}.jsonl", (row.to_json() for row in found))
  if os.path.exists(f"{stem}.at"):
    os.unlink(f"{stem}.at")
  return len(indices)

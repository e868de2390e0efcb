"""Whether the shards of a data set are there, before a run reads them.

A run that found them unreadable one by one would train on nothing.
"""

from collections.abc import Callable
from concurrent import futures

import numpy as np

from sora_jax.data.store import manifest as manifest_lib
from sora_jax.data.store import record_file

THREADS = 16  # that open shards
RECORDS = 64  # records that are compared with their entries, at most


def verify(manifest: manifest_lib.Manifest,
           compare: Callable[[bytes, np.void], None],
           share: tuple[int, int] = (0, 1)) -> None:
  """Opens the shards of a split and compares the first records with entries.

  Args:
    manifest: of the split.
    compare: (bytes of a record, its entry) -> None; ValueError where they do
      not agree.
    share: (i, n): only every n-th shard from the i-th on.

  Raises:
    ValueError: a shard that is missing, damaged or has too few records, or a
      record that is not what its entry says; the message names the file.
  """
  shard, record = (np.asarray(manifest.entries[k], np.int64)
                   for k in ("shard", "record"))
  count = manifest.info["shards"][manifest.split]
  needed = np.zeros(count, np.int64)
  np.maximum.at(needed, shard, record + 1)
  first = np.full(count, -1, np.int64)
  first[shard[::-1]] = np.arange(len(shard))[::-1]
  mine = np.flatnonzero(needed)[share[0]::share[1]]
  compared = set(mine[::max(1, -(-len(mine) // RECORDS))].tolist())

  def check(i: int) -> None:
    path = manifest.shard_path(i)
    found = record_file.reader(path).count()
    if found < needed[i]:
      raise ValueError(f"{path} has {found} records and the manifest names "
                       f"{needed[i]}: it is of another data set, or cut short")
    if i in compared:
      at = int(first[i])
      try:
        compare(manifest.record(at), manifest.entries[at])
      except ValueError as e:
        raise ValueError(f"{path}: record {record[at]} {e}") from e

  with futures.ThreadPoolExecutor(THREADS) as pool:
    for done in [pool.submit(check, i) for i in mine.tolist()]:
      done.result()

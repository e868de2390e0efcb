"""An LRU cache of values that are dear to make, shared by threads.

Plans are pure; this only spares work. A value is made once, and different
values are made side by side.
"""

from collections.abc import Callable, Hashable
from concurrent import futures
import dataclasses
import threading
from typing import Any

import cachetools


@dataclasses.dataclass(frozen=True, eq=False)
class LRUCache:
  """Values by key, of at most `limit` in total weight.

  Attributes:
    limit: of the sum of weights; what is being made is not in it yet. A value
      above it is made again each time.
    entries: key -> (value, weight).
    making: key -> the future that whoever else asks for the value waits on.
    lock: of the two, held to look up and to insert, never to make.
  """

  limit: int
  entries: cachetools.LRUCache = dataclasses.field(init=False, repr=False)
  making: dict[Hashable, futures.Future] = dataclasses.field(
      default_factory=dict, repr=False)
  lock: threading.Lock = dataclasses.field(default_factory=threading.Lock,
                                           repr=False)

  def __post_init__(self):
    object.__setattr__(self, "entries", cachetools.LRUCache(
        self.limit, getsizeof=lambda entry: entry[1]))

  @property
  def weight(self) -> int:
    """The sum of the weights."""
    return int(self.entries.currsize)

  def get(self, key: Hashable, make: Callable[[], Any],
          weigh: Callable[[Any], int] = lambda value: 1) -> Any:
    """The value of `key`, from make() if it is not remembered.

    An error of make() reaches everyone who waits for the value, and is not
    remembered.
    """
    with self.lock:
      if key in self.entries:
        return self.entries[key][0]
      future = self.making.get(key)
      if mine := future is None:
        future = self.making[key] = futures.Future()
    if not mine:
      return future.result()
    try:
      value = make()
      weight = weigh(value)
    except BaseException as e:  # whatever it is, nobody may wait forever
      with self.lock:
        del self.making[key]
      future.set_exception(e)
      raise
    with self.lock:
      del self.making[key]
      if weight <= self.limit:
        self.entries[key] = value, weight
    future.set_result(value)
    return value

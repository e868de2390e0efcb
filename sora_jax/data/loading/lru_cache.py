"""A bounded memory of values that are dear to make: least recently used go.

Plans are pure; this only spares work. Threads share it: a value is made once,
and different values are made side by side.
"""

import collections
from concurrent import futures
import dataclasses
import threading


@dataclasses.dataclass(frozen=True, eq=False)
class LRUCache:
  """Values by key, of at most `limit` in total weight.

  Attributes:
    limit: of the sum of weights; what is being made is not in it yet.
    entries: key -> (value, weight), the latest used last.
    making: key -> the future that whoever else asks for the value waits on.
    lock: of the two, held to look up and to insert, never to make.
  """

  limit: int
  entries: collections.OrderedDict = dataclasses.field(
      default_factory=collections.OrderedDict, repr=False)
  making: dict = dataclasses.field(default_factory=dict, repr=False)
  total: list = dataclasses.field(default_factory=lambda: [0], repr=False)
  lock: object = dataclasses.field(default_factory=threading.Lock, repr=False)

  def get(self, key, make, weigh=lambda value: 1):
    """The value of `key`, from make() if it is not remembered.

    An error of make() reaches everyone who waits for the value, and is not
    remembered.
    """
    with self.lock:
      if key in self.entries:
        self.entries.move_to_end(key)
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
      self.entries[key] = value, weight
      self.total[0] += weight
      while self.total[0] > self.limit and len(self.entries) > 1:
        self.total[0] -= self.entries.popitem(last=False)[1][1]
    future.set_result(value)
    return value

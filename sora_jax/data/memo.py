"""A bounded memory of values that are dear to make: least recently used go.

Plans are pure; this only spares work. Threads share it: a value is made once.
"""

import collections
import dataclasses
import threading


@dataclasses.dataclass(frozen=True, eq=False)
class Memo:
  """Values by key, of at most `limit` in total weight.

  Attributes:
    limit: of the sum of weights.
    entries: key -> (value, weight), the latest used last.
    lock: held while a value is looked up or made.
  """

  limit: int
  entries: collections.OrderedDict = dataclasses.field(
      default_factory=collections.OrderedDict, repr=False)
  total: list = dataclasses.field(default_factory=lambda: [0], repr=False)
  lock: object = dataclasses.field(default_factory=threading.RLock, repr=False)

  def get(self, key, make, weigh=lambda value: 1):
    """The value of `key`, from make() if it is not remembered."""
    with self.lock:
      if key in self.entries:
        self.entries.move_to_end(key)
        return self.entries[key][0]
      value = make()
      weight = weigh(value)
      self.entries[key] = value, weight
      self.total[0] += weight
      while self.total[0] > self.limit and len(self.entries) > 1:
        self.total[0] -= self.entries.popitem(last=False)[1][1]
      return value

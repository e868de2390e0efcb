"""Threads that share an LRU cache."""

from concurrent import futures
import threading

import pytest

from sora_jax.data.loading import lru_cache

THREADS = 4
LONG = 20  # seconds, after which a thread that waits in vain fails the test


def _together(call):
  """What `call` gives to each of THREADS threads: a value or an error."""
  with futures.ThreadPoolExecutor(THREADS) as pool:
    found = [pool.submit(call, i) for i in range(THREADS)]
  return [f.exception() or f.result() for f in found]


def test_different_values_are_made_side_by_side():
  """No thread leaves `make` before all of them are in it."""
  barrier, values = threading.Barrier(THREADS), lru_cache.LRUCache(THREADS)

  def make(i):
    barrier.wait(LONG)
    return f"value {i}"

  assert _together(lambda i: values.get(i, lambda: make(i))) == [
      f"value {i}" for i in range(THREADS)]
  assert len(values.entries) == values.weight == THREADS
  assert not values.making


@pytest.mark.parametrize("fails", [False, True])
def test_a_value_is_made_once_and_an_error_is_not_kept(monkeypatch, fails):
  """All other threads wait while the first makes the value."""
  waiting, made, values = threading.Semaphore(0), [], lru_cache.LRUCache(2)

  class Future(futures.Future):  # the pool has one of its own

    def result(self):
      waiting.release()
      return super().result(LONG)

  monkeypatch.setattr(lru_cache.futures, "Future", Future)

  def make():
    made.append(threading.get_ident())
    for _ in range(THREADS - 1):
      assert waiting.acquire(timeout=LONG)
    if fails:
      raise ValueError("damaged")
    return object()

  found = _together(lambda i: values.get("key", make))
  assert len(made) == 1 and len({id(x) for x in found}) == 1
  assert isinstance(found[0], ValueError) == fails
  assert len(values.entries) == values.weight == (0 if fails else 1)
  assert not values.making
  again = values.get("key", lambda: "made again")
  assert again == "made again" if fails else again is found[0]


def test_the_limit_holds_and_the_least_recently_used_go():
  values = lru_cache.LRUCache(10)
  get = lambda key: values.get(key, lambda: key, len)
  for key in ("aaaa", "bbbb", "aaaa", "cccc"):
    assert get(key) == key
    assert values.weight == sum(map(len, values.entries)) <= 10
  assert list(values.entries) == ["aaaa", "cccc"]
  barrier = threading.Barrier(THREADS)

  def make(i):
    barrier.wait(LONG)
    return str(i) * 4

  _together(lambda i: values.get(i, lambda: make(i), len))
  assert len(values.entries) == 2 and values.weight == 8
  # A value above the limit drives nothing out.
  assert get("x" * 30) == "x" * 30 and "x" * 30 not in values.entries
  assert len(values.entries) == 2

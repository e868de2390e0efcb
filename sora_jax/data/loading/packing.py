"""Packs examples of different token counts into rows of a few lengths.

Best fit with a bounded number of open rows: an example goes to the open row
that it fills best and that has room for its prompt and one more segment. If
there is none, a row is opened of the shape that examples like this one would
fill best, and the fullest row is closed when too many are open. Examples arrive
in groups, the longest of a group first: the small ones then fill what is left.
"""

import bisect
from collections.abc import Sequence

import numpy as np

OPEN = 512
GROUP = 256
TIE = 0.05  # waste of a row by which the shorter shape is preferred


def pack(tokens: np.ndarray, text_tokens: np.ndarray, lengths: Sequence[int],
         text: int, segments: int) -> tuple[np.ndarray, np.ndarray]:
  """Assigns examples to rows.

  Args:
    tokens: [N] tokens of each example, at most max(lengths).
    text_tokens: [N] text tokens of each example, at most `text`.
    lengths: row lengths, ascending.
    text: text tokens of a row.
    segments: examples of a row, at most.

  Returns:
    (row of each example [N], shape of each row [R] as an index of lengths).
  """
  tokens, text_tokens = np.asarray(tokens), np.asarray(text_tokens)
  least = int(text_tokens.min(initial=text))
  spare, seats, name = [0] * OPEN, [0] * OPEN, [0] * OPEN
  # An open row is room x OPEN + slot, so that sorted codes are rows by room.
  # Rows that no example can enter any more wait apart until they are closed.
  rows_by_room: list[int] = []
  shut: list[int] = []
  free = list(range(OPEN))[::-1]
  of, shapes = np.empty(len(tokens), np.int64), list[int]()
  opens = _best_shape(tokens, np.asarray(lengths))
  arrival = np.lexsort((-tokens, np.arange(len(tokens)) // GROUP))
  for i, n, w, shape in zip(arrival.tolist(), *(
      x[arrival].tolist() for x in (tokens, text_tokens, opens))):
    first = bisect.bisect_left(rows_by_room, n * OPEN)
    for at in range(first, len(rows_by_room)):
      if spare[rows_by_room[at] % OPEN] >= w:
        room, slot = divmod(rows_by_room.pop(at), OPEN)
        break
    else:
      if not free:  # close the fullest row
        fullest = min((x for x in (rows_by_room, shut) if x),
                      key=lambda x: x[0])
        free.append(fullest.pop(0) % OPEN)
      slot, room = free.pop(), lengths[shape]
      spare[slot], seats[slot], name[slot] = text, segments, len(shapes)
      shapes.append(shape)
    spare[slot] -= w
    seats[slot] -= 1
    of[i] = name[slot]
    bisect.insort(rows_by_room if seats[slot] and spare[slot] >= least else
                  shut, (room - n) * OPEN + slot)
  return of, np.array(shapes, np.int64)


def _best_shape(tokens: np.ndarray, lengths: np.ndarray) -> np.ndarray:
  """Which shape each example opens: the least waste if filled by its like."""
  waste = np.where(lengths >= tokens[:, None],
                   lengths % tokens[:, None] / lengths, np.inf)
  return (waste <= waste.min(1, keepdims=True) + TIE).argmax(1)


def rows(of: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
  """(order, bounds): row r holds the examples order[bounds[r]:bounds[r + 1]]."""
  order = np.argsort(of, kind="stable")
  return order, np.searchsorted(of[order], np.arange(count + 1))

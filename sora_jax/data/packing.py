"""Packs views of different token counts into rows of a few lengths.

Best fit with a bounded number of open rows: a view goes to the open row that it
fills best and that has room for its prompt and one more segment. If there is
none, a row is opened of the shape that views like this one would fill best, and
the fullest row is closed when too many are open. Views arrive in groups, the
longest of a group first: the small ones then fill what is left.
"""

import numpy as np

OPEN = 512
GROUP = 256
TIE = 0.05  # waste of a row by which the shorter shape is preferred
_NONE = np.iinfo(np.int64).max


def pack(tokens: np.ndarray, words: np.ndarray, lengths, text: int,
         segments: int) -> tuple[np.ndarray, np.ndarray]:
  """Assigns views to rows.

  Args:
    tokens: [N] tokens of each view, at most max(lengths).
    words: [N] text tokens of each view, at most `text`.
    lengths: row lengths, ascending.
    text: text tokens of a row.
    segments: views of a row, at most.

  Returns:
    (row of each view [N], shape of each row [R] as an index of lengths).
  """
  room = np.full(OPEN, -1, np.int64)  # free tokens of each open row
  spare = np.zeros(OPEN, np.int64)  # free text tokens
  seats = np.zeros(OPEN, np.int64)  # free segments
  name = np.zeros(OPEN, np.int64)
  of, shapes = np.empty(len(tokens), np.int64), []
  opens = _best_shape(np.asarray(tokens), np.asarray(lengths))
  key = np.empty(OPEN, np.int64)
  arrival = np.lexsort((-tokens, np.arange(len(tokens)) // GROUP))
  for i, n, w, shape in zip(arrival.tolist(), *(
      x[arrival].tolist() for x in (tokens, words, opens))):
    np.copyto(key, room)
    key[(room < n) | (spare < w) | (seats < 1)] = _NONE
    slot = int(key.argmin())
    if key[slot] == _NONE:
      slot = int(room.argmin())  # a slot that is free, or the fullest row
      room[slot], spare[slot], seats[slot] = lengths[shape], text, segments
      name[slot] = len(shapes)
      shapes.append(shape)
    room[slot] -= n
    spare[slot] -= w
    seats[slot] -= 1
    of[i] = name[slot]
  return of, np.array(shapes, np.int64)


def _best_shape(tokens: np.ndarray, lengths: np.ndarray) -> np.ndarray:
  """Which shape each view opens: the least waste if filled by its like."""
  waste = np.where(lengths >= tokens[:, None],
                   lengths % tokens[:, None] / lengths, np.inf)
  return (waste <= waste.min(1, keepdims=True) + TIE).argmax(1)


def rows(of: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
  """The views of each row: those of row r are views[bounds[r]:bounds[r + 1]]."""
  views = np.argsort(of, kind="stable")
  bounds = np.searchsorted(of[views], np.arange(count + 1))
  return views, bounds

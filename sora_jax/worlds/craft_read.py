"""Reads the screen of Craftax-Classic back, and checks steps by the rules.

A cell is the block, and what is on it, whose picture is nearest; one that is near
none is "?". Steps are checked as far as the screen shows them: the view moves by
at most one cell, the way the player faces, blocks stay but for one that is
collected, and nothing is had that was not collected.
"""

from collections.abc import Sequence
import dataclasses
import functools
from typing import Any

import numpy as np

from sora_jax.worlds import craft_game as game
from sora_jax.worlds import craft_screen as screen

ROWS, COLUMNS = game.VIEW
MIDDLE = ROWS // 2 * COLUMNS + COLUMNS // 2
UNLIKE = 40.0  # levels of 255, from where on a cell is like no picture
READ = 0.5  # the least share of cells that can be read of a clip of the game


@dataclasses.dataclass(frozen=True)
class Observed:
  """What was seen in a clip.

  Attributes:
    shown: the screen in every frame; blocks that cannot be read are "?".
    time: "day" or "night".
    share: of the cells that can be read.
    unparsed: why nothing was read, else "".
  """

  shown: tuple[game.Shown, ...]
  time: str
  share: float
  unparsed: str = ""


def parse(video: np.ndarray, fps: float) -> Observed:
  """Reads a video uint8 [T, H, W, 3].

  Raises:
    ValueError: craftax is not installed.
  """
  del fps
  frames, height, width, _ = video.shape
  if (width, height) != screen.SIZE:
    return Observed((), "", 0.0, f"size {width}x{height}: the screen has "
                    f"{screen.SIZE[0]}x{screen.SIZE[1]}")
  c = screen.CELL
  cells = video.reshape(frames, height // c, c, width // c, c, 3).transpose(
      0, 1, 3, 2, 4, 5).reshape(frames, height // c, width // c, -1)
  cells = cells.astype(np.float32)
  board = cells[:, :ROWS].reshape(frames, ROWS * COLUMNS, -1)
  found = {time: _board(board, time) for time in game.TIMES}
  time = min(found, key=lambda name: found[name][1].sum())
  best, far = found[time]
  known = far < UNLIKE
  share = float(known.mean())
  shown = tuple(_shown(best[t], known[t], cells[t, ROWS:],
                       game.light(game.TIMES[time] + t)) for t in range(frames))
  return Observed(shown, time, share,
                  "" if share >= READ else "no game: few cells are blocks")


def _board(board, time):
  """The nearest picture of each cell [T, 63], and how far it is in levels."""
  best = np.zeros(board.shape[:2], int)
  far = np.zeros(board.shape[:2], np.float32)
  pictures, squares = _pictures(time)
  for i in range(board.shape[1]):
    x = board[:, i]
    away = (x**2).sum(-1)[:, None] - 2 * x @ pictures[i].T + squares[i]
    best[:, i] = away.argmin(-1)
    far[:, i] = np.sqrt(np.maximum(away.min(-1), 0) / x.shape[-1])
  return best, far


@functools.cache
def _pictures(time):
  """([63, n, 768], [63, n]): all pictures of each cell, and their squares.

  Picture b (1 + mobs) + m is block b with mob m - 1 on it; of the cell in the
  middle it is block b with the player facing FACINGS[m % 4].
  """
  look, c = screen.textures(), screen.CELL
  cover = lambda tops: (look["blocks"][:, None] * (1 - tops[..., 3:]) +
                        tops[..., :3] * tops[..., 3:])
  none = np.zeros((1, c, c, 4), np.float32)
  others = cover(np.concatenate([none, look["mobs"]]))
  players = cover(look["players"])
  level = game.light(game.TIMES[time])
  made = []
  for i in range(ROWS * COLUMNS):
    y, x = i // COLUMNS * c, i % COLUMNS * c
    what = players[:, np.arange(others.shape[1]) % 4] if i == MIDDLE else others
    if level < 1:
      what = screen.darken(what, level, np.broadcast_to(
          look["dark"][y:y + c, x:x + c], what.shape[:-1]), None)
    made.append(what.reshape(-1, c * c * 3))
  pictures = np.stack(made).astype(np.float32)
  return pictures, (pictures**2).sum(-1)


def _shown(best, known, slots, light):
  """The Shown of a frame from the nearest pictures [63] and slots [2, 9, n]."""
  each = 1 + len(game.MOBS)
  cells = "".join(game.BLOCKS[b // each] if k else "?"
                  for b, k in zip(best, known))
  mobs = tuple((game.MOBS[b % each - 1], i // COLUMNS, i % COLUMNS)
               for i, b in enumerate(best)
               if i != MIDDLE and known[i] and b % each)
  look = screen.textures()["slots"].reshape(len(screen.PLACES), 10, -1)
  numbers = {name: int(((look[i] - slots[place])**2).sum(-1).argmin())
             for i, (name, place) in enumerate(screen.PLACES.items())}
  return game.Shown(cells, game.FACINGS[best[MIDDLE] % each % 4], mobs,
                    tuple(numbers[k] for k in screen.STATS),
                    tuple(numbers[k] for k in game.ITEMS), round(light, 3))


def lawful(a: game.Shown, b: game.Shown) -> bool:
  """Whether the rules allow screen b right after screen a."""
  front = np.array([ROWS // 2, COLUMNS // 2]) + game.STEPS[a.facing]
  faced = front[0] * COLUMNS + front[1]
  before = np.array(list(a.cells))
  taken = before[faced] == "t" and a.facing == b.facing
  wood = game.ITEMS.index("wood")
  gains = np.array(b.items) - np.array(a.items)
  allowed = np.zeros(len(gains), int)
  allowed[wood] = int(taken and gains[wood] == 1)
  if (gains > allowed).any() or (gains < 0).any():
    return False
  drank = before[faced] == "w" and a.facing == b.facing
  change = np.array(b.stats) - np.array(a.stats)
  # Blows take 2 of health, arrows too; needs take one of each now and then.
  if (change < [-7, -1, -1, -1]).any() or (
      change > [1, 0, 1 if drank else 0, 0]).any():
    return False
  grid = before.reshape(ROWS, COLUMNS)
  if allowed[wood]:
    grid = grid.copy()
    grid[tuple(front)] = game.BLOCKS[game.GRASS]
  after = np.array(list(b.cells)).reshape(ROWS, COLUMNS)
  moves = [(0, 0)] if allowed[wood] else [(0, 0), game.STEPS[b.facing]]
  return any(_same(grid, after, *move) for move in moves)


def _same(before, after, dr, dc):
  """Whether two views agree where both show the map, moved by (dr, dc)."""
  cut = lambda x, r, c: x[max(r, 0):ROWS + min(r, 0),
                          max(c, 0):COLUMNS + min(c, 0)]
  a, b = cut(before, dr, dc), cut(after, -dr, -dc)
  return bool(((a == b) | (a == "?") | (b == "?")).all())


def steps(shown: Sequence[game.Shown]) -> float:
  """The share of steps that the rules allow; 1 without any."""
  if len(shown) < 2:
    return 1.0
  return float(np.mean([lawful(a, b) for a, b in zip(shown, shown[1:])]))


def played(shown: Sequence[game.Shown]) -> dict[str, Any]:
  """The goal that a player seems to have, and what came of it.

  Returns:
    goal, direction, count and wins, as in craft.Facts.
  """
  first, last = shown[0], shown[-1]
  wood = last.items[0] - first.items[0]
  drinks = sum(max(b.stats[2] - a.stats[2], 0) for a, b in zip(shown, shown[1:]))
  sword = game.ITEMS.index("wood_sword")
  armed = np.mean([s.items[sword] > 0 for s in shown]) > 0.5
  goal = ("fights" if armed else "collects wood" if wood > 0 else "drinks"
          if drinks else "walks")
  facing = [s.facing for s in shown[1:]] or [first.facing]
  return {"goal": goal, "count": {"collects wood": wood, "drinks": drinks}.get(
              goal, 0),
          "direction": max(facing, key=facing.count) if goal == "walks" else "",
          "wins": goal == "fights" and any(map(_falls, shown, shown[1:]))}


def _falls(a, b):
  """Whether a zombie that the player faces is gone in the next frame."""
  front = np.array([ROWS // 2, COLUMNS // 2]) + game.STEPS[a.facing]
  count = [sum(kind == "zombie" for kind, *_ in s.mobs) for s in (a, b)]
  return ("zombie", *front) in a.mobs and count[1] < count[0]


def score(facts: Any, observed: Observed) -> dict[str, bool | float]:
  """Whether each fact of a craft.Facts was seen.

  Returns:
    time; cells, player and items: the shares of cells, of frames by where the
    player faces, and of slots that are right; for a video also goal, with its
    direction, count or win, and steps, the share that the rules allow.
  """
  result: dict[str, bool | float] = {"time": observed.time == facts.time}
  pairs = list(zip(facts.shown, observed.shown))
  total = max(len(facts.shown), 1)
  result["cells"] = sum(_right(a, b) for a, b in pairs) / total
  result["player"] = sum(a.facing == b.facing for a, b in pairs) / total
  result["items"] = sum(float(np.mean(np.equal(screen.has(a), screen.has(b))))
                        for a, b in pairs) / total
  if facts.frames == 1:
    return result
  if len(observed.shown) < 2:
    return result | {"goal": False, "steps": 0.0}
  seen = played(observed.shown)
  result["goal"] = all(seen[k] == getattr(facts, k)
                       for k in ("goal", "direction", "count", "wins"))
  result["steps"] = steps(observed.shown)
  return result


def _right(a, b):
  """The share of cells whose block and mobs are right."""
  top = lambda s: {(r, c): kind for kind, r, c in s.mobs
                   if (r, c) != (ROWS // 2, COLUMNS // 2)}
  one, two = top(a), top(b)
  return float(np.mean([
      x == y and one.get((i // COLUMNS, i % COLUMNS)) == two.get(
          (i // COLUMNS, i % COLUMNS))
      for i, (x, y) in enumerate(zip(a.cells, b.cells))]))

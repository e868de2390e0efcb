"""The world of craft: a player of Craftax-Classic walks, gathers, drinks, fights.

Report: "Sora can simultaneously control the player in Minecraft with a basic
policy while also rendering the world and its dynamics in high fidelity." The
state of the game is the truth (craft_game.py), and the screen has one cell of
16 pixels in a token (craft_screen.py). A frame is a step of the game.

Held out of training: by day, games whose goal, direction and count add up to 0
modulo 5; by night those with 1.
"""

from collections.abc import Sequence
import dataclasses

import numpy as np

from sora_jax.worlds import craft_game as game
from sora_jax.worlds import craft_screen as screen
from sora_jax.worlds import craft_words
from sora_jax.worlds import facts as facts_lib

describe = craft_words.describe
told = craft_words.told
read = craft_words.read

SIZE = screen.SIZE  # the one size that it draws
SHORTEST = 0.0
OPTIONS = {"time": ("day", "night")}
GOALS = tuple(craft_words.GOALS)
FEWEST = {"walks": 2, "collects wood": 5, "drinks": 5, "fights": 9}  # frames
MOST = 3  # pieces of wood or times of drinking


@dataclasses.dataclass(frozen=True)
class Facts:
  """What is true of a clip.

  Attributes:
    goal: of the player, one of GOALS.
    direction: in which the player walks; "" if that is not the goal.
    count: the pieces of wood collected, or the times of drinking; else 0.
    wins: whether the zombie is killed.
    time: "day" or "night".
    shown: what the screen shows in every frame.
    actions: of the game, one between two frames.
    seed: of the noise of the night.
    size, frames, fps, broken: as in facts.Facts.
  """

  goal: str
  direction: str
  count: int
  wins: bool
  time: str
  shown: tuple[game.Shown, ...]
  actions: tuple[int, ...]
  seed: int
  size: tuple[int, int]
  frames: int
  fps: float
  broken: str = ""


def is_held_out(goal: str, direction: str, count: int, time: str) -> bool:
  """Whether games of a kind are kept out of training, by the rule above."""
  way = game.FACINGS.index(direction) if direction else 0
  total = GOALS.index(goal) + way + 2 * count
  return total % 5 == list(game.TIMES).index(time)


def sample(key: np.random.Generator, size: tuple[int, int], frames: int,
           fps: float, held_out: bool = False, *,
           time: str | None = None) -> Facts:
  """Draws the facts of a clip; arguments as in contracts.World and OPTIONS.

  Raises:
    ValueError: another size than SIZE, no frames, or craftax is not installed.
  """
  if tuple(size) != SIZE:
    raise ValueError(f"size {size[0]}x{size[1]}: the game is shown at "
                     f"{SIZE[0]}x{SIZE[1]} alone")
  facts_lib.duration(frames, fps, held_out)
  if time not in (None, *OPTIONS["time"]):
    raise ValueError(f"time={time!r}: there are day and night")
  while True:
    goal = facts_lib.pick(key, [g for g in GOALS if frames >= FEWEST[g]] or GOALS)
    direction = facts_lib.pick(key, game.FACINGS) if goal == "walks" else ""
    when = facts_lib.pick(key, OPTIONS["time"]) if time is None else time
    aim = int(key.integers(1, min(MOST, max(frames // 5, 1)) + 1))
    shown, actions = game.play(key, goal, frames - 1, count=aim,
                               direction=direction or "left", time=when)
    if not shown:
      continue
    count, wins = outcome(goal, shown, actions)
    if frames > 1 and (
        is_held_out(goal, direction, count, when) != held_out
        or not _happened(goal, direction, count, shown)):
      continue
    return Facts(goal, direction, count, wins, when, shown, actions,
                 int(key.integers(2**31)), size, frames, fps)


def outcome(goal: str, shown: Sequence[game.Shown],
            actions: Sequence[int]) -> tuple[int, bool]:
  """(count, wins) of a game that was played."""
  first, last = shown[0], shown[-1]
  wood = game.ITEMS.index("wood")
  zombies = [sum(m[0] == "zombie" for m in s.mobs) for s in shown]
  count = {"collects wood": last.items[wood] - first.items[wood],
           "drinks": sum(a == game.DO for a in actions)}.get(goal, 0)
  # It falls to a blow, not by walking out of the view.
  wins = goal == "fights" and any(
      a == game.DO and n < m for a, m, n in zip(actions, zombies, zombies[1:]))
  return count, wins


def _happened(goal, direction, count, shown):
  """Whether the goal can be seen."""
  if goal == "walks":
    return shown[-1].facing == direction and steps(shown) >= min(
        len(shown) - 1, 4)
  return count > 0 if goal != "fights" else True


def steps(shown: Sequence[game.Shown]) -> int:
  """How often the view scrolled, at least: frames whose cells all moved."""
  return sum(a.cells != b.cells for a, b in zip(shown, shown[1:]))


def render(facts: Facts) -> np.ndarray:
  """The clip, uint8 [T, 144, 144, 3].

  Raises:
    ValueError: craftax is not installed.
  """
  return screen.draw(facts.shown, facts.seed)

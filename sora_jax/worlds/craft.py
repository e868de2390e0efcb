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
from sora_jax.worlds import craft_read as reader
from sora_jax.worlds import craft_screen as screen
from sora_jax.worlds import craft_words
from sora_jax.worlds import facts as facts_lib
from sora_jax.worlds import rows_game
from sora_jax.worlds import twins

describe = craft_words.describe
told = craft_words.told
read = craft_words.read
parse = reader.parse
score = reader.score

SIZE = screen.SIZE  # the one size that it draws
SHORTEST = 0.0
LAWS = ("step", "item")
ROWS = rows_game.CRAFT
NEEDS = ("craftax",)
OPTIONS = {"time": ("day", "night")}
GOALS = tuple(craft_words.GOALS)
FEWEST = {"walks": 2, "collects wood": 5, "drinks": 5, "fights": 9}  # frames
TRIES = 30  # games, after which another goal is drawn
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
  goals = [g for g in GOALS if frames >= FEWEST[g]] or list(GOALS[:1])
  while True:
    goal = facts_lib.pick(key, goals)
    direction = facts_lib.pick(key, game.FACINGS) if goal == "walks" else ""
    when = facts_lib.pick(key, OPTIONS["time"]) if time is None else time
    aim = int(key.integers(1, min(MOST, max(frames // 5, 1)) + 1))
    due = aim if goal in ("collects wood", "drinks") and frames > 1 else 0
    if frames > 1 and is_held_out(goal, direction, due, when) != held_out:
      continue
    for _ in range(TRIES):
      shown, actions, _ = game.play(key, goal, frames - 1, count=aim,
                                    direction=direction or "left", time=when)
      if shown and (frames == 1 or _happened(goal, direction, due, shown)):
        wins = reader.played(shown)["wins"]
        return Facts(goal, direction if frames > 1 else "", due, wins, when,
                     shown, actions, int(key.integers(2**31)), size, frames, fps)


def _happened(goal, direction, count, shown):
  """Whether what is to happen can be seen, and all of it is by the rules."""
  was = reader.played(shown)
  moved = sum(a.cells != b.cells for a, b in zip(shown, shown[1:]))
  return (was["goal"], was["direction"], was["count"]) == (
      goal, direction, count) and reader.steps(shown) == 1 and (
          goal != "walks" or moved >= min(len(shown) - 1, 4))


def render(facts: Facts) -> np.ndarray:
  """The clip, uint8 [T, 144, 144, 3].

  Raises:
    ValueError: craftax is not installed.
  """
  return render_many([facts])[0]


def render_many(facts: Sequence[Facts]) -> list[np.ndarray]:
  """Several clips at once; see `render`."""
  shown = [_screens(f) for f in facts]
  video = screen.draw([s for one in shown for s in one], [
      (f.seed, t) for f, one in zip(facts, shown) for t in range(len(one))])
  ends = np.cumsum([len(one) for one in shown])[:-1]
  return np.split(video, ends)


def _screens(facts):
  """What is shown in every frame, a law broken if one is."""
  if not facts.broken:
    return facts.shown
  other = counterpart(dataclasses.replace(facts, broken=""), facts.broken)
  half = facts.frames // 2
  return (*facts.shown[:half], *other.shown[half:])


def counterpart(facts: Facts, law: str) -> Facts:
  """The lawful clip that `twin(facts, law)` ends as, and begins as facts."""
  twins.check(facts, law, LAWS)
  if law == "step":
    swap = {"left": "right", "right": "left"}
    return dataclasses.replace(
        facts, shown=tuple(map(game.mirrored, facts.shown)),
        actions=tuple({1: 2, 2: 1}.get(a, a) for a in facts.actions),
        direction=swap.get(facts.direction, facts.direction))
  iron = game.ITEMS.index("iron")
  return dataclasses.replace(facts, shown=tuple(dataclasses.replace(
      s, items=(*s.items[:iron], 1 - s.items[iron], *s.items[iron + 1:]))
                                                for s in facts.shown))


def twin(facts: Facts, law: str) -> Facts:
  """The same clip, but from its middle on it is in breach of the rules.

    step   all is left where it was right, from one step to the next
    item   the player has a piece of iron that nobody collected, or has it no more
  """
  return twins.broken(facts, law, LAWS)


def what_if(facts: Facts, key: np.random.Generator) -> Facts:
  """The same clip with left and right changed places, or at another time."""
  other = next(t for t in game.TIMES if t != facts.time)
  lights = [round(game.light(game.TIMES[other] + t), 3)
            for t in range(facts.frames)]
  found = [dataclasses.replace(facts, time=other, shown=tuple(
      dataclasses.replace(s, light=x) for s, x in zip(facts.shown, lights)))]
  if facts.goal == "walks" and facts.direction in ("left", "right"):
    found.append(counterpart(facts, "step"))
  held = lambda f: is_held_out(f.goal, f.direction, f.count, f.time)
  allowed = [f for f in found if facts.frames == 1 or held(facts)
             or not held(f)]
  return facts_lib.pick(key, allowed or [counterpart(facts, "step")])

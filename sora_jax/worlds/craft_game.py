"""Craftax-Classic as it is played: worlds, scripted policies, what is shown.

The game is the package `craftax` (MIT; arXiv:2402.16801); nothing of its rules
is written again here. It runs in jax, which is imported on first use, on the CPU.
A game begins where the policy asks for it: on a free cell within reach of a
tree, of water or of a zombie.
"""

import dataclasses
import functools
import importlib
from typing import Any

import numpy as np

from sora_jax import extras

VIEW = (7, 9)  # rows and columns of cells that are shown
# One letter a block, in the game's order; the first two are no block of a map.
BLOCKS = "?#.wStW_cidTFsLpR"
GRASS, WATER, TREE, WOOD = 2, 3, 5, 6
FREE = (2, 7, 13)  # grass, path and sand: what can be walked on unharmed
FACINGS = ("left", "right", "up", "down")  # the game's actions 1 to 4
STEPS = {"left": (0, -1), "right": (0, 1), "up": (-1, 0), "down": (1, 0)}
NOTHING, DO = 0, 5
ITEMS = ("wood", "stone", "coal", "iron", "diamond", "sapling", "wood_pickaxe",
         "stone_pickaxe", "iron_pickaxe", "wood_sword", "stone_sword",
         "iron_sword")
MOBS = ("zombie", "cow", "skeleton", "arrow left", "arrow right", "arrow up",
        "arrow down")
DAY = 10_000  # steps of a day: the light of a clip hardly changes
TIMES = {"day": 2000, "night": 5150}  # of a day; light 1 and 0.4
ZOMBIE, COW = 5, 3  # health


@dataclasses.dataclass(frozen=True)
class Shown:
  """What the screen shows at one step.

  Attributes:
    cells: the blocks of the view, row by row, letters of BLOCKS.
    facing: of the player, who stands in the middle.
    mobs: (kind, row, column) of what is on top of a cell, names in MOBS, in the
      order in which they are drawn.
    stats: health, food, drink and energy.
    items: how many the player has of each of ITEMS.
    light: of the day, 0 to 1.
  """

  cells: str
  facing: str
  mobs: tuple[tuple[str, int, int], ...]
  stats: tuple[int, ...]
  items: tuple[int, ...]
  light: float


def package(name: str) -> Any:
  """A module of craftax.craftax_classic.

  Raises:
    ValueError: the package is not installed.
  """
  try:
    return importlib.import_module(f"craftax.craftax_classic.{name}")
  except ImportError as e:
    raise ValueError("the world craft needs craftax, which is not installed: "
                     f"{extras.install('worlds')}") from e


@functools.cache
def _rules() -> tuple[Any, Any, Any]:
  """(cpu, world, step), the last two compiled: seed -> state, state -> state."""
  state_lib = package("envs.craftax_state")
  logic, world_gen = package("game_logic"), package("world_gen")
  import jax  # pylint: disable=import-outside-toplevel
  static = state_lib.StaticEnvParams()
  params = state_lib.EnvParams(day_length=DAY)
  cpu = jax.local_devices(backend="cpu")[0]

  @jax.jit
  def world(seed):
    return world_gen.generate_world(jax.random.PRNGKey(seed), params, static)

  @jax.jit
  def step(state, action):
    return logic.craftax_step(state.state_rng, state, action, params, static)[0]

  return cpu, world, step


def play(rng: np.random.Generator, goal: str, steps: int, *, direction: str,
         count: int, time: str
         ) -> tuple[tuple[Shown, ...], tuple[int, ...], list[Any]]:
  """Plays one game.

  Args:
    rng: draws the world and where it begins.
    goal: "walks", "collects wood", "drinks" or "fights".
    steps: of the game.
    direction: to walk in, one of FACINGS.
    count: how often to collect or to drink, at most.
    time: a name in TIMES.

  Returns:
    (what is shown at first and after each step, the actions, the game's states);
    empty if the world has no place to begin at.

  Raises:
    ValueError: the package is not installed.
  """
  cpu, world, step = _rules()
  import jax  # pylint: disable=import-outside-toplevel
  with jax.default_device(cpu):
    state = world(int(rng.integers(2**31)))
    state = _begin(rng, state, goal, steps, direction, count, time)
    if state is None:
      return (), (), []
    states, actions, done = [state], [], 0
    for _ in range(steps):
      action = _policy(state, goal, direction, done < count)
      done += action == DO
      state = step(state, action)
      actions.append(action)
      states.append(state)
  return tuple(map(_show, states)), tuple(actions), states


def _begin(rng, state, goal, steps, direction, count, time):
  """The state with the player at a place where the goal can be reached."""
  cells = np.asarray(state.map)
  free = np.isin(cells, FREE)
  inner = np.zeros_like(free)
  inner[8:-8, 8:-8] = True
  if goal == "walks":
    ahead, here = free.copy(), free
    for _ in range(min(steps, 8)):
      here = free & _moved(here, direction)
      ahead &= here
    good = ahead & inner
  elif goal == "fights":
    good = inner & (cells == GRASS)
  else:
    far = distances(free, cells == {"collects wood": TREE, "drinks": WATER}[goal])
    good = inner & (far >= 1) & (far <= max(1, min(5, steps - count - 2)))
  places = np.argwhere(good)
  if not len(places):
    return None
  place = places[rng.integers(len(places))]
  cows = _draw_places(rng, (cells == GRASS), place, (2, 5), 3)
  zombies = (_draw_places(rng, free, place, (2, 3), 1) if goal == "fights"
             else place[None][:0])
  if goal == "fights" and not len(zombies):
    return None
  mobs = np.zeros_like(free)
  for where in (*cows, *zombies):
    mobs[tuple(where)] = True
  has = {"wood_sword": int(goal == "fights"), "wood": int(rng.integers(3)),
         "sapling": int(rng.integers(2)), "stone": int(rng.integers(4))}
  drink = int(rng.integers(2, 6)) if goal == "drinks" else int(rng.integers(5, 10))
  return state.replace(
      player_position=place.astype(np.int32),
      player_direction=np.int32(1 + rng.integers(4)), mob_map=mobs,
      player_health=np.int32(rng.integers(6, 10)),
      player_food=np.int32(rng.integers(4, 10)), player_drink=np.int32(drink),
      player_energy=np.int32(rng.integers(4, 10)),
      inventory=state.inventory.replace(
          **{k: np.int32(n) for k, n in has.items()}),
      cows=_mobs(state.cows, cows, COW),
      zombies=_mobs(state.zombies, zombies, ZOMBIE),
      skeletons=_mobs(state.skeletons, cows[:0], 0),
      timestep=np.int32(TIMES[time]),
      light_level=np.float32(light(TIMES[time])))


def light(step: int) -> float:
  """The game's light at a step of a day of DAY steps."""
  return float(1 - abs(np.cos(np.pi * (step / DAY + 0.3)))**3)


def _moved(cells, direction):
  """Cell (r, c) of the result is the next cell in a direction."""
  dr, dc = STEPS[direction]
  return np.roll(cells, (-dr, -dc), (0, 1))


def _draw_places(rng, allowed, place, reach, most):
  """Up to `most` cells whose distance from `place` is in `reach`, [n, 2]."""
  far = np.abs(np.argwhere(allowed) - place).sum(1)
  near = np.argwhere(allowed)[(far >= reach[0]) & (far <= reach[1])]
  count = min(len(near), most if most == 1 else int(rng.integers(most + 1)))
  return near[rng.permutation(len(near))[:count]]


def _mobs(mobs, places, health):
  """The game's mobs with those at `places` alive and no other."""
  alive = np.arange(len(mobs.mask)) < len(places)
  where = np.zeros((len(alive), 2), np.int32)
  where[:len(places)] = places
  return mobs.replace(position=where, mask=alive,
                      health=np.where(alive, health, 0).astype(np.int32),
                      attack_cooldown=np.zeros(len(alive), np.int32))


def distances(free: np.ndarray, target: np.ndarray, most: int = 12) -> np.ndarray:
  """Steps over free cells until a target is next, int [H, W]; 99 beyond most."""
  far = np.full(free.shape, 99)
  now = target
  for n in range(most + 1):
    now = np.logical_or.reduce([_moved(now, d) for d in FACINGS]) & free & (
        far == 99)
    far[now] = n
  return far


def _policy(state, goal, direction, more):
  """The next action."""
  if goal == "walks":
    return 1 + FACINGS.index(direction)
  cells, place = np.asarray(state.map), np.asarray(state.player_position)
  if goal == "fights":
    mobs = state.zombies
    target = np.zeros(cells.shape, bool)
    for where in np.asarray(mobs.position)[np.asarray(mobs.mask)]:
      target[tuple(where)] = True
  else:
    target = cells == {"collects wood": TREE, "drinks": WATER}[goal]
    target &= more
  free = np.isin(cells, FREE) & ~np.asarray(state.mob_map)
  far = distances(free, target)
  facing = FACINGS[int(state.player_direction) - 1]
  at = lambda d: tuple(place + STEPS[d])
  if target[at(facing)]:
    return DO
  for i, d in enumerate(FACINGS):
    if target[at(d)]:
      return 1 + i  # the way is blocked, so that the player turns
  best = min(FACINGS, key=lambda d: far[at(d)])
  free[tuple(place)] = True
  return 1 + FACINGS.index(best) if far[at(best)] < 99 else NOTHING


def _show(state):
  """What the screen shows of a state."""
  place = np.asarray(state.player_position)
  corner = place - [VIEW[0] // 2, VIEW[1] // 2]
  cells = np.pad(np.asarray(state.map), 8, constant_values=1)
  r, c = corner + 8
  cells = cells[r:r + VIEW[0], c:c + VIEW[1]]
  mobs = []
  for name, group in (("zombie", state.zombies), ("cow", state.cows),
                      ("skeleton", state.skeletons), ("arrow", state.arrows)):
    for i in np.flatnonzero(np.asarray(group.mask)):
      row, column = map(int, np.asarray(group.position)[i] - corner)
      if 0 <= row < VIEW[0] and 0 <= column < VIEW[1]:
        if name == "arrow":
          dr, dc = np.asarray(state.arrow_directions)[i]
          name = "arrow " + ("left" if dc < 0 else "right" if dc > 0
                             else "up" if dr < 0 else "down")
        mobs.append((name, row, column))
  return Shown(
      "".join(BLOCKS[b] for b in cells.ravel()),
      FACINGS[int(state.player_direction) - 1], tuple(mobs),
      tuple(int(getattr(state, f"player_{k}"))
            for k in ("health", "food", "drink", "energy")),
      tuple(int(getattr(state.inventory, k)) for k in ITEMS),
      round(float(state.light_level), 3))


def mirrored(shown: Shown) -> Shown:
  """A screen with left and right changed places."""
  rows = [shown.cells[i:i + VIEW[1]][::-1]
          for i in range(0, len(shown.cells), VIEW[1])]
  swap = {"left": "right", "right": "left", "arrow left": "arrow right",
          "arrow right": "arrow left"}
  return dataclasses.replace(
      shown, cells="".join(rows), facing=swap.get(shown.facing, shown.facing),
      mobs=tuple((swap.get(kind, kind), r, VIEW[1] - 1 - c)
                 for kind, r, c in shown.mobs))

"""Digital worlds: a game is shown as its rules allow, and is played.

Report: "Sora can simultaneously control the player in Minecraft with a basic
policy while also rendering the world and its dynamics in high fidelity."
"""

import collections
from typing import Any

from sora_jax.worlds import rows

ABILITY = "digital worlds"
LAWFUL = 0.95  # the least share of steps that the rules allow


def cells(facts: Any, observed: Any, score: rows.Score) -> float:
  """The share of the cells that show a block of the game."""
  del facts, score
  return observed.share


def lawful(facts: Any, observed: Any, score: rows.Score) -> bool:
  """Whether the rules allow nearly all steps, and something happens."""
  del facts
  return score["steps"] >= LAWFUL and _moves(observed)


def steps(facts: Any, observed: Any, score: rows.Score) -> float:
  """The percentage of steps that the rules allow."""
  del facts, observed
  return 100 * score["steps"]


def goal(facts: Any, observed: Any, score: rows.Score) -> bool:
  """Whether the player does what is told; who walks gets somewhere."""
  del facts
  return bool(score["goal"]) and _moves(observed)


def policy(facts: Any, observed: Any, score: rows.Score) -> float | None:
  """How alike the ways are that the player faces: 1 less half of the sum of
  differences between the shares, in per cent."""
  del score
  shares = [collections.Counter(s.facing for s in shown[1:])
            for shown in (facts.shown, observed.shown)]
  if not all(shares):
    return None
  total = [sum(s.values()) for s in shares]
  return 100 * sum(min(shares[0][k] / total[0], shares[1][k] / total[1])
                   for k in shares[0])


def _moves(observed):
  """Whether anything changes."""
  return any((a.cells, a.facing, a.items, a.stats) != (
      b.cells, b.facing, b.items, b.stats)
             for a, b in zip(observed.shown, observed.shown[1:]))


CRAFT = (
    rows.Row(ABILITY, "cells that show a block", cells, ("noise",)),
    rows.Row(ABILITY, "steps as the rules allow", lawful,
             ("step", "item", "shuffled", "still")),
    rows.Row(ABILITY, "the player reaches the goal", goal, ("still",), told=True),
    rows.Row(ABILITY, "steps that the rules allow", steps, unit="%"),
    rows.Row(ABILITY, "ways faced, alike", policy, told=True, unit="%"),
)

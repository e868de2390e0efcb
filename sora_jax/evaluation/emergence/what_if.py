"""What-if pairs: two prompts that differ in one fact, from the same noise.

Asked is whether the two videos differ as the two prompts do, and whether all else
that can be read is the same in both.
"""

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any

import numpy as np

from sora_jax import contracts
from sora_jax import worlds
from sora_jax.evaluation import cases
from sora_jax.evaluation import statistics

RIGHT = 0.95  # the least share that counts as right


def other(case: cases.Case) -> cases.Case:
  """The case with one fact changed, told in the same words otherwise."""
  facts = case.world.what_if(case.facts, worlds.key(case.seed, "what if"))
  texts = [case.world.describe(f, worlds.key(case.seed, case.cell.world, "caption"))
           for f in (case.facts, facts)]
  kind = texts[0].index(case.prompt)
  return dataclasses.replace(case, facts=facts, prompt=texts[1][kind])


def answers(world: contracts.World, facts: Sequence[Any],
            videos: Sequence[np.ndarray], touched: frozenset[str]
            ) -> dict[str, bool]:
  """Two videos against the facts that they should show.

  Args:
    world: of the facts.
    facts: two, which differ in one.
    videos: of each.
    touched: the names of the score that the change shows in.

  Returns:
    difference: whether each shows its own of what was changed; rest: whether
    all else that can be read is as right in one as in the other.
  """
  scores = [_right(world, f, v) for f, v in zip(facts, videos)]
  names = scores[0].keys() & scores[1].keys()
  return {"difference": all(s[n] for s in scores for n in touched & s.keys()),
          "rest": all(scores[0][n] == scores[1][n] for n in names - touched)}


def touched(world: contracts.World, facts: Sequence[Any]) -> frozenset[str]:
  """The names of the score in which the truths of two facts differ."""
  crossed = [_right(world, f, world.render(g))
             for f, g in (facts, tuple(facts)[::-1])]
  return frozenset(n for found in crossed for n, right in found.items()
                   if not right)


def rows(first: Sequence[Mapping[str, bool]], ceiling: Sequence[Mapping[str, bool]],
         floor: Sequence[Mapping[str, bool]]) -> list[dict[str, Any]]:
  """The two rows, from the answers of the model, of the truth through the VAE and
  of one video shown for both prompts."""
  share = lambda some, name: statistics.average([float(a[name]) for a in some])
  return [{"row": f"what if: {name}", **statistics.mean(
      [float(a[name]) for a in first]), "ceiling": share(ceiling, name),
           "floor": share(floor, name)} for name in ("difference", "rest")]


def _right(world, facts, video):
  """name -> whether it is right."""
  found = world.score(facts, world.parse(video, facts.fps))
  return {n: float(v) >= RIGHT for n, v in found.items()}

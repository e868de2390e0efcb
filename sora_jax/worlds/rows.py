"""Rows: what the suite of emergence asks of a clip, one question each.

A world states its rows as ROWS (contracts.World). Each is a pure function of the
clip's facts, of what was observed and of the world's score of that; the files
rows_*.py hold them, one file an ability. A share is right at 1; a number has a
unit and no right value, but one that the truth has too.

Beside each row stand controls that must fail it: laws of the world, whose twins
break just what is asked, or the names of evaluation/emergence/controls.py.
"""

from collections.abc import Callable, Mapping
import dataclasses
from typing import Any

Score = Mapping[str, bool | float]
Measure = Callable[[Any, Any, Score], bool | float | None]


@dataclasses.dataclass(frozen=True)
class Row:
  """One question.

  Attributes:
    ability: under which the report claims it.
    name: of the row, unlike others of its world.
    measure: (facts, observed, score) -> whether, or to what share, it is as the
      facts say; None where the clip does not ask it.
    controls: what must fail: names of laws or of controls.
    alarm: the same of the clip's twin without its object (World.empty): whether
      something is there all the same. The row's value is then `measure` less
      `alarm`, so that a model that always shows something gains nothing.
    told: whether only the caption tells what is right, so that it cannot be
      asked of a clip that goes on from first frames alone.
    unit: of a number; "" of a share.
  """

  ability: str
  name: str
  measure: Measure
  controls: tuple[str, ...] = ()
  alarm: Measure | None = None
  told: bool = False
  unit: str = ""


def right(*names: str) -> Measure:
  """Asks whether all these facts of the score are right; None without one."""
  return lambda facts, observed, score: (
      all(bool(score[n]) for n in names)
      if score.keys() >= set(names) else None)


def told_of(measure: Measure, asked: Callable[[Any], bool]) -> Measure:
  """A measure for the clips alone whose facts are `asked`."""
  return lambda facts, observed, score: (
      measure(facts, observed, score) if asked(facts) else None)

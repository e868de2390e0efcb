"""Permanence: what is out of sight is still there, and nothing else is.

Report: "our model can persist people, animals and objects even when they are
occluded or leave the frame"; "it can generate multiple shots of the same
character in a single sample, maintaining their appearance throughout the video".
"""

from typing import Any

from sora_jax.worlds import rows

ABILITY = "permanence"
Row, right = rows.Row, rows.right


def more_than_rest(facts: Any, observed: Any, score: rows.Score) -> bool:
  """Whether more objects come back than the empty lookaway.Facts have."""
  del score
  return len(observed.after) > len(facts.things) - 1


def unchanged(facts: Any, observed: Any, score: rows.Score) -> bool:
  """Whether the objects were out of sight and come back as they were."""
  del facts
  looks = lambda some: sorted((s.colour, s.shape, s.size) for s in some)
  return bool(score["hidden"]) and looks(observed.before) == looks(
      observed.after)


def late(facts: Any, observed: Any, score: rows.Score) -> float | None:
  """By how many frames the time out of sight is wrong."""
  del score
  lost = max(observed.lost.values(), default=0)
  return float(abs(lost - facts.hidden)) if lost else None


LOOKAWAY = (
    Row(ABILITY, "comes back", right("returns", "event", "hidden"),
        ("permanence", "immutability", "continuity", "still"), more_than_rest),
    Row(ABILITY, "comes back unchanged", unchanged,
        ("permanence", "immutability", "still")),
    Row(ABILITY, "error of the time away", late, unit="frames"),
)


def any_colour(facts: Any, observed: Any, score: rows.Score) -> bool:
  """Whether anything is seen of the empty hidden.Facts."""
  del facts, score
  return bool(observed.colours)


HIDDEN = (
    Row(ABILITY, "goes on unseen", right("progress", "hidden"),
        ("progress", "permanence", "still"), any_colour),
    Row(ABILITY, "keeps its colour unseen", right("kept"),
        ("immutability", "permanence")),
)


def any_track(facts: Any, observed: Any, score: rows.Score) -> bool:
  """Whether anything is seen of facts without objects."""
  del facts, score
  return bool(observed.tracks)


OCCLUDER = (
    Row(ABILITY, "comes out again", right("survives", "colour", "shape"),
        ("permanence", "immutability", "still"), any_track),
)


def anybody(facts: Any, observed: Any, score: rows.Score) -> bool:
  """Whether more figures are seen at last than empty figures.Facts have."""
  del score
  return len(observed.shots[-1].last) > len(facts.figures) - 1


FIGURES = (
    Row(ABILITY, "walks on behind posts", right("survives", "direction", "posts"),
        ("permanence", "immutability", "still"),
        rows.told_of(anybody, lambda f: not f.shots)),
    Row("shots", "cuts as told", right("cuts", "settings"), ("still",), told=True),
    Row("shots", "the same figure in all shots", right("identity", "cuts"),
        ("permanence", "immutability", "still"), told=True),
)

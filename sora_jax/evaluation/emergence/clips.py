"""The videos that are judged of one case, by the way in which they came about.

  truth   as the world draws it
  vae     the truth through the VAE and back: the ceiling
  text    the model's, from the caption alone
  clip    the model's, from the first frames alone, with an empty prompt; what
          could be read off a caption says nothing of permanence

and any control. Where the world can draw the clip without its object, all but
`text` are made of that clip as well: whatever is seen there is a false alarm.
"""

from collections.abc import Callable, Sequence
import functools
import hashlib
import pathlib
from typing import Any

import numpy as np

from sora_jax.evaluation import cases
from sora_jax.evaluation import videos
from sora_jax.evaluation.emergence import controls
from sora_jax.evaluation.emergence import judge

Show = Callable[[Any], np.ndarray]  # facts -> the video of them


def without(case: cases.Case) -> Any:
  """The facts of a case without its object; None if the world has none such."""
  empty = getattr(case.world, "empty", None)
  return empty(case.facts) if empty else None


def verdict(case: cases.Case, show: Show,
            told: bool = False) -> dict[str, Any]:
  """What the rows say of a way of showing facts.

  Args:
    case: of the facts.
    show: facts -> the video of them.
    told: whether it is from a caption alone: no clip without its object is
      asked for.

  Returns:
    {"unparsed": why, "hits": by row, "values": hits less false alarms}.
  """
  found = judge.judge(case.world, case.facts, show(case.facts))
  empty, hits = without(case), dict(found.values)
  values = hits if told or empty is None else judge.less(
      found, judge.alarms(case.world, empty, show(empty)))
  return {"unparsed": found.unparsed, "hits": hits, "values": values}


def control(case: cases.Case, name: str) -> Show:
  """A way of showing facts: the control of a name, or the truth if it is ""."""

  def show(facts):
    # Of a clip without its object only permanence can be broken.
    kept = facts != case.facts and name in case.world.LAWS and (
        name != "permanence")
    if not name or kept:
      return case.world.render(facts)
    return controls.video(case.world, facts, name, case.seed)

  return show


def from_text(model: videos.Pipeline, todo: Sequence[cases.Case],
              folder: pathlib.Path, batch: int, **how: Any) -> list[Show]:
  """Draws every case from its caption: the way in which the model shows it."""
  return [functools.partial(_same, video) for video in videos.generate(
      model, todo, folder, batch, **how)]


def from_clip(model: Any, todo: Sequence[cases.Case], folder: pathlib.Path,
              **how: Any) -> list[Show]:
  """Lets the first frames of every case go on, with and without its object.

  Kept in `folder`, so that a run that was stopped goes on.
  """
  folder.mkdir(parents=True, exist_ok=True)
  return [functools.partial(_go_on, model, case, folder / f"{i:05d}", how)
          for i, case in enumerate(todo)]


def through(model: videos.Pipeline, case: cases.Case) -> Show:
  """The truth through the VAE and back."""
  return lambda facts: model.reconstruct(case.world.render(facts))


def _same(video, facts):
  """A video that is there already."""
  del facts
  return video


def _go_on(model, case, path, how, facts):
  """The first frames of facts, and what the model makes of them."""
  n = controls.given(facts.frames)
  given = case.world.render(facts)[:n]
  key = repr((model.model.digest, hashlib.sha256(given.tobytes()).hexdigest(),
              given.shape, facts.frames, facts.fps, case.seed, how))
  kind = "" if facts == case.facts else "-empty"
  return videos.kept(path.with_name(path.name + kind + ".npz"), key, (
      lambda: model.extend(given, "", facts.frames - n, fps=facts.fps,
                           seed=case.seed, **how)))

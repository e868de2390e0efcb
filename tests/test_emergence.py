"""The suite of emergence: rows can fail, and any video has a score.

experiments/emergence/controls.py asks the same of many more clips.
"""

import json
import pathlib
import types

import numpy as np
import pytest

from sora_jax import extras
from sora_jax import worlds
from sora_jax.cli import evaluate
from sora_jax.evaluation import cases
from sora_jax.evaluation import emergence
from sora_jax.evaluation import suites
from sora_jax.evaluation.emergence import clips
from sora_jax.evaluation.emergence import controls
from sora_jax.evaluation.emergence import judge
from sora_jax.evaluation.emergence import what_if

SLOW = ("craft", "orbit")
NAMES = [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW))
         for n in worlds.WORLDS]


class Perfect:
  """A model that draws the truth of the cases that it knows, or a control."""

  def __init__(self, todo, control=""):
    self.model = types.SimpleNamespace(digest=f"d{control}")
    self.cases, self.control, self.calls = todo, control, 0
    shows = [(c, f) for c in todo for f in (c.facts, clips.without(c)) if f]
    self.starts = {c.world.render(f)[:controls.given(f.frames)].tobytes(): (c, f)
                   for c, f in shows}

  def generate_batch(self, prompts, size, frames, fps, seeds, **how):
    self.calls += 1
    known = {(c.prompt, c.seed): c for case in self.cases
             for c in (what_if.other(case), case)}
    return np.stack([self._show(known[key], known[key].facts)
                     for key in zip(prompts, seeds)])

  def extend(self, video, prompt, frames, fps, seed, **how):
    assert prompt == ""
    self.calls += 1
    return self._show(*self.starts[video.tobytes()])

  def reconstruct(self, video):
    return video

  def _show(self, case, facts):
    return clips.control(case, self.control)(facts)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_truth_is_right_and_what_is_made_to_fail_fails(name):
  todo = cases.draw(2, 1, [(64, 64)], names=[name])
  truth = [clips.verdict(c, clips.control(c, "")) for c in todo]
  rows = judge.rows(todo[0].world)
  assert rows and len({r.name for r in rows}) == len(rows)
  for control in {c for r in rows for c in r.controls}:
    found = [clips.verdict(c, clips.control(c, control)) for c in todo]
    for row in rows:
      asked = [(t["values"][row.name], f["values"][row.name])
               for t, f in zip(truth, found)]
      for right, wrong in asked:
        if right is not None and not row.unit:
          assert right > 0.9, row
          assert control not in row.controls or wrong is None or wrong < 0.1, (
              row, control)


@pytest.mark.parametrize("name", NAMES)
def test_any_video_has_a_score_and_a_reason(name):
  world = worlds.WORLDS[name]
  case, = cases.draw(1, 0, [(64, 64)], names=[name])
  true, rng = case.render(), np.random.default_rng(0)
  other = cases.draw(1, 0, [(64, 64)], names=["balls"])[0].render()
  videos = {"black": np.zeros_like(true), "one frame": true[:1],
            "small": true[:, ::2, ::2], "longer": true[[0, *range(len(true))]],
            "noise": rng.integers(0, 256, true.shape, np.uint8),
            "two worlds": np.concatenate([true[:8], other[8:17]])
            if other.shape == true.shape else true[::-1]}
  names = {r.name for r in judge.rows(world)}
  for kind, video in videos.items():
    found = judge.judge(world, case.facts, video)
    assert set(found.values) == names
    if kind in ("black", "one frame", "small", "longer"):
      assert found.unparsed.startswith("unparsed: "), kind
      assert all(v == 0 for r, v in zip(judge.rows(world), found.values.values())
                 if not r.unit)
    if (empty := clips.without(case)) is not None:
      judge.alarms(world, empty, video)
  assert "1 frame where 17" in judge.judge(world, case.facts, true[:1]).unparsed
  image = world.sample(worlds.key(0, name), case.facts.size, 1, 8.0)
  asked = judge.judge(world, image, world.render(image)).values
  assert asked.keys() == names and not any(asked.values())
  width, height = case.facts.size
  assert f"{width // 2}x{height // 2} pixels where {width}x{height}" in (
      judge.judge(world, case.facts, true[:, ::2, ::2]).unparsed)


def test_food_that_vanishes_is_not_bitten():
  case, = cases.draw(1, 0, [(64, 64)], names=["bite"])
  video = case.render()
  row = judge.rows(case.world)[0].name
  assert judge.judge(case.world, case.facts, video).values[row]
  video[len(video) // 2:] = 0
  assert not judge.judge(case.world, case.facts, video).values[row]


@pytest.fixture(autouse=True)
def no_networks(monkeypatch):
  """The models of these tests have no networks that could be surprised."""
  monkeypatch.setattr(emergence, "surprise_of", lambda model, todo, law: {
      "value": 0.5, "low": 0.5, "high": 0.5, "n": len(todo), "paired": True,
      "more": {"value": 0.0}, "alone": {"value": 0.5}})


def run(out, model, todo, names):
  return emergence.evaluate(model, cases.Request(todo, out, worlds=names))


@pytest.mark.slow
def test_a_model_is_scored_beside_its_ceiling_and_its_floor(tmp_path):
  names = ("hidden", "bite")
  todo = emergence.draw(2, 0, [(64, 64)], names=names)
  good = Perfect(todo)
  found = run(tmp_path / "good", good, todo, names)
  for name in names:
    one = found["worlds"][name]
    assert list(one)[0] == "unparsed" and one["unparsed"]["clip"]["n"] == 2
    for row in one["rows"]:
      if not row["unit"]:
        assert row["value"] == row["ceiling"] == row["truth"] == 1
        assert row["floor"] <= 0 and row["above"]["low"] > 0 and row["n"] == 2
    assert [r["value"] for r in one["what_if"]] == [1, 1]
    assert one["what_if"][0]["floor"] == 0  # one video for two prompts
    assert one["surprise"].keys() == set(worlds.WORLDS[name].LAWS)
    assert (tmp_path / "good" / "sheets" / f"{name}.png").exists()
  goes_on = [r for r in found["worlds"]["hidden"]["rows"]
             if r["row"] == "goes on unseen"]
  assert {r["from"] for r in goes_on} == {"text", "clip"}
  assert sum(c["n"] for c in goes_on[0]["by_hidden"].values()) == 2
  told = [r for r in found["worlds"]["bite"]["rows"] if "told" in r["row"]]
  assert [r["from"] for r in told] == ["text"]
  # A run that has been stopped goes on: world by world, video by video.
  calls = good.calls
  (tmp_path / "good" / "parts" / "bite.json").unlink()
  again = run(tmp_path / "good", good, todo, names)
  assert good.calls == calls
  assert again["worlds"]["hidden"] == found["worlds"]["hidden"]
  assert again["worlds"]["bite"]["rows"] == found["worlds"]["bite"]["rows"]


def test_false_alarms_are_taken_off_hits(tmp_path):
  todo = emergence.draw(1, 0, [(64, 64)], names=["hidden"])
  forgets = run(tmp_path, Perfect(todo, "permanence"), todo, ["hidden"])
  hits, less = (next(r["value"] for r in forgets["worlds"]["hidden"]["rows"]
                     if r["row"] == "goes on unseen" and r["from"] == way)
                for way in ("text", "clip"))
  assert hits == 0 and less == -1  # it shows something where nothing was


def test_a_world_whose_packages_are_missing_is_left_out(tmp_path, monkeypatch):
  monkeypatch.setattr(worlds.WORLDS["collide"], "NEEDS", ("no_such_package",))
  todo = emergence.draw(1, 0, [(64, 64)], names=["collide", "balls"])
  assert [c.cell.world for c in todo] == ["balls"]
  found = run(tmp_path, Perfect(todo), todo, ("collide", "balls"))["worlds"]
  assert found["collide"]["left_out"] == (
      "the world collide needs no_such_package: "
      f"{extras.install('worlds')}")
  assert found["balls"]["rows"]
  assert "Left out: the world collide needs" in (
      tmp_path / "tables.md").read_text("utf-8")
  with pytest.raises(ValueError, match="collide needs no_such_package: .*pip"):
    emergence.draw(1, 0, [(64, 64)], names=["collide"])


def test_the_verb_asks_for_cases_of_each_world(tmp_path, monkeypatch, capsys):
  seen = {}

  def score(model, request):
    assert model == "tiny"
    seen["request"] = request
    (pathlib.Path(request.out) / "tables.md").write_text("# a table\n", "utf-8")

  suite = types.SimpleNamespace(load=str, evaluate=score, draw=emergence.draw)
  monkeypatch.setitem(suites.SUITES, "emergence", suite)
  evaluate.run(["evaluate", "--suite=emergence", "--worlds=hidden,bite",
                "--count=2", "--sizes=64x64", f"--out={tmp_path}"])
  assert "# a table" in capsys.readouterr().out
  assert [c.cell.world for c in seen["request"].cases] == ["hidden"] * 2 + [
      "bite"] * 2
  assert seen["request"].worlds == ["hidden", "bite"]


def test_controls_keep_their_names_and_shapes():
  case, = cases.draw(1, 0, [(64, 64)], names=["painter"])
  true = case.render()
  for name in (*controls.NAMES, *case.world.LAWS):
    video = controls.video(case.world, case.facts, name)
    assert video.shape == true.shape and not np.array_equal(video, true)
  with pytest.raises(ValueError, match="no control 'sleeps'.*still.*unpainting"):
    controls.video(case.world, case.facts, "sleeps")
  assert [controls.given(n) for n in (1, 9, 13, 17, 33)] == [1, 1, 5, 5, 13]
  assert json.dumps(judge.judge(case.world, case.facts, true).values)

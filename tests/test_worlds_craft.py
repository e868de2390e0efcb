"""The world of craft: the game's state is the truth, its screen is read back."""

import dataclasses
import functools
import os
import pathlib
import stat
import subprocess
import sys

import jax
import numpy as np
import pytest

from sora_jax import worlds
from sora_jax.worlds import craft_game as game
from sora_jax.worlds import craft_read as reader
from sora_jax.worlds import craft_screen as screen

craft = worlds.WORLDS["craft"]


@pytest.fixture(scope="module")
def clips():
  """Facts of games of every kind."""
  return [craft.sample(worlds.key(seed, "craft"), craft.SIZE,
                       1 if seed == 9 else 17, 8.0, seed % 3 == 0 and seed != 9)
          for seed in range(14)]


@pytest.mark.slow
def test_the_screen_is_the_games_own(clips, monkeypatch, tmp_path):
  """By day every pixel of the map and of what the player has."""
  constants = game.package("constants")
  monkeypatch.setattr(constants, "TEXTURE_CACHE_FILE", str(tmp_path / "cache"))
  look = constants.load_all_textures_given_size(16)
  renderer = game.package("renderer")
  monkeypatch.setattr(renderer, "load_all_textures", lambda: {16: look})
  draw = jax.jit(renderer.make_craftax_pixel_renderer(16))
  rng = np.random.default_rng(4)
  shown, _, states = game.play(rng, "fights", 5, direction="left", count=1,
                               time="day")
  assert shown
  for one, state in zip(shown, states):
    mine = screen.draw([one], [(0, 0)])[0]
    # The light of noon is not quite 1 after some steps.
    assert np.abs(mine - np.asarray(draw(state), float)).max() <= 1.01


@pytest.mark.slow
def test_facts_are_read_from_pixels(clips):
  for facts in clips:
    video = craft.render(facts)
    assert video.shape == (facts.frames, 144, 144, 3)
    score = craft.score(facts, craft.parse(video, 8.0))
    assert min(score.values()) > 0.98, (facts.goal, facts.time, score)
  assert {f.goal for f in clips} == set(craft.GOALS)
  assert {f.time for f in clips} == {"day", "night"}


@pytest.mark.slow
def test_many_clips_are_drawn_as_one(clips):
  for one, facts in zip(craft.render_many(clips), clips):
    np.testing.assert_array_equal(one, craft.render(facts))


def test_captions_begin_with_the_game_and_are_read_back(clips):
  for seed, facts in enumerate(clips):
    told = craft.told(facts)
    key = functools.partial(worlds.key, seed, "craft", "caption")
    short, long = craft.describe(facts, key())
    chinese, same = craft.describe(facts, key(), "zh")
    assert same == long and craft.read(long.capitalize()) == told
    for text in (short, long, chinese):
      assert text.startswith("craftax")
      assert craft.read(text).items() <= told.items()
  with pytest.raises(ValueError, match="name the game"):
    craft.read("a player walks to the left")
  for name in worlds.WORLDS.keys() - {"craft"}:
    world = worlds.WORLDS[name]
    facts = world.sample(worlds.key(1, name), (64, 64), 17, 8.0)
    assert "craft" not in "".join(world.describe(facts, worlds.key(1)))


@pytest.mark.slow
def test_the_rules_are_kept_and_a_twin_breaks_them(clips):
  for facts in clips:
    if facts.frames == 1:
      continue
    assert reader.steps(facts.shown) == 1
    assert craft.is_held_out(facts.goal, facts.direction, facts.count,
                             facts.time) == (clips.index(facts) % 3 == 0)
    for law in craft.LAWS:
      other = craft.counterpart(facts, law)
      assert craft.counterpart(other, law) == facts
      assert reader.steps(other.shown) == 1
      a, b = craft.render(facts), craft.render(other)
      twin = craft.render(craft.twin(facts, law))
      assert (twin[:8] == a[:8]).all() and (twin[8:] == b[8:]).all()
      if facts in clips[:2]:  # reading takes longer than drawing
        assert craft.score(facts, craft.parse(twin, 8.0))["steps"] < 1
    changed = craft.what_if(facts, worlds.key(3))
    assert changed != facts


def test_frames_out_of_order_break_the_rules(clips):
  facts = next(f for f in clips if f.goal == "walks" and f.frames > 1)
  video = craft.render(facts)
  order = np.random.default_rng(0).permutation(len(video))
  assert craft.score(facts, craft.parse(video[order], 8.0))["steps"] < 0.5


def test_other_clips_have_a_score_and_a_reason(clips):
  black = np.zeros((17, 144, 144, 3), np.uint8)
  small = np.zeros((17, 64, 64, 3), np.uint8)
  for video, reason in ((black, "no game"), (small, "64x64"),
                        (craft.render(clips[0])[:1], "")):
    seen = craft.parse(video, 8.0)
    assert worlds.unparsed(seen).startswith(reason) or reason in seen.unparsed
    for facts in (clips[0], clips[9]):
      assert all(0 <= v <= 1 for v in craft.score(facts, seen).values())


@pytest.mark.parametrize("call,text", [
    (lambda: craft.sample(worlds.key(0), (64, 64), 17, 8.0), "144x144"),
    (lambda: craft.sample(worlds.key(0), craft.SIZE, 0, 8.0), "0 frames"),
    (lambda: craft.sample(worlds.key(0), craft.SIZE, 9, 8.0, time="dawn"),
     "dawn"),
])
def test_what_cannot_be_drawn_is_refused(call, text):
  with pytest.raises(ValueError, match=text):
    call()


def test_without_craftax_the_command_is_told(monkeypatch):
  for name in [n for n in sys.modules if n.startswith("craftax")]:
    monkeypatch.delitem(sys.modules, name)
  monkeypatch.setitem(sys.modules, "craftax", None)
  with pytest.raises(ValueError, match="pip install craftax pymunk"):
    game.package("constants")


@pytest.mark.slow
def test_a_read_only_installation_works_and_nothing_is_printed(tmp_path):
  """The package is copied to where nothing may be written; no jax for others."""
  import craftax  # pylint: disable=import-outside-toplevel
  root = pathlib.Path(craftax.__path__[0])
  copy = tmp_path / "site" / "craftax"
  copy.mkdir(parents=True)
  for path in root.rglob("*"):
    if "__pycache__" in path.parts or path.suffix == ".pbz2":
      continue
    to = copy / path.relative_to(root)
    if path.is_dir():
      to.mkdir(exist_ok=True)
    else:
      to.write_bytes(path.read_bytes())
  for path in [*copy.rglob("*"), copy]:
    path.chmod(path.stat().st_mode & ~stat.S_IWUSR)
  before = sorted(copy.rglob("*"))
  code = ("import sys\nfrom sora_jax import worlds\n"
          "assert 'jax' not in sys.modules and 'craftax' not in sys.modules\n"
          "from sora_jax.worlds import craft_screen\n"
          "assert craft_screen.textures()['blocks'].shape[0] == 17\n"
          "assert 'pygame' not in sys.modules\n")
  paths = [str(copy.parent), *(p for p in sys.path if p)]
  done = subprocess.run(
      [sys.executable, "-B", "-c", code], capture_output=True, text=True,
      env=os.environ | {"PYTHONPATH": os.pathsep.join(paths),
                        "SDL_VIDEODRIVER": "dummy"}, check=False)
  assert done.returncode == 0, done.stderr
  assert done.stdout == ""
  assert sorted(copy.rglob("*")) == before


def test_the_night_is_dark_and_noisy(clips):
  facts = next(f for f in clips if f.time == "night" and f.frames > 1)
  day = dataclasses.replace(facts, shown=tuple(
      dataclasses.replace(s, light=1.0) for s in facts.shown))
  a, b = craft.render(facts), craft.render(day)
  assert a[:, :112].mean() < 0.9 * b[:, :112].mean()
  assert (a[:, 112:] == b[:, 112:]).all()

"""What every world promises (contracts.World), whichever it is.

experiments/emergence/worlds.py counts the same over hundreds of clips.
"""

import ast
import collections
import dataclasses
import itertools
import pathlib

import numpy as np
import pytest

from sora_jax import worlds
import sora_jax.worlds

NAMES = tuple(worlds.WORLDS)
TWINNED = tuple(n for n in NAMES if hasattr(worlds.WORLDS[n], "counterpart"))
SIZES = ((64, 64), (96, 56), (48, 112))
# The captions of the flat worlds may leave these out.
OPTIONAL = {"wall.colour", "background.axis"}


def sample(name, seed, size=(64, 64), frames=17, **asked):
  """Facts at 8 frames a second, of a world that draws the size."""
  world = worlds.WORLDS[name]
  return world.sample(worlds.key(seed, name), getattr(world, "SIZE", size), frames,
                      8.0, **asked)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_parser_reads_what_was_drawn(name):
  world, right = worlds.WORLDS[name], collections.defaultdict(list)
  for seed, (size, frames) in enumerate(itertools.product(SIZES, (17, 1, 17, 25))):
    facts = sample(name, seed, size, frames)
    video = world.render(facts)
    assert video.dtype == np.uint8
    assert video.shape == (frames, facts.size[1], facts.size[0], 3)
    for fact, value in world.score(facts, world.parse(video, 8.0)).items():
      right[fact].append(float(value))
  assert np.mean([v for values in right.values() for v in values]) > 0.97, right


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_captions_are_read_back_in_two_languages(name):
  world = worlds.WORLDS[name]
  for seed, frames in itertools.product(range(20), (1, 17)):
    facts = sample(name, seed, frames=frames)
    told = world.told(facts)
    english, chinese = (world.describe(facts, worlds.key(seed, name), language)
                        for language in ("en", "zh"))
    assert english[1] == chinese[1] and english[0].isascii()
    assert any("\u4e00" <= letter <= "\u9fff" for letter in chinese[0])
    for short in (english[0], chinese[0]):
      assert world.read(short).items() <= told.items(), short
    whole = world.read(english[1])
    assert whole.items() <= told.items()
    assert told.keys() - whole.keys() <= OPTIONAL, english[1]
  with pytest.raises(ValueError, match="language='fr'.*en and zh"):
    world.describe(facts, worlds.key(0, name), "fr")
  with pytest.raises(ValueError):
    world.read("a cat on the moon")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_held_out_facts_are_never_trained_on(name):
  world = worlds.WORLDS[name]
  seen = [{world.describe(sample(name, seed, held_out=held),
                          np.random.default_rng(0))[1] for seed in range(24)}
          for held in (False, True)]
  assert not seen[0] & seen[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_what_if_changes_what_is_told(name):
  world = worlds.WORLDS[name]
  for seed in range(8):
    facts = sample(name, seed)
    other = world.what_if(facts, worlds.key(seed, "what if"))
    assert world.told(other) != world.told(facts)
    assert (other.size, other.frames, other.fps) == (
        facts.size, facts.frames, facts.fps)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_clip_of_the_world_has_scores(name):
  """Black, noise, one frame, another size, another world: scores, no errors."""
  world, facts = worlds.WORLDS[name], sample(name, 3)
  other = NAMES[(NAMES.index(name) + 1) % len(NAMES)]
  noise = np.random.default_rng(0).integers(0, 255, (17, 64, 64, 3), np.uint8)
  true = world.render(facts)
  names = set(world.score(facts, world.parse(true, 8.0)))
  small = true[:, ::2, ::2]  # may well be read
  for video in (small, np.zeros_like(true), noise, true[:1],
                worlds.WORLDS[other].render(sample(other, 1))):
    observed = world.parse(video, 8.0)
    found = world.score(facts, observed)
    assert set(found) == names and all(0 <= v <= 1 for v in found.values())
    assert video is small or not all(v == 1 for v in found.values())
  assert worlds.unparsed(world.parse(np.zeros_like(true), 8.0))


@pytest.mark.parametrize("name, law", [
    (n, law) for n in TWINNED for law in worlds.WORLDS[n].LAWS
    if law not in getattr(worlds.WORLDS[n], "UNPAIRED", ())])
def test_each_frame_of_a_four_is_as_often_lawful_as_not(name, law):
  world = worlds.WORLDS[name]
  for seed in range(3):
    facts = sample(name, seed)
    if getattr(facts, "empty", False):
      facts = dataclasses.replace(facts, empty=False)
    other = world.counterpart(facts, law)
    assert world.counterpart(other, law) == facts
    pairs = [[world.render(f) for f in some] for some in (
        (facts, other), (world.twin(facts, law), world.twin(other, law)))]
    lawful, broken = (collections.Counter(
        frame.tobytes() for video in some for frame in video) for some in pairs)
    assert lawful == broken
    assert not np.array_equal(pairs[0][0], pairs[1][0])
    assert not np.array_equal(pairs[0][1], pairs[1][0])


@pytest.mark.parametrize("name", NAMES)
def test_what_cannot_be_drawn_is_refused_in_one_line(name):
  world = worlds.WORLDS[name]
  calls = [lambda: world.sample(worlds.key(0, name), (64, 8), 17, 8.0),
           lambda: sample(name, 0, frames=0),
           lambda: world.twin(sample(name, 0), "sleep"),
           lambda: world.twin(sample(name, 0, frames=1), world.LAWS[0])]
  for call in calls:
    with pytest.raises(ValueError) as error:
      call()
    assert "\n" not in str(error.value) and len(str(error.value)) < 200
  with pytest.raises(ValueError, match=world.LAWS[0]):
    world.twin(sample(name, 0), "sleep")


@pytest.mark.parametrize("name", NAMES)
def test_facts_become_json(name):
  facts = sample(name, 0)
  assert set(dataclasses.asdict(facts)) > {"size", "frames", "fps"}
  assert worlds.to_json(facts).startswith("{")


def test_no_world_is_known_outside_its_room():
  """But for the flat worlds' own suites, which came before the contract."""
  new = set(NAMES) - set(worlds.DEFAULT)
  package = pathlib.Path(sora_jax.worlds.__file__).parent.parent
  for path in package.rglob("*.py"):
    if path.parent.name != "worlds":
      for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "sora_jax.worlds":
          assert not new & {a.name.split("_")[0] for a in node.names}, path

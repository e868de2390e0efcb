"""Captions tell the facts, in varied words, and are read back."""

import re

import pytest

from sora_jax import worlds
from sora_jax.worlds import captions
from sora_jax.worlds import facts as facts_lib
import toy_facts

NAMES = tuple(worlds.WORLDS)


@pytest.mark.parametrize("name", NAMES)
def test_captions_tell_the_facts(name):
  nouns = {n: s for s, names in captions.NOUNS.items() for n in names}
  for seed in range(60):
    facts = toy_facts.sample(name, seed)
    short, long = toy_facts.describe(facts, seed)
    for text in (short, long):
      assert text == text.lower()
      things = re.findall(rf"({'|'.join(facts_lib.COLOURS)}) "
                          rf"({'|'.join(nouns)})\b", text)
      assert {(c, nouns[n]) for c, n in things} == {
          (o.colour, o.shape) for o in facts.objects}
      for thing in facts.objects:
        if thing.motion == "fall":
          assert re.search("falls|drops", text)
        else:
          assert re.search(rf"\b{thing.direction}", text)
      kinds = {o.motion for o in facts.objects}
      assert ("wall" in text) == ("pass" in kinds)
      assert bool(re.search("collide|hits (?!the edge)|bumps", text)) == (
          "collide" in kinds)
      if "bounce" in kinds:
        assert "bounces" in text
    assert "background" in long or "backdrop" in long
    for colour in facts.background.colours:
      assert colour in long
    for thing in facts.objects:
      assert f"{thing.size} {thing.colour}" in long


@pytest.mark.parametrize("name", NAMES)
def test_captions_of_images_claim_no_motion(name):
  for seed in range(60):
    facts = toy_facts.sample(name, seed, frames=1)
    assert {o.motion for o in facts.objects} == {"still"}
    for text in toy_facts.describe(facts, seed):
      assert not re.search(
          r"\b(mov|slid|travel|glid|roll|fall|drop|bounc|collid|hit|bump|pass|"
          r"come|right|left|up|down|video|clip|it\b)", text)


def test_captions_vary_and_include_the_plain_prompt():
  facts = toy_facts.of(toy_facts.thing("straight", (0.3, 0.5), (0.2, 0.0)))
  drawn = [toy_facts.describe(facts, seed) for seed in range(2000)]
  assert drawn[0] == toy_facts.describe(facts, 0)
  shorts = {short for short, _ in drawn}
  assert "a red ball moves to the right" in shorts
  assert {"ball", "disc", "circle"} <= set(" ".join(shorts).split())
  assert len(shorts) > 50 and len({long for _, long in drawn}) > 200


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("frames", [1, 17])
def test_captions_are_read_back(name, frames):
  """500 captions each, of a world's videos and of its images."""
  world, told = worlds.WORLDS[name], {"size": 0, "axis": 0, "wall": 0}
  for seed in range(100):
    facts = toy_facts.sample(name, seed, frames=frames)
    texts = [toy_facts.describe(facts, 5 * seed + i)[i % 2] for i in range(5)]
    for i, text in enumerate(texts):
      read = world.read(text.capitalize())
      things = {o.colour: o for o in read.objects}
      assert len(things) == len(read.objects) == len(facts.objects)
      for thing in facts.objects:
        seen = things[thing.colour]
        assert (seen.shape, seen.motion) == (thing.shape, thing.motion), text
        assert (seen.direction or "none") == thing.direction, text
        assert seen.size == (thing.size if i % 2 else seen.size), text
        assert seen.size in (thing.size, None), text
        told["size"] += seen.size is not None
      ground = facts.background
      if i % 2 or "backdrop" in text or "background" in text:
        assert (read.background.kind, read.background.colours) == (
            ground.kind, ground.colours), text
        assert read.background.axis in (ground.axis, None), text
        told["axis"] += read.background.axis is not None
      else:
        assert read.background is None
      assert (read.wall is not None) == ("wall" in text)
      assert not read.wall or read.wall == facts.wall.colour
      told["wall"] += bool(read.wall)
  assert told["size"] and told["axis"]
  assert bool(told["wall"]) == (name == "occluder")


def test_a_sentence_of_ones_own_is_read():
  read = worlds.WORLDS["balls"].read(
      "A red ball bounces off the floor while a small green box drifts right")
  assert [(o.colour, o.shape, o.size, o.motion, o.direction)
          for o in read.objects] == [
              ("red", "disc", None, "bounce", None),
              ("green", "square", "small", "straight", "right")]
  with pytest.raises(ValueError, match="names no object"):
    worlds.WORLDS["balls"].read("a cat")

"""Captions tell the facts, in varied words, and are read back."""

import re

import pytest

from sora_jax import worlds
from sora_jax.worlds import captions
from sora_jax.worlds import facts as facts_lib
import toy_facts

NAMES = worlds.DEFAULT


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
  """1,000 captions each, of a world's videos and of its images."""
  world, optional = worlds.WORLDS[name], set()
  for seed in range(100):
    facts = toy_facts.sample(name, seed, frames=frames)
    told = world.told(facts)
    assert len(told["objects"]) == len(facts.objects)
    for i in range(10):
      key = worlds.key(10 * seed + i, name, "caption")
      text = world.describe(facts, key, ("en", "zh")[i % 2])[i // 5]
      read = world.read(text.capitalize())
      left = told.keys() - read.keys()
      assert read.items() <= told.items(), text
      # The descriptive caption tells all but a wall's colour and the axis.
      may = {"wall.colour", "background.axis"}
      may |= set() if i // 5 else {
          k for k in told if k.endswith((".size", ".kind", ".colours"))}
      assert left <= may, text
      optional |= read.keys() & {"wall.colour", "background.axis"}
  assert optional == {"background.axis"} | (
      {"wall.colour"} if name == "occluder" else set())


def test_the_chinese_short_form_leaves_the_rest_as_it_is():
  for name in NAMES:
    world, facts = worlds.WORLDS[name], toy_facts.sample(name, 4)
    english, chinese = (world.describe(facts, worlds.key(4, "c"), language)
                        for language in ("en", "zh"))
    assert english[1] == chinese[1]
    assert not chinese[0].isascii() and english[0].isascii()
    with pytest.raises(ValueError, match="language='fr'.*en and zh"):
      world.describe(facts, worlds.key(4, "c"), "fr")


def test_a_sentence_of_ones_own_is_read():
  read = worlds.WORLDS["balls"].read(
      "A red ball bounces off the floor while a small green box drifts right")
  assert read == {
      "objects": ("green", "red"), "wall": False, "red.shape": "disc",
      "red.motion": "bounce", "green.shape": "square", "green.size": "small",
      "green.motion": "straight", "green.direction": "right"}
  for text in ("a cat", "一只猫"):
    with pytest.raises(ValueError, match="names no object"):
      worlds.WORLDS["balls"].read(text)

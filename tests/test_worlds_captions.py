"""Captions tell the facts, in varied words."""

import re

import pytest

from sora_jax import worlds
from sora_jax.worlds import captions
from sora_jax.worlds import facts as facts_lib
import toy_facts

NAMES = tuple(worlds.WORLDS)
balls = worlds.WORLDS["balls"]


@pytest.mark.parametrize("name", NAMES)
def test_captions_tell_the_facts(name):
  world = worlds.WORLDS[name]
  nouns = {n: s for s, names in captions.NOUNS.items() for n in names}
  for seed in range(60):
    facts = world.sample(seed, (64, 64), 2.0)
    short, long = world.describe(facts, seed)
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
  world = worlds.WORLDS[name]
  for seed in range(60):
    facts = world.sample(seed, (64, 64), 0)
    assert {o.motion for o in facts.objects} == {"still"}
    for text in world.describe(facts, seed):
      assert not re.search(
          r"\b(mov|slid|travel|glid|roll|fall|drop|bounc|collid|hit|bump|pass|"
          r"come|right|left|up|down|video|clip|it\b)", text)


def test_captions_vary_and_include_the_plain_prompt():
  facts = toy_facts.of(toy_facts.thing("straight", (0.3, 0.5), (0.2, 0.0)))
  drawn = [balls.describe(facts, seed) for seed in range(2000)]
  assert drawn[0] == balls.describe(facts, 0)
  shorts = {short for short, _ in drawn}
  assert "a red ball moves to the right" in shorts
  assert {"ball", "disc", "circle"} <= set(" ".join(shorts).split())
  assert len(shorts) > 50 and len({long for _, long in drawn}) > 200

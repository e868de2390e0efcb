"""Twins break one law in the middle of a clip; a what-if changes one fact."""

import dataclasses

import numpy as np
import pytest

from sora_jax import worlds
from sora_jax.worlds import facts as facts_lib
from sora_jax.worlds import laws
from sora_jax.worlds import motion
from sora_jax.worlds import parse
import toy_facts

NAMES = worlds.DEFAULT


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("law", laws.LAWS)
def test_a_twin_is_the_same_until_its_middle(name, law):
  world = worlds.WORLDS[name]
  for seed in range(10):
    facts = toy_facts.sample(name, seed)
    twin = world.twin(facts, law)
    assert dataclasses.replace(twin, broken="") == facts
    assert '"broken"' not in worlds.to_json(facts)
    assert facts_lib.from_json(worlds.to_json(twin), facts.size, facts.frames,
                               facts.fps) == twin
    true, other = world.render(facts), world.render(twin)
    differ = (true != other).any((1, 2, 3))
    assert not differ[:8].any() and differ[8:].any()


def test_each_law_is_broken_as_it_is_named():
  facts = toy_facts.of(toy_facts.thing("straight", (0.2, 0.5), (0.3, 0.0)))
  seen = {law: parse.parse(worlds.WORLDS["balls"].render(laws.twin(
      facts, law)), 8) for law in laws.LAWS}
  gone, turned, back = (seen[law].tracks for law in laws.LAWS)
  assert [b.frame for b in gone[0].blobs] == list(range(8))
  assert [t.colour for t in turned] != ["red", "red"] and len(turned) == 2
  assert turned[1].shape == turned[0].shape == "disc"
  x = np.array([b.centre[0] for b in back[0].blobs])
  np.testing.assert_allclose(x[8:16], x[:8], atol=1e-6)


def test_an_object_that_breaks_a_law_does_not_survive_the_wall():
  world = worlds.WORLDS["occluder"]
  survives = lambda truth, shown: world.score(
      truth, world.parse(world.render(shown), 8))["survives"]
  for seed in range(20):
    facts = toy_facts.sample("occluder", seed, objects=1)
    assert survives(facts, facts)
    for law in ("permanence", "immutability"):
      assert not survives(facts, world.twin(facts, law))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("frames", [1, 17])
def test_a_what_if_changes_one_fact_of_one_object(name, frames):
  changes = set()
  for seed in range(200):
    facts = toy_facts.sample(name, seed, frames=frames)
    other = worlds.WORLDS[name].what_if(facts, worlds.key(seed, "what if"))
    pairs = [(a, b) for a, b in zip(facts.objects, other.objects) if a != b]
    assert len(pairs) == 1 and not facts_lib.held_out(other)
    assert dataclasses.replace(other, objects=facts.objects) == facts
    assert len({o.colour for o in other.objects}) == len(facts.objects)
    (a, b), = pairs
    fields = {k for k, v in dataclasses.asdict(a).items()
              if v != getattr(b, k)}
    changes.add(min(fields))  # "direction" comes with "start" and "velocity"
    if "direction" in fields:
      # On the same way, from its end to its start.
      i = facts.objects.index(a)
      times = np.linspace(0, facts.seconds, 5)
      np.testing.assert_allclose(motion.positions(facts, times)[::-1, i],
                                 motion.positions(other, times)[:, i])
  assert changes == {"colour", "shape"} | ({"direction"} if frames > 1 else set())


@pytest.mark.parametrize("call, error", [
    (lambda f: laws.twin(f, "gravity"), "permanence, immutability, continuity"),
    (lambda f: laws.twin(dataclasses.replace(f, frames=1), "permanence"),
     "frames=1"),
])
def test_errors_say_what_there_is(call, error):
  with pytest.raises(ValueError, match=error):
    call(toy_facts.sample("balls", 0))

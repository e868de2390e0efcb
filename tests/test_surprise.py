"""Paired surprise: fours are of the same frames, and single frames are at chance."""

import collections
import dataclasses

import numpy as np
import pytest
import tiny_model

from sora_jax import worlds
from sora_jax.evaluation import surprise
from sora_jax.generation import text_states
from sora_jax.text import tokenizer as tokenizer_lib
from sora_jax.worlds import fours


@pytest.mark.parametrize("name, law", [
    ("occluder", "permanence"), ("lookaway", "permanence"),
    ("lookaway", "continuity"), ("painter", "unpainting"), ("bite", "unbiting")])
def test_each_frame_is_as_often_lawful_as_not_at_its_place(name, law):
  world = worlds.WORLDS[name]
  facts = fours.sample(world, worlds.key(0, name), (64, 64), 17, 8.0)
  assert fours.partner(world, facts, law) is not None
  four = fours.four(world, facts, law)
  place = lambda some: collections.Counter(
      (t, frame.tobytes()) for video in some for t, frame in enumerate(video))
  assert place(four[:2]) == place(four[2:])
  assert not any(np.array_equal(a, b) for a in four[:2] for b in four[2:])


def test_a_law_without_a_partner_is_said_to_be_unpaired():
  for name, law in (("balls", "continuity"), ("orbit", "rigidity")):
    world = worlds.WORLDS[name]
    facts = fours.sample(world, worlds.key(0, name), (64, 64), 17, 8.0)
    assert fours.partner(world, facts, law) is None
    four = fours.four(world, facts, law)
    assert np.array_equal(four[0], four[1]) and np.array_equal(four[2], four[3])
    assert not np.array_equal(four[0], four[2])


def test_what_loses_more_wins_and_ties_count_half():
  losses = np.array([[1., 1, 2, 1], [2, 1, 1, 1], [1, 2, 2, 1]])
  assert surprise.wins(losses) == [1.0, 0.0, 0.5]


def test_a_model_is_asked_with_the_same_noise(tmp_path):
  model = tiny_model.make(tmp_path)
  tokenizer = tokenizer_lib.load(model.tokenizer)
  judge = surprise.judge_of(model, text_states.encode(model, tokenizer, [""]))
  asked = surprise.ask(model, "lookaway", "permanence", 2, 0, (48, 48), 9, 8.0,
                       8.0)
  assert asked.x.shape[:2] == (2, 4) and asked.alone.shape[:3] == (2, 4, 9)
  found = surprise.surprise(judge, asked, times=(0.7,))
  assert found["alone"]["value"] == 0.5 and found["n"] == 2 and found["paired"]
  assert found == surprise.surprise(judge, asked, times=(0.7,))
  # Clips that are alike surprise alike: the noise is the same.
  alike = dataclasses.replace(asked, x=asked.x[:, [0, 1, 1, 0]], alone=None)
  same = surprise.surprise(judge, alike, times=(0.7,))
  assert same["value"] == 0.5 and abs(same["more"]["value"]) < 1e-3
  assert "alone" not in same

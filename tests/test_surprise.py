"""Paired surprise: fours are of the same frames, and single frames are at chance."""

import collections
import dataclasses
import json
import types

from ml_collections import config_dict
import numpy as np
import pytest
import tiny_model

from sora_jax import worlds
from sora_jax.evaluation import surprise
from sora_jax.generation import text_states
from sora_jax.models import dit
from sora_jax.models.text import encoder as encoder_lib
from sora_jax.tasks import build
from sora_jax.tasks import config as config_lib
from sora_jax.tasks import dit_model
from sora_jax.tasks import dit_surprise
from sora_jax.tasks import prompts as prompts_lib
from sora_jax.text import tokenizer as tokenizer_lib
from sora_jax.training import hooks as hooks_lib
from sora_jax.worlds import fours
import toy_run

# Every law that has fours, of worlds whose clips are drawn in a moment.
PAIRED = [(n, law) for n, w in worlds.WORLDS.items() if n != "craft"
          for law in w.LAWS if law not in getattr(w, "UNPAIRED", ()) and (
              hasattr(w, "counterpart") or (n, law) == ("occluder", "permanence"))]


@pytest.mark.parametrize("name, law", PAIRED)
def test_each_frame_is_as_often_lawful_as_not_at_its_place(name, law):
  world = worlds.WORLDS[name]
  facts = fours.sample(world, worlds.key(0, name), (64, 64), 17, 8.0)
  assert fours.partner(world, facts, law) is not None
  four = fours.four(world, facts, law)
  assert np.array_equal(four[2], world.render(world.twin(facts, law)))
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


@pytest.mark.slow
def test_a_model_is_asked_with_the_same_noise_also_beside_training(tmp_path):
  vae = tiny_model.make(tmp_path)
  tokenizer = tokenizer_lib.load(vae.tokenizer)
  cfg = config_lib.load("configs/dit.py:test")
  cfg.surprise.update(every=5, worlds=("occluder",), fours=2, size=(48, 48),
                      frames=13)
  ema = {"transformer": tiny_model.drawn(dit.init, build.dit_of(cfg, 4)),
         "text_encoder": tiny_model.drawn(encoder_lib.init,
                                          build.text_encoder_of(cfg))}
  model = dit_model.model_of(cfg, vae, ema, vae.tokenizer)
  judge = surprise.judge_of(model, text_states.encode(model, tokenizer, [""]))
  asked = surprise.ask(model, "occluder", "permanence", 2, 0, (48, 48), 13, 8.0,
                       8.0)
  assert asked.x.shape[:2] == (2, 4) and asked.alone.shape[:3] == (2, 4, 13)
  found = surprise.surprise(judge, asked, times=dit_surprise.TIMES)
  assert found["alone"]["value"] == 0.5 and found["n"] == 2 and found["paired"]
  # Clips that are alike surprise alike: the noise is the same.
  alike = dataclasses.replace(asked, x=asked.x[:, [0, 1, 1, 0]], alone=None)
  same = surprise.surprise(judge, alike)
  assert same["value"] == 0.5 and abs(same["more"]["value"]) < 1e-3
  assert "alone" not in same
  # A run asks the same of its averaged weights, and encodes once.
  prompts = prompts_lib.Prompts(tokenizer, vae.tokenizer, None, dict, None)
  run, every = dit_surprise.measure(cfg, vae, prompts)
  state = types.SimpleNamespace(ema=ema)
  beside = run(state)
  assert every == 5 and beside == {
      "surprise/occluder/permanence": found["value"],
      "surprise/occluder/permanence/more": pytest.approx(found["more"]["value"])}
  assert run(state) == beside


def test_a_config_asks_for_worlds_that_there_are():
  ask = lambda **k: dit_surprise.options_of(config_dict.ConfigDict({"surprise": k}))
  assert dit_surprise.options_of(config_dict.ConfigDict()) == dit_surprise.Options()
  assert dit_surprise.measure(config_dict.ConfigDict(), None, None) == (None, 0)
  found = ask(every=10, worlds=("occluder", "painter"))
  assert dit_surprise.laws("occluder", found) == ["permanence"]
  assert dit_surprise.laws("painter", found) == ["unpainting", "immutability"]
  for wrong, said in ((dict(worlds=("tennis",)), "'tennis'; there are balls, "),
                      (dict(worlds=("bite",), frames=4), "frames=4: this world"),
                      (dict(fours=0), "surprise.fours is 0, it must be"),
                      (dict(pairs=3), "pairs")):
    with pytest.raises(ValueError, match=said):
      ask(**wrong)


def test_what_is_measured_stands_in_the_line_of_its_step(tmp_path):
  ask = lambda every, name: hooks_lib.Validation(every, lambda state: {
      name: float(state.step)})
  toy_run.train(tmp_path, 6, validations=[ask(3, "a"), ask(2, "b")], log_every=4)
  lines = [json.loads(line) for line in (
      tmp_path / "metrics.jsonl").read_text("utf-8").splitlines()]
  assert [(x["step"], x.get("a"), x.get("b")) for x in lines] == [
      (2, None, 2.0), (3, 3.0, None), (4, None, 4.0), (6, 6.0, 6.0)]
  assert all("loss" in line for line in lines)

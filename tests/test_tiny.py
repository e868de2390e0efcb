"""The weights in the repository: small, whole, and able to follow a prompt."""

import os

import pytest

import sora_jax
from sora_jax.formats import find
from sora_jax.formats import pretrained
from sora_jax.worlds import parse

FOLDER = find.find("tiny")
PROMPTS = {("red", "right"): "a red ball moves to the right",
           ("blue", "up"): "a blue square moves up",
           ("yellow", "left"): "a yellow ball moves to the left",
           ("green", "down"): "a green square moves down"}


def test_the_weights_are_small_and_have_a_card():
  sizes = [os.path.getsize(os.path.join(at, name))
           for at, _, names in os.walk(FOLDER) for name in names]
  assert max(sizes) <= 12e6 and sum(sizes) <= 24e6
  model = pretrained.load(FOLDER)  # checks SHA256SUMS
  with open(os.path.join(FOLDER, "README.md"), encoding="utf-8") as f:
    assert model.digest[:12] in f.read()


@pytest.mark.slow
def test_prompts_are_followed():
  videos = sora_jax.load().generate_batch(
      list(PROMPTS.values()), (64, 64), 17, seeds=[0] * len(PROMPTS))
  found = [parse.parse(video, 8).tracks for video in videos]
  right = [bool(t) and (t[0].colour, t[0].direction) == told
           for t, told in zip(found, PROMPTS)]
  assert sum(right) >= 3

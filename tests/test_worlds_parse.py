"""The parser reads the facts back out of pixels, and nothing else."""

import collections
import dataclasses

import numpy as np
import pytest

from sora_jax import worlds
from sora_jax.worlds import parse
from sora_jax.worlds import raster
import toy_facts

SIZES = ((64, 64), (96, 56), (56, 96), (128, 72))
NAMES = worlds.DEFAULT


def _clip(seed):
  """(facts, video, fps) of a clip of any world, size, length and rate."""
  rng = np.random.default_rng(seed)
  name = NAMES[seed % len(NAMES)]
  size = SIZES[rng.integers(len(SIZES))]
  frames, fps = 0, 1
  while (frames - 1) / fps < (1.5 if name == "occluder" else 0.1):
    frames = int(rng.choice([17, 33, 49]))
    fps = int(rng.choice([8, 12, 16, 24]))
  frames = 1 if rng.random() < 0.1 else frames
  facts = toy_facts.sample(name, seed, size, frames, fps,
                           held_out=frames > 1 and bool(rng.integers(2)))
  return facts, raster.render(facts), fps


def _degrade(video, sigma, rng):
  """A slight blur, then noise of `sigma` grey levels."""
  taps = (0.25, 0.5, 0.25)
  x = video.astype(np.float32)
  for axis in (1, 2):
    x = sum(tap * np.roll(x, i - 1, axis) for i, tap in enumerate(taps))
  x += sigma * rng.standard_normal(x.shape, np.float32)
  return np.clip(x, 0, 255).astype(np.uint8)


def _recovered(seeds, change=lambda video: video):
  """The share of attributes that the parser reads right, by attribute."""
  right = collections.defaultdict(list)
  for seed in seeds:
    facts, video, fps = _clip(seed)
    for name, ok in parse.score(
        facts, parse.parse(change(video), fps)).items():
      right[name].append(ok)
  return {name: np.mean(oks) for name, oks in right.items()}


@pytest.mark.slow
def test_parser_recovers_the_facts_of_500_clips():
  shares = _recovered(range(500))
  assert set(shares) == {"colour", "shape", "count", "direction", "motion",
                         "survives"}
  assert min(shares.values()) >= 0.99, shares


@pytest.mark.slow
def test_parser_bears_noise_and_blur():
  rng = np.random.default_rng(0)
  shares = _recovered(range(1000, 1100), lambda v: _degrade(v, 8.0, rng))
  assert min(shares.values()) >= 0.97, shares


def test_other_facts_score_near_chance():
  seen = [(f, parse.parse(v, fps)) for f, v, fps in map(_clip, range(0, 80, 2))]
  shuffled = [parse.score(f, o) for (f, _), (_, o) in zip(seen, seen[1:])]
  assert np.mean([s["colour"] for s in shuffled]) < 0.4
  assert np.mean([s["shape"] for s in shuffled]) < 0.6
  assert np.mean([s.get("direction", False) for s in shuffled]) < 0.5


def test_nothing_parsed_is_wrong():
  for name in NAMES:
    facts = toy_facts.sample(name, 0)
    empty = parse.parse(np.full((17, 64, 64, 3), 90, np.uint8), 8)
    assert empty.count == 0 and not any(parse.score(facts, empty).values())


def _behind(seed=3):
  """One object that passes behind a wall, as (facts, video)."""
  facts = toy_facts.sample("occluder", seed, objects=1)
  return facts, raster.render(facts)


def _survives(facts, video, fps=8):
  return parse.score(facts, parse.parse(video, fps))["survives"]


def test_only_true_passages_survive():
  facts, video = _behind()
  hidden = toy_facts.hidden(facts)
  first, last = np.flatnonzero(hidden)[[0, -1]]
  assert _survives(facts, video)
  # It stays where it was, stays behind the wall, or never hides.
  assert not _survives(facts, video[:1].repeat(17, 0))
  assert not _survives(facts, np.concatenate(
      [video[:last], video[first:first + 1].repeat(17 - last, 0)]))
  open_facts = dataclasses.replace(facts, wall=None)
  unhidden = raster.render(open_facts)
  assert not _survives(facts, unhidden)
  # It blinks where there is no wall: it was not hidden by anything.
  slow = dataclasses.replace(facts, wall=None, fps=24)
  blink = raster.render(slow)
  blink[5:8] = raster.background(facts.background, (64, 64))
  assert not _survives(facts, blink)
  # It comes out much too late.
  late = np.concatenate([video[:last], video[last:last + 1].repeat(9, 0),
                         video[last:]])
  assert not _survives(facts, late)
  # It comes out as something else, or where it went in.
  for change in ({"colour": "green"}, {"shape": "square"}):
    other = dataclasses.replace(facts, objects=(
        dataclasses.replace(facts.objects[0], **change),))
    assert other != facts
    swapped = raster.render(other)
    assert not _survives(facts, np.concatenate([video[:last], swapped[last:]]))
  there = video[:last]
  assert not _survives(facts, np.concatenate([there, there[::-1]]))


def test_a_second_object_of_the_same_colour_is_counted():
  one = toy_facts.of(toy_facts.thing("straight", (0.2, 0.2), (0.2, 0.0)))
  two = toy_facts.of(
      *one.objects, toy_facts.thing("straight", (0.3, 0.7), (0.2, 0.0)))
  for facts, count in ((one, 1), (two, 2)):
    observed = parse.parse(raster.render(facts), 8)
    assert observed.count == count
    assert parse.score(one, observed)["count"] == (count == 1)

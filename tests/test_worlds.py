"""The worlds draw what they say, at any size, length and rate."""

import dataclasses
import functools
import itertools
import re

import numpy as np
import pytest

from sora_jax import worlds
from sora_jax.worlds import facts as facts_lib
from sora_jax.worlds import motion
from sora_jax.worlds import parse
from sora_jax.worlds import raster
import toy_facts

SIZES = ((64, 64), (96, 56), (56, 96), (128, 72))
NAMES = worlds.DEFAULT


@pytest.mark.parametrize("name", NAMES)
def test_physics_is_the_same_at_every_rate(name):
  render = worlds.WORLDS[name].render
  for seed in range(20):
    facts = toy_facts.sample(name, seed)
    slow = motion.positions(facts, np.arange(17) / 8)
    for fps in (16, 24):
      fast = motion.positions(facts, np.arange(2 * fps + 1) / fps)
      np.testing.assert_array_equal(fast[::fps // 8], slow)
    at_12 = motion.positions(facts, np.arange(25) / 12)
    np.testing.assert_array_equal(at_12[::3], slow[::2])
    np.testing.assert_array_equal(
        render(dataclasses.replace(facts, frames=49, fps=24))[::3],
        render(facts))


@pytest.mark.parametrize("name", NAMES)
def test_facts_are_a_function_of_the_seed_and_the_aspect(name):
  sample = functools.partial(toy_facts.sample, name)
  drawn = [sample(seed) for seed in range(30)]
  assert drawn == [sample(seed) for seed in range(30)]
  large = [sample(seed, (256, 256), 25, 12) for seed in range(30)]
  assert drawn == [dataclasses.replace(f, size=(64, 64), frames=17, fps=8.0)
                   for f in large]
  assert len(set(drawn)) == 30
  for facts in drawn + [sample(0, (50, 38), 1)]:
    assert facts_lib.from_json(worlds.to_json(facts), facts.size, facts.frames,
                               facts.fps) == facts


def test_the_worlds_differ():
  assert toy_facts.sample("balls", 1).objects != toy_facts.sample(
      "occluder", 1).objects


def test_held_out_rule_keeps_every_pair_in_training():
  every = list(itertools.product(
      facts_lib.COLOURS, facts_lib.SHAPES, facts_lib.DIRECTIONS))
  training = [c for c in every if not facts_lib.is_held_out(*c)]
  assert 0.1 < 1 - len(training) / len(every) < 0.2
  for i, j in itertools.combinations(range(3), 2):
    pairs = {(c[i], c[j]) for c in training}
    assert pairs == {(c[i], c[j]) for c in every}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_held_out_combinations_are_never_trained_on(name):
  seen = {False: set(), True: set()}
  for held, seed in itertools.product((False, True), range(300)):
    facts = toy_facts.sample(name, seed, held_out=held)
    combinations = {(o.colour, o.shape, o.direction) for o in facts.objects}
    assert {facts_lib.is_held_out(*c) for c in combinations} == {held}
    assert facts_lib.held_out(facts) == held
    seen[held] |= combinations
  assert not seen[False] & seen[True]
  assert len(seen[True]) == 12 and len(seen[False]) > 65


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("frames", [1, 13, 17, 49])
def test_objects_stay_inside_and_apart(name, frames):
  for seed, size in itertools.product(range(20), SIZES):
    facts = toy_facts.sample(name, seed, size, frames)
    p = motion.positions(facts, np.linspace(0, facts.seconds, 100))
    r = np.array([o.diameter / 2 for o in facts.objects])[:, None]
    assert (p > r - 1e-9).all()
    assert (p < np.array(facts.aspect) - r + 1e-9).all()
    for i, j in itertools.combinations(range(len(r)), 2):
      gap = np.abs(p[:, i] - p[:, j]).max(-1).min() - (r[i] + r[j])
      assert gap > -1e-9
    colours = [o.colour for o in facts.objects]
    assert len(set(colours)) == len(colours)


def test_straight_movers_go_far_enough():
  speeds = []
  for seed in range(200):
    facts = toy_facts.sample("balls", seed)
    ends = motion.positions(facts, [0.0, 2.0])
    for i, thing in enumerate(facts.objects):
      if thing.motion == "straight":
        way = (ends[1, i] - ends[0, i]) @ facts_lib.DIRECTIONS[thing.direction]
        assert way >= 0.3 - 1e-9
        speeds.append(way / 2)
  assert min(speeds) >= 0.12 and max(speeds) <= 0.5


def test_cells_can_be_asked_for():
  for objects, ground in itertools.product((1, 2, 3), ("plain", "textured")):
    for name, seed in itertools.product(NAMES, range(5)):
      facts = toy_facts.sample(name, seed, objects=objects, background=ground)
      assert len(facts.objects) == objects
      assert (facts.background.kind == "plain") == (ground == "plain")


def test_objects_hide_for_two_frames_and_are_seen_on_both_sides():
  for seed in range(100):
    facts = toy_facts.sample("occluder", seed, objects=1)
    x = motion.positions(facts, np.arange(17) / 8)[
        :, 0, "xy".index(facts.wall.axis)]
    r = facts.objects[0].diameter / 2
    before, after = x + r <= facts.wall.low, x - r >= facts.wall.high
    assert toy_facts.hidden(facts).sum() >= 2
    assert before.sum() >= 2 and after.sum() >= 2
    video = raster.render(facts).astype(int)
    spread = video.max(-1) - video.min(-1)  # saturated pixels are objects
    assert spread[toy_facts.hidden(facts)].max() < 60 < spread[0].max()


def test_collisions_keep_momentum_and_energy():
  facts = toy_facts.of(
      toy_facts.thing("collide", (0.3, 0.5), (0.4, 0.05), "large"),
      toy_facts.thing("collide", (1.4, 0.55), (-0.3, 0.0)), aspect=(2.0, 1.0))
  mass = np.array([[0.36**2], [0.24**2]])
  p = motion.positions(facts, np.linspace(0, 2, 201))
  v = np.diff(p, axis=0) / 0.01
  before, after = v[0], v[-1]
  assert (after[1] - before[1])[0] > 0.2  # they did collide
  np.testing.assert_allclose((mass * after).sum(0), (mass * before).sum(0),
                             atol=1e-9)
  np.testing.assert_allclose((mass * after**2).sum(), (mass * before**2).sum())
  gap = np.linalg.norm(p[:, 0] - p[:, 1], axis=-1)
  assert 0.3 - 1e-9 < gap.min() < 0.31


def test_bounces_mirror_and_falls_accelerate():
  facts = toy_facts.of(toy_facts.thing("bounce", (0.5, 0.5), (0.4, 0.0)))
  x = motion.positions(facts, np.linspace(0, 20, 500))[:, 0, 0]
  free = 0.5 - 0.12 + 0.4 * np.linspace(0, 20, 500)
  room = 1 - 0.24
  np.testing.assert_allclose(
      x - 0.12, room - np.abs(free % (2 * room) - room), atol=1e-9)
  facts = toy_facts.of(toy_facts.thing("fall", (0.5, 0.2), (0.0, 0.0)))
  landing = motion.floor_time(facts, facts.objects[0])
  times = np.linspace(0, landing, 9)
  y = motion.positions(facts, times)[:, 0, 1]
  np.testing.assert_allclose(y, 0.2 + 0.5 * motion.GRAVITY * times**2)
  y = motion.positions(facts, np.linspace(landing, 30, 3000))[:, 0, 1]
  rise = 0.68 * motion.RESTITUTION**2
  np.testing.assert_allclose(0.88 - y.min(), rise, rtol=1e-3)
  assert y.max() <= 0.88 + 1e-9
  np.testing.assert_allclose(y[-100:], 0.88)  # it comes to rest


@pytest.mark.parametrize("shape,share", [
    ("disc", np.pi / 4), ("square", 1.0), ("triangle", 0.5)])
def test_coverage_adds_up_to_the_area(shape, share):
  at = np.arange(40) + 0.5
  for x, y, d in ((20.0, 20.0, 16.0), (19.3, 20.8, 15.36), (20.5, 19.9, 23.04)):
    seen = raster.coverage(shape, at - x, at[:, None] - y, d)
    np.testing.assert_allclose(seen.sum(), share * d * d, rtol=0.02)
    assert seen.min() >= 0 and seen.max() == 1.0


@pytest.mark.parametrize("size,frames", [
    ((50, 38), 5), ((33, 71), 3), ((16, 16), 2), ((1920, 1080), 1)])
def test_any_size_renders(size, frames):
  facts = toy_facts.sample("balls", 0, size, frames)
  video = raster.render(facts)
  assert video.shape == (frames, size[1], size[0], 3)
  assert video.dtype == np.uint8
  assert parse.score(facts, parse.parse(video, 8))["colour"]


def test_textures_are_no_finer_than_four_pixels():
  for seed in range(40):
    facts = toy_facts.sample("balls", seed, (20, 20), 1, background="textured")
    if facts.background.kind == "gradient":
      continue
    picture = raster.background(facts.background, (20, 20)).astype(int)
    for axis in (0, 1):
      changes = np.abs(np.diff(picture, axis=axis)).sum(-1)
      where = np.flatnonzero(changes.max(1 - axis))
      if where.size:
        assert np.diff(where, prepend=-1).min() >= 4


def test_boxes_hold_the_objects():
  for seed, size in itertools.product(range(5), ((64, 64), (50, 38))):
    facts = toy_facts.sample("balls", seed, size, 9, objects=1)
    video = raster.render(facts)
    boxes = parse.boxes(facts)
    assert boxes.shape == (9, 1, 4)
    ground = raster.background(facts.background, size).astype(int)
    for frame, (x0, y0, x1, y1) in zip(video, boxes[:, 0]):
      y, x = np.nonzero(np.abs(frame - ground).max(-1) > 20)
      assert x0 <= x.min() <= x0 + 2 and x1 - 2 <= x.max() + 1 <= x1
      assert y0 <= y.min() <= y0 + 3 and y1 - 2 <= y.max() + 1 <= y1


@pytest.mark.parametrize("call,number", [
    (lambda: toy_facts.sample("occluder", 0, frames=11), "1.25"),
    (lambda: toy_facts.sample("balls", 0, (64, 8)), "64x8"),
    (lambda: toy_facts.sample("balls", 0, frames=0), "0 frames"),
    (lambda: toy_facts.sample("balls", 0, fps=0), "0 a second"),
    (lambda: toy_facts.sample("balls", 0, fps=float("inf")), "finite"),
    (lambda: toy_facts.sample("balls", -1), "-1"),
    (lambda: toy_facts.sample("balls", 0, objects=4), "4"),
    (lambda: toy_facts.sample("balls", 0, background="pink"), "pink"),
    (lambda: toy_facts.sample("balls", 0, frames=1, held_out=True), "frames=1"),
    (lambda: raster.render(dataclasses.replace(
        toy_facts.sample("balls", 0), size=(96, 56))), "96x56"),
])
def test_errors_name_the_number(call, number):
  with pytest.raises(ValueError, match=re.escape(number)):
    call()

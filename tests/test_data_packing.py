"""Rows of very long clips: dense, even, few shapes, and the same to the model."""

import dataclasses
import itertools
import json

import jax
import numpy as np
import pytest

from sora_jax import contracts
from sora_jax import files
from sora_jax import main
from sora_jax.data.loading import estimate
from sora_jax.data.loading import packing
from sora_jax.data.loading import plan as plan_lib
from sora_jax.data.loading import shuffle
from sora_jax.data.loading import statistics
from sora_jax.data.loading import suggest_buckets
from sora_jax.data.loading import token_config
from sora_jax.data.prepare import prepare
from sora_jax.data.sources import world
from sora_jax.data.store import latents
from sora_jax.data.store import manifest
from sora_jax.encoding import dataset
from sora_jax.formats import pretrained
from sora_jax.geometry import sizes as sizes_lib
from sora_jax.models.vae import vae

STRIDE, PATCH = (4, 16, 16), (1, 2, 2)
LONG = token_config.TokenConfig(
    shapes=((64, 65_536), (32, 131_072), (16, 262_144)), text_length=4096,
    text_limit=256, max_segments=64, f_ref=24., shards=16)


def mixture(count, **columns):
  """A manifest of `count` clips of common sizes, a fifth of them images."""
  rng = np.random.default_rng(0)
  rows = np.zeros(count, manifest.PIXELS)
  short = rng.choice([240, 360, 480, 720, 1080], count)
  aspect = np.exp(rng.uniform(np.log(9 / 16), np.log(21 / 9), count))
  rows["height"], rows["width"] = short / np.minimum(aspect, 1), short * (
      np.maximum(aspect, 1))
  rows["fps"] = rng.choice([24, 25, 30], count)
  seconds = np.exp(rng.uniform(0, np.log(20), count))
  rows["frames"] = np.where(rng.random(count) < .2, 1, seconds * rows["fps"])
  rows["words"] = rng.integers(5, 120, count)
  for name, value in columns.items():
    rows[name] = value
  return manifest.Manifest("mixture", "train", rows, {"kind": "pixels"})


def planned(count, cfg=LONG, **columns):
  """A plan over the estimated latents of `mixture`."""
  policy = sizes_lib.ResizePolicy(cfg.shapes[-1][1])
  return plan_lib.token_plan(
      estimate.manifest(mixture(count, **columns), policy, STRIDE), cfg)


@pytest.mark.parametrize("opened, segments", [(512, 16), (5, 3)])
def test_packing_is_best_fit(monkeypatch, opened, segments):
  """The rows are those of the plain rule, looked up one by one."""
  monkeypatch.setattr(packing, "OPEN", opened)
  rng = np.random.default_rng(opened)
  tokens, text_tokens = rng.integers(1, 500, 2000), rng.integers(1, 60, 2000)
  of, shapes = packing.pack(tokens, text_tokens, [256, 640], 200, segments)
  opens = packing._best_shape(tokens, np.array([256, 640]))
  rows, spot = [], [None] * opened  # of a row: room, spare, seats
  for i in np.lexsort((-tokens, np.arange(2000) // packing.GROUP)):
    fits = [(rows[r][0], k) for k, r in enumerate(spot) if r is not None
            and rows[r][0] >= tokens[i] and rows[r][1] >= text_tokens[i]
            and rows[r][2]]
    k = min(fits)[1] if fits else spot.index(None) if None in spot else min(
        (rows[r][0], k) for k, r in enumerate(spot))[1]
    if not fits:
      spot[k] = len(rows)
      rows.append([[256, 640][opens[i]], 200, segments])
    row = rows[spot[k]]
    row[:] = row[0] - tokens[i], row[1] - text_tokens[i], row[2] - 1
    assert of[i] == spot[k]
  assert len(shapes) == len(rows)


@pytest.mark.parametrize("count", [1, 2, 3, 100, 4097])
def test_a_shuffle_is_a_permutation_at_any_place(count):
  whole = shuffle.permuted(np.arange(count), count, shuffle.keys(5, 2))
  assert sorted(whole) == list(range(count))
  some = np.array([0, count // 2, count - 1])
  assert np.array_equal(whole[some], shuffle.permuted(
      some, count, shuffle.keys(5, 2)))
  if count > 50:
    other = shuffle.permuted(np.arange(count), count, shuffle.keys(5, 3))
    for x in (np.arange(count), other):
      assert abs(np.corrcoef(whole, x)[0, 1]) < 4 / count**.5
      assert (whole == x).mean() < .1


def test_long_clips_fill_rows_of_three_lengths():
  pixels = mixture(20_000)
  plan = planned(20_000)
  found = statistics.report(plan)
  print({k: v for k, v in found.items() if k not in ("lengths", "conditionings")})
  size = manifest.sizes(pixels.entries)
  lost = sizes_lib.resize_report(size, sizes_lib.ResizePolicy(262_144), STRIDE, PATCH)
  assert 0 < lost["reduced"] <= .02 * 20_000 and lost["tokens_lost"] > 0
  assert found["fill"] >= .97 and found["visited_over_ideal"] <= 1.1
  # The 262,144 tokens are taken by one clip or by several.
  assert found["shapes"][2]["segments_per_row"] > 1.2
  assert found["cut"] == found["dropped"] == 0
  chunk = plan.chunk(0)
  assert {(len(rows) % 16, len(rows) * LONG.shapes[s][1])
          for s, rows in chunk.batches} == {(0, 4_194_304)}
  used = np.concatenate([rows for _, rows in chunk.batches])
  assert sorted(used[used >= 0]) == list(range(len(chunk.bounds) - 1))


@pytest.mark.slow
def test_shards_wait_less_for_each_other_when_rows_are_evened():
  even, plain = (planned(20_000, dataclasses.replace(LONG, shards=n))
                 for n in (16, 1))
  found = [statistics.report(p, 16) for p in (even, plain)]
  print([f["shard_balance"] for f in found])
  assert found[0]["shard_balance"] < 1.3 < found[1]["shard_balance"]
  assert found[0]["fill"] == found[1]["fill"]
  # The same rows in another order, and another digest.
  a, b = (p.chunk(0) for p in (even, plain))
  assert np.array_equal(a.order, b.order)
  count = lambda chunk: sorted(np.concatenate([r for _, r in chunk.batches]))
  assert count(a) == count(b) and even.digest != plain.digest
  with pytest.raises(ValueError, match="16 rows, which do not divide"):
    planned(100, dataclasses.replace(LONG, shards=5, shapes=((16, 262_144),)))


def test_visited_blocks_are_those_that_meet():
  rng = np.random.default_rng(0)
  for row in (64, 90):
    lengths = rng.integers(1, 15, 6)
    seg = np.zeros(row, int)
    seg[:lengths.sum()] = np.repeat(np.arange(1, 7), lengths)
    seg[seg == 0] = 7
    parts = [set(seg[i:i + 16]) for i in range(0, row, 16)]
    meet = sum(bool(a & b) for a, b in itertools.product(parts, parts))
    assert statistics.visited(lengths, row, 16) == meet
  assert statistics.visited([32, 32], 64, 16) == 8
  assert statistics.visited([], 64, 16) == 16


def test_images_have_the_share_that_is_asked_for():
  plans = [planned(5000, dataclasses.replace(LONG, images=x, chunk=8000))
           for x in (.5, 0., 1.)]
  t = plans[0].manifest.entries["t"]
  for plan, share in zip(plans, (.5, 0., 1.)):
    for index in (0, 7):
      clips = plan.chunk(index).clips
      assert abs((t[clips] == 1).mean() - share) < 1e-3
      # Each kind goes through epochs of its own.
      for kind in (t[clips] == 1, t[clips] > 1):
        times = np.bincount(clips[kind], minlength=5000)
        pool = plan.pools[0 if (t[clips[kind]] == 1).all() else 1]
        assert not kind.any() or np.ptp(times[pool]) <= 2
  assert len({p.digest for p in plans}) == 3
  assert plans[0].digest != planned(5000, dataclasses.replace(
      LONG, chunk=8000)).digest
  with pytest.raises(ValueError, match="50% images .* has 0"):
    planned(5000, dataclasses.replace(LONG, images=.5), frames=9)


def test_a_step_of_a_large_manifest_costs_one_block():
  base = estimate.manifest(mixture(5000), sizes_lib.ResizePolicy(262_144), STRIDE)
  many = dataclasses.replace(base, entries=np.tile(base.entries, 200))
  plan = plan_lib.token_plan(many, dataclasses.replace(LONG, chunk=5000))
  step = 150 * plan.steps + 3
  chunk, length, members = plan.place(step)
  assert len(chunk.clips) == 5000 and len(plan.chunks.entries) == 2
  assert sum(map(len, members)) == len({int(i) for m in members for i in m})
  fresh = plan_lib.token_plan(many, plan.cfg)
  again = fresh.place(step)
  assert length == again[1]
  assert all(np.array_equal(a, b) for a, b in zip(members, again[2]))
  # Hosts have the rows of one another.
  parts = [m for i in range(4) for m in plan.place(
      step, contracts.Share((i,), 4))[2]]
  assert all(np.array_equal(a, b) for a, b in zip(members, parts))
  with pytest.raises(ValueError, match="not encoded"):
    plan.batch(step)


def test_a_clip_over_the_limit_keeps_its_aspect():
  for size in ((600, 1080, 1920), (1200, 1080, 2520), (900, 1920, 1080)):
    new = sizes_lib.resized(size, sizes_lib.ResizePolicy(262_144), STRIDE, PATCH)
    tokens = sizes_lib.token_count(new, STRIDE, PATCH)
    assert .95 * 262_144 < tokens <= 262_144 and new[0] == size[0]
    assert abs(new[1] / new[2] * size[2] / size[1] - 1) < .01
  small = (481, 720, 1280)
  assert sizes_lib.resized(
      small, sizes_lib.ResizePolicy(262_144), STRIDE, PATCH) == small
  with pytest.raises(ValueError, match="9000 frames.* limit of 1000 tokens"):
    sizes_lib.resized((9000, 64, 64), sizes_lib.ResizePolicy(1000), STRIDE, PATCH)
  size = np.array([small, (600, 1080, 1920), (9000, 64, 64)])
  found = sizes_lib.resize_report(size, sizes_lib.ResizePolicy(2000), STRIDE, PATCH)
  assert (found["reduced"], found["too_long"]) == (2, 1)


def test_pixels_are_scaled_or_cut_to_the_middle_square():
  y, x = np.mgrid[:40, :80]
  video = np.repeat(np.stack([2 * x, 4 * y, 0 * x], -1)[None], 3, 0).astype(
      np.uint8)
  square = sizes_lib.resize(video, sizes_lib.ResizePolicy(square=20), STRIDE, PATCH)
  assert square.shape == (3, 20, 20, 3)
  # The middle 40 columns at half size.
  wanted = np.stack([2 * (20.5 + 2 * np.mgrid[:20, :20][1]),
                     4 * (.5 + 2 * np.mgrid[:20, :20][0])], -1)
  inner = slice(1, -1)
  assert np.abs(square[0, inner, inner, :2] - wanted[inner, inner]).max() <= 2
  assert sizes_lib.resize(video, sizes_lib.ResizePolicy(), STRIDE, PATCH) is video
  small = sizes_lib.resize(video, sizes_lib.ResizePolicy(limit=3), STRIDE, PATCH)
  assert small.shape[0] == 3 and sizes_lib.token_count(small.shape[:3], STRIDE,
                                               PATCH) <= 3


@pytest.mark.slow
def test_latents_of_reduced_clips(tmp_path):
  """Encoded as asked, counted, and refused under another name."""
  data = tmp_path / "worlds"
  prepare.prepare("world:balls", data, world.WorldOptions(
      count=6, sizes=(((48, 32), 1),), frames=((5, 1),), fps=((8, 1),)),
      workers=0, test_share=0, quiet=True)
  module = vae.VAE(base=8, mults=(1, 1, 1), z=4, blocks=1)
  params = jax.tree.map(
      lambda x: .1 * np.random.default_rng(x.size).standard_normal(
          x.shape).astype(np.float32),
      jax.eval_shape(lambda key: vae.init(module, key), jax.random.key(0)))
  model = pretrained.Model(pretrained.Component(module, params), np.zeros(4),
                           np.ones(4))
  info = dataset.encode(model, data, tmp_path / "small", extras=latents.Extras(0, 0),
                      batch=6, policy=sizes_lib.ResizePolicy(limit=4))
  found = manifest.open_manifest(tmp_path / "small")
  assert {(r["t"], r["height"], r["width"]) for r in found.entries} == {
      (2, 16, 24)}
  # Two latents of 2 x 3 tokens before, of 1 x 2 after.
  assert info["resized"] == {"limit": 4, "square": 0, "clips": 6, "reduced": 6,
                         "too_long": 0, "tokens": 72, "tokens_lost": 48}
  assert statistics.lengths(found).sum() == 24
  with pytest.raises(ValueError, match="another data set .resized"):
    dataset.encode(model, data, tmp_path / "small", extras=latents.Extras(0, 0))


def test_shapes_are_chosen_for_the_data():
  tokens = statistics.lengths(estimate.manifest(
      mixture(5000), sizes_lib.ResizePolicy(), STRIDE))
  shapes = suggest_buckets.shapes(tokens, 2**22, 16)
  assert shapes == LONG.shapes
  few = suggest_buckets.shapes(tokens[tokens < 1000], 2**22, 16)
  assert few[-1][1] == 1024 and all(r * n == 2**22 for r, n in few)
  assert suggest_buckets.shapes(np.full(10, 700), 4096, 4) == ((4, 1024),)
  with pytest.raises(ValueError, match="1000 tokens do not divide over 16"):
    suggest_buckets.shapes(tokens, 1000, 16)


@pytest.mark.slow
def test_the_verb_reports_and_refuses_with_numbers(tmp_path, capsys):
  data = mixture(3000)
  np.save(tmp_path / "train.npy", data.entries)
  files.write_json(tmp_path / "dataset.json", data.info | {
      "shards": {"train": 1}, "clips": {"train": 3000}, "rejected": 7})
  verb = ["plan-data", "--config=configs/dit.py:tiny_cpu", f"--data={tmp_path}"]
  assert main.main([*verb, "--stride=4x16x16", "--tokens=4194304",
                    "--shards=16", "--config.data.text_length=4096",
                    "--config.data.max_segments=64",
                    f"--json={tmp_path}/r.json"]) == 0
  out = capsys.readouterr().out
  print(out)
  found = json.loads((tmp_path / "r.json").read_text())
  assert [s["rows"] for s in found["shapes"]] == [64, 32, 16]
  for said in ("3,000 clips; 7 rejected", "4,194,304 tokens a step",
               f"reduced, keeping their aspect: {found['resized']['reduced']:,}",
               f"{found['resized']['tokens_lost']:,} tokens lost", "64 x  65,536"):
    assert said in out, said
  assert main.main(verb) == 2
  assert "--stride=TxHxW" in capsys.readouterr().err
  assert main.main([*verb, "--stride=4x16x16",
                    "--config.data.shapes=((4096,262144),)"]) == 0
  assert "times in a batch" in capsys.readouterr().out
  vae = ["plan-data", "--config=configs/vae.py:tiny_cpu", f"--data={tmp_path}"]
  assert main.main(vae) == 0
  assert "unused: 0" in capsys.readouterr().out
  assert main.main([*vae, "--config.data.buckets=((9997,64,64,4,1.0),)"]) == 0
  assert "fills the bucket of 9997 frames" in capsys.readouterr().out

"""Batches are a pure function of (manifest, seed, step), packed and masked."""

import dataclasses
import functools
import hashlib
import itertools
import os
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sora_jax import tokens as tokens_lib
from sora_jax import types
from sora_jax.data import buckets
from sora_jax.data import crops
from sora_jax.data import latents
from sora_jax.data import masks
from sora_jax.data import packing
from sora_jax.data import pipeline
from sora_jax.data import plan as plan_lib
from sora_jax.data import prepare
from sora_jax.data import records
from sora_jax.data import report as report_lib
from sora_jax.data import shards
from sora_jax.data import sources
from sora_jax.data import tokenizer
from sora_jax.data import video_io
from sora_jax.models import attention
from sora_jax.models import dit
from sora_jax.models import text_encoder

BUCKETS = ((1, 24, 24, 8, 0.25), (5, 24, 24, 4, 0.5), (9, 16, 24, 4, 0.25))
CONFIG = plan_lib.TokenConfig(shapes=((8, 64), (4, 128)), text_length=160,
                              block=4000)
C = 2  # latent channels: one holds the clip, one (latent, tail or still)


@pytest.fixture(scope="module")
def pixels(tmp_path_factory):
  out = tmp_path_factory.mktemp("data") / "pixels"
  prepare.prepare("world:balls", out, sources.WorldOptions(
      count=40, sizes=(((32, 32), 2), ((48, 32), 1), ((24, 40), 1)),
      frames=((1, 2), (9, 2), (17, 4), (33, 1)), fps=((8, 2), (16, 1))),
      workers=0, test_share=0, shard=16, quiet=True)
  return shards.open_manifest(out)


def synthetic(pixels, out, spoil=()):
  """Latents whose values say what they are."""
  info = latents.describe(pixels.info, "digest", (4, 8, 8), (1, 2, 2), C, 0, 2,
                          2)
  latents.begin(out, pixels.root, info)
  rng, tok = np.random.default_rng(0), tokenizer.of(pixels)
  pick = lambda values, n: sorted(rng.choice(
      values, min(n, len(values)), replace=False).tolist())

  def each():
    for i in range(len(pixels)):
      item = records.read(pixels, i)
      t, h, w = tokens_lib.latent_size(
          (item.frames, item.height, item.width), (4, 8, 8))
      z = np.empty((t, h, w, C), np.float16)
      z[..., 0], z[..., 1] = i, np.arange(t)[:, None, None]
      cuts, stills = pick(np.arange(1, t), 2), pick(np.arange(1, item.frames),
                                                    2)
      mark = lambda z, n: np.concatenate([z[..., :1], z[..., 1:] * 0 + n], -1)
      record = latents.Record(
          z, item.captions, item.fps, (item.frames, item.height, item.width),
          {c: z[c:] + np.array([0, 100], np.float16) for c in cuts},
          {f: mark(z[:1], 1000 + f) for f in stills})
      data = latents.encode(record)
      yield data[:9] if i in spoil else data, latents.row(record, tok)

  shards.write_shard(out, "train", 0, each(), latents.LATENTS)
  shards.finish(out, shards.collect(out, {"train": 1}, info))
  return shards.open_manifest(out)


@pytest.fixture(scope="module")
def cached(pixels, tmp_path_factory):
  return synthetic(pixels, tmp_path_factory.mktemp("latents"))


def equal(a, b):
  return jax.tree.all(jax.tree.map(
      lambda x, y: x.dtype == y.dtype and np.array_equal(x, y), a, b))


def plans(pixels, cached):
  """Fresh plans over pixels and over latents."""
  return (buckets.pixel_plan(pixels, buckets.PixelConfig(buckets=BUCKETS)),
          plan_lib.token_plan(cached, CONFIG))


@pytest.mark.parametrize("kind", [0, 1])
def test_a_batch_is_a_pure_function_of_the_step(pixels, cached, kind):
  plan = plans(pixels, cached)[kind]
  for step in (0, 3, 1500, 2047, 10**6):
    batch = pipeline.batch_at(plan, step)
    assert equal(batch, pipeline.batch_at(plan, step))
    fresh = plans(pixels, cached)[kind]
    assert equal(batch, pipeline.batch_at(fresh, step))
    assert fresh.digest == plan.digest
  assert not equal(pipeline.batch_at(plan, 0).video if kind == 0 else
                   pipeline.batch_at(plan, 0).tokens.x[:4, :64].copy(),
                   pipeline.batch_at(plan, 1).video if kind == 0 else
                   pipeline.batch_at(plan, 1).tokens.x[:4, :64].copy())


@pytest.mark.parametrize("kind", [0, 1])
def test_hosts_and_threads_do_not_change_the_data(pixels, cached, kind):
  """50 random steps, of 1, 2 and 4 hosts with 0, 1 and 2 threads each."""
  plan, count = plans(pixels, cached)[kind], 5
  starts = np.random.default_rng(kind).integers(10**5, size=10).tolist()
  for start in starts:
    want = [pipeline.batch_at(plan, start + i) for i in range(count)]
    for hosts, threads in itertools.product((1, 2, 4), (0, 1, 2)):
      streams = [itertools.islice(pipeline.batches(
          plan, start, (i, hosts), threads, 1), count) for i in range(hosts)]
      for i, got in enumerate(zip(*streams, strict=True)):
        assert [step for step, _ in got] == [start + i] * hosts
        whole = jax.tree.map(lambda *x: np.concatenate(x),
                             *(b for _, b in got))
        assert equal(whole, want[i])


RESUMED = """
import hashlib, sys
import jax
import numpy as np
from sora_jax.data import pipeline, plan, shards
manifest = shards.open_manifest(sys.argv[1])
made = plan.token_plan(manifest, plan.TokenConfig(
    shapes=((8, 64), (4, 128)), text_length=160, block=4000))
streams = [pipeline.batches(made, int(sys.argv[2]), (i, 4), 1) for i in range(4)]
for got in list(zip(*streams, range(3)))[:3]:
  whole = jax.tree.map(lambda *x: np.concatenate(x), *(b for _, b in got[:4]))
  print(hashlib.sha256(b"".join(
      x.tobytes() for x in jax.tree.leaves(whole))).hexdigest())
"""


def test_a_new_process_on_other_hosts_goes_on_alike(cached):
  """Batches 1777 .. 1779, of one host here and of four there."""
  plan = plan_lib.token_plan(cached, CONFIG)
  out = subprocess.run(
      [sys.executable, "-c", RESUMED, cached.root, "1777"], check=True,
      capture_output=True, text=True).stdout.split()
  stream = pipeline.batches(plan, 1774)
  here = [hashlib.sha256(b"".join(x.tobytes() for x in jax.tree.leaves(
      next(stream)[1]))).hexdigest() for _ in range(6)]
  assert out == here[3:] and len(set(here)) == 6


def test_a_clip_alone_in_a_row_is_a_clip_packed(cached):
  """Attention, outputs and loss of clips of a planned row."""
  attend = functools.partial(attention.attend, backend="flash")
  batch = plan_lib.token_plan(cached, CONFIG).batch(3)
  row = int(np.argmax(batch.tokens.seg.max(1)))
  batch = jax.tree.map(lambda x: x[row:row + 1], batch)
  seg, count = batch.tokens.seg[0], int(batch.tokens.seg.max())
  assert count >= 3
  network = dit.DiT(layers=1, heads=2, head_size=16, ffn=48, patch_channels=8,
                    out_channels=8, text_width=16, freq_dim=16,
                    attention="flash")
  words = text_encoder.TextEncoder(vocab=512, width=16, layers=1, heads=2,
                                   ffn=32)
  rng = np.random.default_rng(0)
  params = jax.tree.map(
      lambda x: .2 * rng.standard_normal(x.shape).astype(np.float32),
      jax.eval_shape(lambda key: (dit.init(network, key), text_encoder.init(
          words, key)), jax.random.key(0)))
  # Values as a model sees them; one noise and one time for each clip.
  x0 = np.tanh(batch.tokens.x / 50)
  eps = rng.standard_normal(x0.shape).astype(np.float32)
  t = np.linspace(.1, .9, count + 1, dtype=np.float32)[None]

  @jax.jit
  def run(x0, eps, tokens, text, known):
    tid = jnp.where(known, 0, tokens.seg)
    each = jnp.take_along_axis(jnp.asarray(t), tid, 1)[..., None]
    x_t = (1 - each) * x0 + each * eps
    out = dit.denoise(network, params[0], tokens.replace(x=x_t),
                      types.Times(t=t, tid=tid),
                      text_encoder.encode(words, params[1], text))
    loss = jnp.mean((out - x0)**2, -1) / jnp.maximum(each[..., 0], .05)**2
    q = x_t.reshape(*x_t.shape[:2], 2, 4)
    return attend(q, q, q, tokens.seg, tokens.seg), out, loss

  packed = run(x0, eps, batch.tokens, batch.text, batch.known)
  for s in (1, 2, count):
    # The clip at the front of a row of its own, the rest of it padding.
    n, theirs = int((seg == s).sum()), batch.text.seg == s
    move = functools.partial(_front, np.flatnonzero(seg == s))
    alone = run(move(x0), move(eps), jax.tree.map(move, batch.tokens),
                types.Text(np.where(theirs, batch.text.ids, 0),
                           np.where(theirs, s, 0).astype(np.int32)),
                move(batch.known))
    for a, b in zip(alone, packed):
      a, b = np.asarray(a)[0, :n], np.asarray(b)[0, seg == s]
      assert np.abs(a - b).max() <= 1e-5 * max(np.abs(b).max(), 1)


def _front(index, x):
  """x [1, L, ..] with the tokens of `index` in front and nothing behind."""
  return np.concatenate([x[:, index], np.zeros_like(x[:, len(index):])], 1)


def test_resuming_at_any_step_gives_the_same_stream(pixels, cached):
  for plan, fresh in zip(plans(pixels, cached), plans(pixels, cached)):
    stream = pipeline.batches(plan, 0)
    first = [next(stream) for _ in range(6)]
    again = pipeline.batches(fresh, 4)
    for step, batch in first[4:]:
      got, other = next(again)
      assert got == step and equal(batch, other)


def test_pixels_fill_their_buckets(pixels):
  plan = buckets.pixel_plan(pixels, buckets.PixelConfig(buckets=BUCKETS))
  report = buckets.report(plan)
  print(report)
  assert [b["share"] for b in report["buckets"]] == [0.25, 0.5, 0.25]
  shapes = [(8, 1, 24, 24, 3), (4, 5, 24, 24, 3), (4, 9, 16, 24, 3)]
  seen = [shapes.index(pipeline.batch_at(plan, s).video.shape)
          for s in range(60)]
  assert set(seen) == {0, 1, 2}
  order = [buckets._place(plan, s)[0] for s in range(buckets.BLOCK)]
  assert np.bincount(order).tolist() == [256, 512, 256]
  # Every eligible clip comes once in an epoch of its bucket.
  n = len(plan.eligible[1])
  assert sorted(buckets.clip(plan, 1, i) for i in range(n)) == sorted(
      plan.eligible[1])
  with pytest.raises(ValueError, match="hosts"):
    pipeline.batch_at(plan, 0, (0, 3))


def test_a_crop_is_a_part_of_its_clip(pixels):
  plan = buckets.pixel_plan(pixels, buckets.PixelConfig(buckets=(
      (5, 16, 24, 1, 1.0),)))
  for step in range(10):
    crop = pipeline.batch_at(plan, step).video[0]
    item = records.read(pixels, buckets.clip(plan, 0, step))
    video = video_io.read(item.data)[0]
    assert any(np.array_equal(video[t:t + 5, y:y + 16, x:x + 24], crop)
               for t in range(len(video) - 4)
               for y in range(video.shape[1] - 15)
               for x in range(video.shape[2] - 23))


def test_more_candidates_show_more_edges(pixels):
  """Of the same clips, and the first candidate is among those of more."""
  plans = [buckets.pixel_plan(pixels, buckets.PixelConfig(
      buckets=((5, 16, 16, 4, 1.0),), candidates=n)) for n in (1, 4)]
  assert plans[0].digest != plans[1].digest
  one, four = (np.array([crops.contrast(x) for step in range(8)
                         for x in plan.batch(step).video]) for plan in plans)
  assert np.all(four >= one) and four.mean() > 1.2 * one.mean()
  with pytest.raises(ValueError, match="candidates 0"):
    buckets.PixelConfig(candidates=0)


def test_a_damaged_clip_is_replaced_and_counted(pixels, tmp_path):
  cfg = buckets.PixelConfig(buckets=((5, 16, 16, 4, 1.0),))
  plan = lambda: buckets.pixel_plan(shards.open_manifest(tmp_path / "d"), cfg)
  shutil.copytree(pixels.root, tmp_path / "d")
  shutil.copytree(pixels.root, tmp_path / "e")
  name = sorted((tmp_path / "d").glob("sora-*"))[0]
  data = bytearray(name.read_bytes())
  for at in range(10_000, 60_000, 15_000):
    data[at] ^= 0xff
  name.write_bytes(data)
  one, two = plan(), plan()
  assert all(equal(one.batch(s), two.batch(s)) for s in range(12))
  assert one.events["unreadable"] == two.events["unreadable"] > 0
  print(one.events, "of", 12 * 4)
  for name in (tmp_path / "e").glob("sora-*"):
    name.write_bytes(b"x" * 1000)
  with pytest.raises(ValueError, match="in a row"):
    buckets.pixel_plan(shards.open_manifest(tmp_path / "e"), cfg).batch(0)


def test_too_little_data_is_refused_with_numbers(pixels, cached):
  with pytest.raises(ValueError, match="99 frames.*takes 4 clips.* 0 of the 40"):
    buckets.pixel_plan(pixels, buckets.PixelConfig(
        buckets=((99, 16, 16, 4, 1.0),)))
  few = dataclasses.replace(cached, rows=cached.rows[:2])
  with pytest.raises(ValueError, match="2 clips .* batch holds 65536"):
    plan_lib.token_plan(few, dataclasses.replace(
        CONFIG, shapes=((64, 1024),)))
  with pytest.raises(ValueError, match="the longest row 2"):
    plan_lib.token_plan(cached, dataclasses.replace(CONFIG, shapes=((4, 2),)))
  with pytest.raises(ValueError, match="same number"):
    plan_lib.token_plan(cached, dataclasses.replace(
        CONFIG, shapes=((4, 64), (4, 128))))
  with pytest.raises(ValueError, match="encode"):
    plan_lib.token_plan(pixels, CONFIG)


def test_every_view_is_packed_whole_and_once(cached):
  plan = plan_lib.token_plan(cached, CONFIG)
  block, report = plan_lib.block_at(plan, 0), report_lib.report(plan)
  print(report)
  assert report["fill"] > 0.95 and report["dropped"] == report["cut"] == 0
  packed = np.concatenate([block.order[block.bounds[r]:block.bounds[r + 1]]
                           for _, rows in block.batches for r in rows if r >= 0])
  assert sorted(packed) == list(range(len(block.clips)))
  # 4000 // 40 epochs: every clip as often as any other.
  assert set(np.bincount(block.clips)) == {100}
  for shape, rows in block.batches:
    assert len(rows) == CONFIG.shapes[shape][0]
    for r in rows[rows >= 0]:
      inside = block.order[block.bounds[r]:block.bounds[r + 1]]
      assert block.tokens[inside].sum() <= CONFIG.shapes[shape][1]
      assert block.words[inside].sum() <= CONFIG.text_length
      assert 0 < len(inside) <= CONFIG.max_segments


def test_packing_a_realistic_mixture_is_dense_and_fast():
  import time
  rng = np.random.default_rng(0)
  grid = rng.choice([16, 24, 24, 40], 20_000, p=[.4, .2, .2, .2])
  t = rng.choice([1, 3, 5, 7, 9, 13], 20_000, p=[.15, .1, .5, .1, .1, .05])
  words = rng.integers(5, 45, 20_000)
  start = time.perf_counter()
  of, shapes = packing.pack(grid * t, words, [256, 640], 320, 16)
  seconds = time.perf_counter() - start
  fill = (grid * t).sum() / np.array([256, 640])[shapes].sum()
  print(f"fill {fill:.4f}, {seconds * 5:.1f} s per 100,000 clips")
  assert fill > 0.97 and seconds < 4
  assert np.bincount(of, minlength=len(shapes)).min() > 0


def test_the_rows_hold_what_the_plan_says(cached):
  """Tokens, known tokens, positions, prompts: by the values of the latents."""
  plan = plan_lib.token_plan(cached, CONFIG)
  block, tok = plan_lib.block_at(plan, 0), tokenizer.of(cached)
  views, seen = block.views, set()
  for step in range(60):
    batch = pipeline.batch_at(plan, step)
    assert batch.tokens.x.dtype == batch.tokens.pos.dtype == np.float32
    for r, name in enumerate(block.batches[step][1]):
      seg = batch.tokens.seg[r]
      assert not batch.known[r][seg == 0].any()
      assert not batch.tokens.x[r][seg == 0].any()
      members = [] if name < 0 else block.order[
          block.bounds[name]:block.bounds[name + 1]]
      assert seg.max(initial=0) == len(members)
      for s, i in enumerate(members, 1):
        here = np.flatnonzero(seg == s)
        assert len(here) == block.tokens[i]
        assert np.array_equal(here, np.arange(here[0], here[-1] + 1))
        clip, row = int(block.clips[i]), cached.rows[block.clips[i]]
        values = batch.tokens.x[r, here].reshape(len(here), 4, C)
        pos, known = batch.tokens.pos[r, here], batch.known[r, here]
        assert (values[..., 0] == clip).all()
        what = values[:, 0, 1]
        assert (values[..., 1] == what[:, None]).all()
        start, stop = int(views.start[i]), int(views.stop[i])
        per = int(row["h"] * row["w"]) // 4
        n = (stop - start) * per
        latent = np.repeat(np.arange(start, stop), per)
        kind, cut = masks.KINDS[views.kind[i]], int(views.cut[i])
        seen.add((kind, start > 0))
        first = int(start > 0)
        time = (latent - start + first) * 8.0 / row["fps"]
        assert np.allclose(pos[:n, 0], time)
        y, x = np.mgrid[:row["h"] // 2, :row["w"] // 2]
        assert np.array_equal(pos[:n, 1], np.tile(y.ravel(), stop - start))
        assert np.array_equal(pos[:n, 2], np.tile(x.ravel(), stop - start))
        expected = latent.astype(float)
        if cut >= 0:  # the tail that has not seen its past, not the clip's own
          expected[latent >= cut] += 100
        assert np.array_equal(what[:n], expected)
        given = np.zeros(n, bool)
        given[:int(views.head[i]) * per] = True
        if cut >= 0:
          given[latent >= cut] = True
        if kind != "box":
          assert np.array_equal(known[:n], given)
        assert kind in ("none", "stills") or known.any()
        assert not known[:n].all()
        for k, frame in enumerate(row["stills"][views.stills[i]]):
          still = slice(n + k * per, n + (k + 1) * per)
          assert known[still].all() and (what[still] == 1000 + frame).all()
          # As far behind frame 4 (start - 1) + 1 as in the clip.
          at = frame / 4 - (start - 1 if start else 0)
          assert np.allclose(pos[still, 0], at * 8.0 / row["fps"])
          assert time.min() - 1e-3 <= pos[still, 0].min() + 8 / row["fps"]
          assert pos[still, 0].max() <= time.max() + 1e-3
        words = batch.text.ids[r][batch.text.seg[r] == s]
        captions = latents.decode(cached.record(clip)).captions
        choice = int(views.caption[i])
        text = "" if choice < 0 else captions[choice]
        assert words.tolist() == tok.encode(text, 64, bool(start))
        assert len(words) == block.words[i]
      assert (batch.text.ids[r][batch.text.seg[r] == 0] == tok.pad).all()
  assert {k for k, _ in seen} == set(masks.KINDS)
  assert {k for k, inner in seen if inner} == set(masks.KINDS) - {"first"}
  assert ("loop", False) not in seen and ("first", True) not in seen


def test_the_shares_of_the_views(cached):
  """10,000 views of a typical manifest, printed."""
  rng = np.random.default_rng(0)
  n = 10_000
  rows = np.zeros(n, latents.LATENTS)
  rows["t"] = rng.choice([1, 3, 5, 7, 9, 13], n, p=[.15, .1, .5, .1, .1, .05])
  rows["cuts"] = rows["stills"] = -1
  pick = lambda stop: rng.choice(np.arange(1, stop), 2, replace=False)
  for i in np.flatnonzero(rows["t"] > 1):
    rows["cuts"][i, :2] = pick(rows["t"][i])
    rows["stills"][i, :2] = pick(4 * rows["t"][i] - 3)
  grid = np.full((n, 2), 4)
  views = masks.draw(rng, rows, rows["t"].astype(np.int64), grid,
                     np.full(n, 40), masks.MaskConfig())
  video = rows["t"] > 1
  share = lambda of, k: (views.kind[of] == k).mean()
  for k, kind in enumerate(masks.KINDS):
    print(f"{kind:7} all {share(slice(None), k):.3f} "
          f"videos {share(video, k):.3f} images {share(~video, k):.3f}")
  print(f"interior videos {(views.start[video] > 0).mean():.3f}, null text "
        f"{(views.caption < 0).mean():.3f}, descriptive "
        f"{(views.caption == 1).mean():.3f}")
  cfg = masks.MaskConfig()
  for k, kind in enumerate(masks.KINDS):
    assert abs(share(video, k) - getattr(cfg, kind)) < 0.02, kind
  assert set(views.kind[~video]) == {masks.NONE, masks.BOX}
  assert abs((views.start[video] > 0).mean() - 0.25) < 0.03
  assert abs((views.caption < 0).mean() - 0.1) < 0.015
  # Both ends, a tail and a loop leave something unknown between.
  ends = views.cut >= 0
  assert (views.start + views.head < views.cut)[ends].all()
  assert (views.cut < views.stop)[ends].all()
  assert (views.start[views.kind == masks.LOOP] > 0).all()
  assert (views.head < views.stop - views.start).all()
  box = views.box[views.kind == masks.BOX].reshape(-1, 3, 2)
  size = np.stack([views.stop - views.start, *grid.T], 1)[
      views.kind == masks.BOX]
  assert (box[..., 0] < box[..., 1]).all() and (box[..., 1] <= size).all()
  assert ((box[..., 1] - box[..., 0]) < size).any(1).all()


def test_a_long_clip_is_cut_to_what_fits_and_counted(cached):
  cfg = dataclasses.replace(CONFIG, shapes=((16, 32),))
  plan = plan_lib.token_plan(cached, cfg)
  report = report_lib.report(plan)
  per = (cached.rows["h"] * cached.rows["w"]) // 4
  long = cached.rows["t"] * per > 32
  assert report["cut"] == long.sum() > 0
  assert report["cut_latents"] == (cached.rows["t"] - 32 // per)[long].sum()
  block = plan_lib.block_at(plan, 0)
  assert (block.tokens <= 32).all()
  for step in range(5):
    pipeline.batch_at(plan, step)
  assert not plan.events


def test_an_unreadable_clip_is_an_empty_segment(pixels, tmp_path):
  manifest = synthetic(pixels, tmp_path, spoil=range(0, 40, 4))
  plan = plan_lib.token_plan(manifest, CONFIG)
  block = plan_lib.block_at(plan, 0)
  for step in range(8):
    batch = pipeline.batch_at(plan, step)
    for r, name in enumerate(block.batches[step][1]):
      members = block.order[block.bounds[name]:block.bounds[name + 1]]
      there = [s for s, i in enumerate(members, 1) if block.clips[i] % 4]
      assert set(batch.tokens.seg[r]) - {0} == set(there)
      assert set(batch.text.seg[r]) - {0} == set(there)
  assert plan.events["unreadable"] > 0


def test_blocks_of_a_large_manifest_are_packed_alone(cached):
  many = dataclasses.replace(cached, rows=np.tile(cached.rows, 30))  # 1200
  plan = plan_lib.token_plan(many, dataclasses.replace(CONFIG, block=500))
  parts = [plan_lib.block_at(plan, i).clips for i in range(6)]
  assert [len(p) for p in parts] == [400] * 6
  for epoch in (parts[:3], parts[3:]):
    assert sorted(np.concatenate(epoch)) == list(range(1200))
  assert not np.array_equal(parts[0], parts[3])
  lengths = [len(plan_lib.block_at(plan, i).batches) for i in range(6)]
  print(lengths, plan.steps)
  assert max(lengths) - min(lengths) <= 0.1 * plan.steps + 2
  assert len(plan.memory.entries) <= plan_lib.BLOCKS


def test_a_small_memory_only_costs_time(cached):
  small = plan_lib.token_plan(cached, dataclasses.replace(
      CONFIG, cache_bytes=20_000))
  large = plan_lib.token_plan(cached, CONFIG)
  assert all(equal(small.batch(s), large.batch(s)) for s in range(10))
  assert small.loader.clips.total[0] <= 20_000


def test_another_tokenizer_is_refused(pixels, tmp_path):
  manifest = synthetic(pixels, tmp_path)
  tokenizer.train(["other words"], os.path.join(tmp_path, "tokenizer.model"))
  with pytest.raises(ValueError, match="not the tokenizer"):
    plan_lib.token_plan(manifest, CONFIG).batch(0)


def test_planning_from_latents_needs_no_decoder():
  code = ("import sys\nfrom sora_jax.data import plan, pipeline\n"
          "print([m for m in ('av', 'tensorflow_datasets', 'sora_jax.worlds') "
          "if m in sys.modules])")
  out = subprocess.run([sys.executable, "-c", code], capture_output=True,
                       text=True, check=True).stdout
  assert out.strip() == "[]"

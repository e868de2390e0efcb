"""Clips and examples in packed rows of latents."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sora_jax import types
from sora_jax.data.loading import conditioning
from sora_jax.data.loading import epoch_chunks
from sora_jax.data.loading import packing
from sora_jax.data.loading import placement
from sora_jax.data.loading import plan as plan_lib
from sora_jax.data.loading import statistics
from sora_jax.data.store import latents
from sora_jax.models import dit
from sora_jax.models.attention import attend as attend_lib
from sora_jax.models.text import encoder
from sora_jax.text import tokenizer
import toy_data


@pytest.mark.slow
def test_a_clip_alone_in_a_row_is_a_clip_packed(cached):
  """Attention, outputs and loss of clips of a planned row."""
  attend = functools.partial(attend_lib.attend, backend="flash")
  batch = plan_lib.token_plan(cached, toy_data.CONFIG).batch(3)
  row = int(np.argmax(batch.tokens.seg.max(1)))
  batch = jax.tree.map(lambda x: x[row:row + 1], batch)
  seg, count = batch.tokens.seg[0], int(batch.tokens.seg.max())
  assert count >= 3
  network = dit.DiT(layers=1, heads=2, head_size=16, ffn=48, patch_channels=8,
                    out_channels=8, text_width=16, freq_dim=16,
                    attention="flash")
  text_encoder = encoder.TextEncoder(vocab=512, width=16, layers=1, heads=2,
                                   ffn=32)
  rng = np.random.default_rng(0)
  params = jax.tree.map(
      lambda x: .2 * rng.standard_normal(x.shape).astype(np.float32),
      jax.eval_shape(lambda key: (dit.init(network, key), encoder.init(
          text_encoder, key)), jax.random.key(0)))
  # Values as a model sees them; one noise and one time for each clip.
  x0 = np.tanh(batch.tokens.x / 50)
  eps = rng.standard_normal(x0.shape).astype(np.float32)
  t = np.linspace(.1, .9, count + 1, dtype=np.float32)[None]

  @jax.jit
  def run(x0, eps, tokens, text, known):
    time_index = jnp.where(known, 0, tokens.seg)
    each = jnp.take_along_axis(jnp.asarray(t), time_index, 1)[..., None]
    x_t = (1 - each) * x0 + each * eps
    out = dit.denoise(network, params[0], tokens.replace(x=x_t),
                      types.Times(t=t, time_index=time_index),
                      encoder.encode(text_encoder, params[1], text))
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


def test_every_example_is_packed_whole_and_once(cached):
  plan = plan_lib.token_plan(cached, toy_data.CONFIG)
  chunk, report = plan.chunk(0), statistics.report(plan)
  print(report)
  assert report["fill"] > 0.95 and report["dropped"] == report["cut"] == 0
  packed = np.concatenate([chunk.order[chunk.bounds[r]:chunk.bounds[r + 1]]
                           for _, rows in chunk.batches for r in rows if r >= 0])
  assert sorted(packed) == list(range(len(chunk.clips)))
  # 4000 // 40 epochs: every clip as often as any other.
  assert set(np.bincount(chunk.clips)) == {100}
  for shape, rows in chunk.batches:
    assert len(rows) == toy_data.CONFIG.shapes[shape][0]
    for r in rows[rows >= 0]:
      inside = chunk.order[chunk.bounds[r]:chunk.bounds[r + 1]]
      assert chunk.tokens[inside].sum() <= toy_data.CONFIG.shapes[shape][1]
      assert chunk.text_tokens[inside].sum() <= toy_data.CONFIG.text_length
      assert 0 < len(inside) <= toy_data.CONFIG.max_segments


def test_packing_a_realistic_mixture_is_dense_and_fast():
  import time
  rng = np.random.default_rng(0)
  grid = rng.choice([16, 24, 24, 40], 20_000, p=[.4, .2, .2, .2])
  t = rng.choice([1, 3, 5, 7, 9, 13], 20_000, p=[.15, .1, .5, .1, .1, .05])
  text_tokens = rng.integers(5, 45, 20_000)
  start = time.perf_counter()
  of, shapes = packing.pack(grid * t, text_tokens, [256, 640], 320, 16)
  seconds = time.perf_counter() - start
  fill = (grid * t).sum() / np.array([256, 640])[shapes].sum()
  print(f"fill {fill:.4f}, {seconds * 5:.1f} s per 100,000 clips")
  assert fill > 0.97 and seconds < 4
  assert np.bincount(of, minlength=len(shapes)).min() > 0


@pytest.mark.parametrize("shapes", [toy_data.CONFIG.shapes, ((16, 16),)])
def test_the_rows_hold_what_the_plan_says(cached, shapes):
  """Tokens, known tokens, positions, prompts: by the values of the latents.

  Rows of 16 tokens hold 2 to 4 of the 1 to 9 latents of a clip.
  """
  plan = plan_lib.token_plan(cached, dataclasses.replace(toy_data.CONFIG,
                                                         shapes=shapes))
  chunk, tok = plan.chunk(0), tokenizer.of(cached)
  examples, seen = chunk.examples, set()
  for step in range(60):
    batch = plan.batch(step)
    assert batch.tokens.x.dtype == batch.tokens.pos.dtype == np.float32
    for r, name in enumerate(chunk.batches[step][1]):
      seg = batch.tokens.seg[r]
      assert not batch.known[r][seg == 0].any()
      assert not batch.tokens.x[r][seg == 0].any()
      members = chunk.members(name)
      assert seg.max(initial=0) == len(members)
      for s, i in enumerate(members, 1):
        here = np.flatnonzero(seg == s)
        assert len(here) == chunk.tokens[i]
        assert np.array_equal(here, np.arange(here[0], here[-1] + 1))
        clip, row = int(chunk.clips[i]), cached.entries[chunk.clips[i]]
        values = batch.tokens.x[r, here].reshape(len(here), 4, toy_data.C)
        pos, known = batch.tokens.pos[r, here], batch.known[r, here]
        assert (values[..., 0] == clip).all()
        what = values[:, 0, 1]
        assert (values[..., 1] == what[:, None]).all()
        start, stop = int(examples.start[i]), int(examples.stop[i])
        per = int(row["h"] * row["w"]) // 4
        n = (stop - start) * per
        latent = np.repeat(np.arange(start, stop), per)
        kind = conditioning.CONDITIONINGS[examples.conditioning[i]]
        suffix_start = int(examples.suffix_start[i])
        seen.add((kind, start > 0))
        first = int(start > 0)
        time = (latent - start + first) * 8.0 / row["fps"]
        assert np.allclose(pos[:n, 0], time)
        y, x = np.mgrid[:row["h"] // 2, :row["w"] // 2]
        assert np.array_equal(pos[:n, 1], np.tile(y.ravel(), stop - start))
        assert np.array_equal(pos[:n, 2], np.tile(x.ravel(), stop - start))
        expected = latent.astype(float)
        if suffix_start >= 0:  # without its past, not the clip's own latents
          expected[latent >= suffix_start] += 100
        given = np.zeros(n, bool)
        given[:int(examples.head[i]) * per] = True
        if suffix_start >= 0:
          given[latent >= suffix_start] = True
        if kind == "region":  # all around it, as the clip looks without it
          t0, t1, y0, y1, x0, x1 = row["region"]
          given = ~((latent >= t0) & (latent < t1) & (pos[:n, 1] >= y0)
                    & (pos[:n, 1] < y1) & (pos[:n, 2] >= x0)
                    & (pos[:n, 2] < x1))
          expected[given] += 500
        assert np.array_equal(what[:n], expected)
        assert np.array_equal(known[:n], given)
        assert kind in ("none", "keyframes") or known.any()
        assert not known[:n].all()
        for k, frame in enumerate(row["keyframes"][examples.keyframes[i]]):
          keyframe = slice(n + k * per, n + (k + 1) * per)
          assert known[keyframe].all() and (what[keyframe] == 1000 + frame).all()
          # As far behind frame 4 (start - 1) + 1 as in the clip.
          at = frame / 4 - (start - 1 if start else 0)
          assert np.allclose(pos[keyframe, 0], at * 8.0 / row["fps"])
          assert time.min() - 1e-3 <= pos[keyframe, 0].min() + 8 / row["fps"]
          assert pos[keyframe, 0].max() <= time.max() + 1e-3
        ids = batch.text.ids[r][batch.text.seg[r] == s]
        captions = latents.decode(cached.record(clip)).captions
        choice = int(examples.caption[i])
        text = "" if choice < 0 else captions[choice]
        assert ids.tolist() == tok.encode(text, 64, bool(start))
        assert len(ids) == chunk.text_tokens[i]
      assert (batch.text.ids[r][batch.text.seg[r] == 0] == tok.pad).all()
  assert {k for k, _ in seen} == set(conditioning.CONDITIONINGS)
  assert {k for k, inner in seen if inner} == {
      *conditioning.CONDITIONINGS} - {"first"}
  assert ("loop", False) not in seen and ("first", True) not in seen


def test_the_shares_of_the_conditionings(cached):
  """10,000 examples of a typical manifest, printed."""
  rng = np.random.default_rng(0)
  n = 10_000
  rows = np.zeros(n, latents.LATENTS)
  rows["t"] = rng.choice([1, 3, 5, 7, 9, 13], n, p=[.15, .1, .5, .1, .1, .05])
  rows["suffix_starts"] = rows["keyframes"] = -1
  pick = lambda stop: rng.choice(np.arange(1, stop), 2, replace=False)
  for i in np.flatnonzero(rows["t"] > 1):
    rows["suffix_starts"][i, :2] = pick(rows["t"][i])
    rows["keyframes"][i, :2] = pick(4 * rows["t"][i] - 3)
  grid = np.full((n, 2), 4)
  rows["region"] = placement.draw_regions(rng, np.stack([rows["t"], *grid.T], 1))
  examples = conditioning.draw(rng, rows, rows["t"].astype(np.int64), grid,
                     np.full(n, 40), conditioning.ConditioningConfig())
  video = rows["t"] > 1
  share = lambda of, k: (examples.conditioning[of] == k).mean()
  for k, kind in enumerate(conditioning.CONDITIONINGS):
    print(f"{kind:7} all {share(slice(None), k):.3f} "
          f"videos {share(video, k):.3f} images {share(~video, k):.3f}")
  print(f"interior videos {(examples.start[video] > 0).mean():.3f}, null text "
        f"{(examples.caption < 0).mean():.3f}, descriptive "
        f"{(examples.caption == 1).mean():.3f}")
  cfg = conditioning.ConditioningConfig()
  for k, kind in enumerate(conditioning.CONDITIONINGS):
    assert abs(share(video, k) - cfg.shares[k]) < 0.02, kind
  assert set(examples.conditioning[~video]) == {conditioning.NONE, conditioning.REGION}
  assert abs((examples.start[video] > 0).mean() - 0.25) < 0.03
  assert abs((examples.caption < 0).mean() - 0.1) < 0.015
  # Both ends, a suffix and a loop leave something unknown between.
  ends = examples.suffix_start >= 0
  assert (examples.start + examples.head < examples.suffix_start)[ends].all()
  assert (examples.suffix_start < examples.stop)[ends].all()
  assert (examples.start[examples.conditioning == conditioning.LOOP] > 0).all()
  assert (examples.head < examples.stop - examples.start).all()


def test_examples_of_a_long_clip_fit_and_it_is_counted(cached):
  cfg = dataclasses.replace(toy_data.CONFIG, shapes=((16, 32),))
  plan = plan_lib.token_plan(cached, cfg)
  report = statistics.report(plan)
  per = (cached.entries["h"] * cached.entries["w"]) // 4
  long = cached.entries["t"] * per > 32
  assert report["cut"] == long.sum() > 0
  assert report["cut_latents"] == (cached.entries["t"] - 32 // per)[long].sum()
  chunk = plan.chunk(0)
  assert (chunk.tokens <= 32).all()
  # Its examples go on to its end.
  assert set(chunk.clips[chunk.examples.stop > (32 // per)[chunk.clips]]) == set(
      np.flatnonzero(long))
  for step in range(5):
    plan.batch(step)
  assert not plan.losses.reasons


def test_latents_of_repeated_frames_are_not_shown(cached):
  """Of clips with 1, 2 or 3 frames less than their latents cover."""
  rows = np.array(cached.entries)
  t = rows["t"].astype(int)
  rows["frames"] -= np.where(t > 1, np.arange(len(rows)) % 4, 0)
  filled = (rows["frames"] - 1) % 4 > 0
  assert filled.sum() > 10 and t[filled].min() > 2
  whole, part = (plan_lib.token_plan(
      dataclasses.replace(cached, entries=r), toy_data.CONFIG)
      for r in (cached.entries, rows))
  for plan, shown in ((whole, t), (part, t - filled)):
    chunk = plan.chunk(0)
    assert np.array_equal(chunk.examples.stop, shown[chunk.clips])
  for step in range(5):
    part.batch(step)
  assert not part.losses.reasons
  few = np.zeros(5, latents.LATENTS)  # two latents stay
  few["t"], few["frames"] = [1, 2, 2, 3, 3], [1, 3, 5, 6, 9]
  assert epoch_chunks._shown(few, 4).tolist() == [1, 2, 2, 2, 3]


def test_an_unreadable_clip_is_an_empty_segment(pixels, tmp_path):
  manifest = toy_data.synthetic(pixels, tmp_path, spoil=range(0, 40, 4))
  plan = plan_lib.token_plan(manifest, toy_data.CONFIG)
  chunk = plan.chunk(0)
  for step in range(8):
    batch, gone = plan.batch(step), 0
    for r, name in enumerate(chunk.batches[step][1]):
      members = chunk.members(name)
      there = [s for s, i in enumerate(members, 1) if chunk.clips[i] % 4]
      assert set(batch.tokens.seg[r]) - {0} == set(there)
      assert set(batch.text.seg[r]) - {0} == set(there)
      gone += len(members) - len(there)
    assert len(set(plan.losses.take(step))) == gone
    assert not plan.losses.take(step)
  assert all(i % 4 == 0 for i in plan.losses.reasons)
  assert "no record of latents" in plan.losses.named()[0]

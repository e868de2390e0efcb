"""Views of clips that fit a row, and of clips that are longer."""

import dataclasses
import hashlib

import numpy as np
import pytest

from sora_jax.data.loading import conditioning
from sora_jax.data.store import latents

WHOLE = conditioning.ConditioningConfig()
BEGIN = conditioning.ConditioningConfig(interior=0., loop=0.)  # as of an open model


def _rows(t):
  """Manifest rows of clips of `t` latents, with 2 cuts, 2 stills and a box."""
  rows = np.zeros(len(t), latents.LATENTS)
  rows["t"] = t
  places = np.random.default_rng(0).random((len(t), 4))
  for name, last, where in (("cuts", rows["t"] - 1, places[:, :2]),
                            ("stills", 4 * rows["t"] - 4, places[:, 2:])):
    found = np.sort((where * last[:, None]).astype(int) + 1, 1)
    found[found[:, 0] == found[:, 1], 1] = -1
    found[last == 0] = -1
    rows[name] = -1
    rows[name][:, :2] = found
  rows["box"] = conditioning.draw_regions(np.random.default_rng(4), np.stack(
      [rows["t"], np.full(len(t), 4), np.full(len(t), 4)], 1))
  return rows


def _draw(rows, fit, cfg=WHOLE):
  return conditioning.draw(np.random.default_rng(1), rows, rows["t"].astype(np.int64),
                    np.full((len(rows), 2), 4), np.full(len(rows), fit), cfg)


def _digest(views, some=slice(None)):
  return hashlib.sha256(b"".join(
      getattr(views, f.name)[some].astype(np.int64).tobytes()
      for f in dataclasses.fields(views))).hexdigest()


@pytest.mark.parametrize("cfg, digest", [
    (WHOLE, "0d00b41c91b68760b8fd2ee111bdfe1357a8c89e1458c0d9c0738a84191492e3"),
    (BEGIN, "214b71fbdd65c1424f5998c8f35371dc7f87d79887bd4b086b24c05fcc70741f")],
    ids=["interior", "beginning"])
def test_views_of_clips_that_fit_stay_as_they_are(cfg, digest):
  """Another draw would be another plan, for the same data and seed."""
  t = 1 + np.random.default_rng(2).integers(0, 13, 3000)
  assert _digest(_draw(_rows(t), 13, cfg)) == digest
  # Long clips among them change nothing for them.
  mixed = np.where(np.arange(3000) % 3, t, 61)
  other, same = _draw(_rows(mixed), 13, cfg), mixed < 61
  alone = _draw(_rows(np.where(same, t, 1)), 13, cfg)
  assert _digest(other, same) == _digest(alone, same)
  assert (other.stop - other.start)[~same].max() == 13


@pytest.mark.parametrize("fit", [1, 2, 3, 9, 60])
def test_a_long_clip_is_seen_everywhere(fit):
  """4000 views of clips of 61 latents, of which a row holds `fit`."""
  rows = _rows(np.full(4000, 61))
  views = _draw(rows, fit)
  _check(rows, views, fit)
  seen = np.cumsum(np.bincount(views.start, minlength=62)
                   - np.bincount(views.stop, minlength=62))[:61]
  share = np.bincount(views.kind, minlength=len(conditioning.KINDS)) / len(rows)
  print(fit, seen, share, (views.start > 0).mean())
  if fit < 2:  # a latent for itself, as an image
    assert not views.start.any() and set(views.kind) == {
        conditioning.NONE, conditioning.REGION}
    return
  assert seen.min() > 6 * min(fit, 10)
  assert (views.start > 0).mean() > .25
  if fit > 2:
    assert np.allclose(share, [getattr(WHOLE, k) for k in conditioning.KINDS],
                       atol=.02)
  # Without a view that has to, as many begin inside as of shorter clips.
  free = np.isin(views.kind, (conditioning.NONE, conditioning.HEAD))
  assert abs((views.start[free] > 0).mean() - .25) < .03
  assert not views.start[views.kind == conditioning.FIRST].any()


@pytest.mark.parametrize("fit", [2, 3, 4, 9])
def test_views_stay_at_the_beginning_where_none_is_interior(fit):
  rows = _rows(np.random.default_rng(3).integers(fit, 3 * fit, 4000))
  views = _draw(rows, fit, BEGIN)
  _check(rows, views, fit)
  assert not views.start.any()
  longer = rows["t"] > fit
  assert (views.stop == fit - (longer & (views.kind == conditioning.KEYFRAMES))).all()
  assert (fit > 2) == (conditioning.KEYFRAMES in views.kind[longer])


def _check(rows, views, fit):
  """What is known of a view lies in it, and leaves something unknown."""
  length = views.stop - views.start
  assert (length >= min(fit, 2)).all() and (views.start >= 0).all()
  assert (views.stop <= rows["t"]).all()
  assert (length + views.stills.sum(1) <= fit).all()
  ends = np.isin(views.kind, (conditioning.SUFFIX, conditioning.BOTH,
                              conditioning.LOOP))
  assert np.array_equal(ends, views.cut >= 0)
  assert (views.start + views.head < views.cut)[ends].all()
  assert (views.cut < views.stop)[ends].all()
  assert (rows["cuts"] == views.cut[:, None]).any(1)[ends].all()
  assert (views.head < length).all()
  assert (views.start[views.kind == conditioning.LOOP] > 0).all()
  given = views.kind == conditioning.KEYFRAMES
  assert np.array_equal(views.stills.any(1), given)
  of = -(-rows["stills"] // 4)  # the latent that covers a frame; 0 is frame 0
  inside = (of >= views.start[:, None]) & (of < views.stop[:, None])
  assert inside[views.stills].all()
  some = views.kind == conditioning.REGION
  box = views.box[some].reshape(-1, 3, 2)
  of, size = rows["box"][some].reshape(-1, 3, 2), length[some]
  assert np.array_equal(box[:, 1:], of[:, 1:])
  at = np.stack([views.start, views.stop], 1)[some]
  assert (of[:, 0, 0] < at[:, 1]).all() and (of[:, 0, 1] > at[:, 0]).all()
  assert np.array_equal(box[:, 0, 0], np.maximum(of[:, 0, 0] - at[:, 0], 0))
  assert np.array_equal(box[:, 0, 1], np.minimum(of[:, 0, 1] - at[:, 0], size))
  size = np.stack([size, np.full(len(size), 4), np.full(len(size), 4)], 1)
  assert ((box[..., 1] - box[..., 0]) < size).any(1).all()
  assert not views.box[~some].any()

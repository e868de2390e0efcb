"""Views of clips that fit a row, and of clips that are longer."""

import dataclasses
import hashlib

import numpy as np
import pytest

from sora_jax.data import latents
from sora_jax.data import masks

WHOLE = masks.MaskConfig()
BEGIN = masks.MaskConfig(interior=0., loop=0.)  # as of an open model


def _rows(t):
  """Manifest rows of clips of `t` latents, with 2 cuts and 2 stills each."""
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
  return rows


def _draw(rows, fit, cfg=WHOLE):
  return masks.draw(np.random.default_rng(1), rows, rows["t"].astype(np.int64),
                    np.full((len(rows), 2), 4), np.full(len(rows), fit), cfg)


def _digest(views, some=slice(None)):
  return hashlib.sha256(b"".join(
      getattr(views, f.name)[some].astype(np.int64).tobytes()
      for f in dataclasses.fields(views))).hexdigest()


@pytest.mark.parametrize("cfg, digest", [
    (WHOLE, "f6a97eb141334e76fa4907ba2d01d2cd1d4c84924d2596689dcb4234faa389ce"),
    (BEGIN, "141ecd6599b6ced9a031aa285ec3f0e0773a7c62cfe8aea7da2ffe5268b35732")],
    ids=["interior", "beginning"])
def test_views_of_clips_that_fit_are_those_that_they_were(cfg, digest):
  """As drawn before longer clips were seen beyond their beginning."""
  t = 1 + np.random.default_rng(2).integers(0, 13, 3000)
  short = _draw(_rows(t), 13, cfg)
  assert _digest(short) == digest
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
  share = np.bincount(views.kind, minlength=len(masks.KINDS)) / len(rows)
  print(fit, seen, share, (views.start > 0).mean())
  if fit < 2:  # a latent for itself, as an image
    assert not views.start.any() and set(views.kind) == {masks.NONE, masks.BOX}
    return
  assert seen.min() > 6 * min(fit, 10)
  assert (views.start > 0).mean() > .25
  if fit > 2:
    assert np.allclose(share, [getattr(WHOLE, k) for k in masks.KINDS],
                       atol=.02)
  # Without a view that has to, as many begin inside as of shorter clips.
  free = np.isin(views.kind, (masks.NONE, masks.HEAD, masks.BOX))
  assert abs((views.start[free] > 0).mean() - .25) < .03
  assert not views.start[views.kind == masks.FIRST].any()


@pytest.mark.parametrize("fit", [2, 3, 4, 9])
def test_views_stay_at_the_beginning_where_none_is_interior(fit):
  rows = _rows(np.random.default_rng(3).integers(fit, 3 * fit, 4000))
  views = _draw(rows, fit, BEGIN)
  _check(rows, views, fit)
  assert not views.start.any()
  longer = rows["t"] > fit
  assert (views.stop == fit - (longer & (views.kind == masks.STILLS))).all()
  assert (fit > 2) == (masks.STILLS in views.kind[longer])


def _check(rows, views, fit):
  """What is known of a view lies in it, and leaves something unknown."""
  length = views.stop - views.start
  assert (length >= min(fit, 2)).all() and (views.start >= 0).all()
  assert (views.stop <= rows["t"]).all()
  assert (length + views.stills.sum(1) <= fit).all()
  ends = np.isin(views.kind, (masks.TAIL, masks.BOTH, masks.LOOP))
  assert np.array_equal(ends, views.cut >= 0)
  assert (views.start + views.head < views.cut)[ends].all()
  assert (views.cut < views.stop)[ends].all()
  assert (rows["cuts"] == views.cut[:, None]).any(1)[ends].all()
  assert (views.head < length).all()
  assert (views.start[views.kind == masks.LOOP] > 0).all()
  given = views.kind == masks.STILLS
  assert np.array_equal(views.stills.any(1), given)
  of = -(-rows["stills"] // 4)  # the latent that covers a frame; 0 is frame 0
  inside = (of >= views.start[:, None]) & (of < views.stop[:, None])
  assert inside[views.stills].all()
  box = views.box[views.kind == masks.BOX]
  assert (box[:, 1] <= length[views.kind == masks.BOX]).all()

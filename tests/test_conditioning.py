"""Examples of clips that fit a row, and of clips that are longer."""

import dataclasses
import hashlib

import numpy as np
import pytest

from sora_jax.data.loading import conditioning
from sora_jax.data.loading import placement
from sora_jax.data.store import latents
from sora_jax.geometry import frames

WHOLE = conditioning.ConditioningConfig()
BEGIN = conditioning.ConditioningConfig(interior=0., loop=0.)  # as of an open model


def _entries(t):
  """Entries of clips of `t` latents: 2 suffixes, 2 keyframes and a region."""
  entries = np.zeros(len(t), latents.LATENTS)
  entries["t"] = t
  places = np.random.default_rng(0).random((len(t), 4))
  for name, last, where in (("suffix_starts", entries["t"] - 1, places[:, :2]),
                            ("keyframes", 4 * entries["t"] - 4, places[:, 2:])):
    found = np.sort((where * last[:, None]).astype(int) + 1, 1)
    found[found[:, 0] == found[:, 1], 1] = -1
    found[last == 0] = -1
    entries[name] = -1
    entries[name][:, :2] = found
  entries["region"] = placement.draw_regions(np.random.default_rng(4), np.stack(
      [entries["t"], np.full(len(t), 4), np.full(len(t), 4)], 1))
  return entries


def _draw(entries, room, cfg=WHOLE):
  n = len(entries)
  return conditioning.draw(
      np.random.default_rng(1), entries, entries["t"].astype(np.int64),
      np.full((n, 2), 4), np.full(n, room), cfg)


def _digest(examples, some=slice(None)):
  return hashlib.sha256(b"".join(
      getattr(examples, f.name)[some].astype(np.int64).tobytes()
      for f in dataclasses.fields(examples))).hexdigest()


@pytest.mark.parametrize("cfg, digest", [
    (WHOLE, "0d00b41c91b68760b8fd2ee111bdfe1357a8c89e1458c0d9c0738a84191492e3"),
    (BEGIN, "214b71fbdd65c1424f5998c8f35371dc7f87d79887bd4b086b24c05fcc70741f")],
    ids=["interior", "beginning"])
def test_examples_of_clips_that_fit_stay_as_they_are(cfg, digest):
  """Another draw would be another plan, for the same data and seed."""
  t = 1 + np.random.default_rng(2).integers(0, 13, 3000)
  assert _digest(_draw(_entries(t), 13, cfg)) == digest
  # Long clips among them change nothing for them.
  mixed = np.where(np.arange(3000) % 3, t, 61)
  other, same = _draw(_entries(mixed), 13, cfg), mixed < 61
  alone = _draw(_entries(np.where(same, t, 1)), 13, cfg)
  assert _digest(other, same) == _digest(alone, same)
  assert (other.stop - other.start)[~same].max() == 13


@pytest.mark.parametrize("room", [1, 2, 3, 9, 60])
def test_a_long_clip_is_seen_everywhere(room):
  """4000 examples of clips of 61 latents, of which a row holds `room`."""
  entries = _entries(np.full(4000, 61))
  examples = _draw(entries, room)
  _check(entries, examples, room)
  seen = np.cumsum(np.bincount(examples.start, minlength=62)
                   - np.bincount(examples.stop, minlength=62))[:61]
  share = np.bincount(examples.conditioning, minlength=8) / len(entries)
  print(room, seen, share, (examples.start > 0).mean())
  if room < 2:  # a latent for itself, as an image
    assert not examples.start.any() and set(examples.conditioning) == {
        conditioning.NONE, conditioning.REGION}
    return
  assert seen.min() > 6 * min(room, 10)
  assert (examples.start > 0).mean() > .25
  if room > 2:
    assert np.allclose(share, WHOLE.shares, atol=.02)
  # Without an example that has to, as many begin inside as of shorter clips.
  free = np.isin(examples.conditioning, (conditioning.NONE, conditioning.HEAD))
  assert abs((examples.start[free] > 0).mean() - .25) < .03
  assert not examples.start[examples.conditioning == conditioning.FIRST].any()


@pytest.mark.parametrize("room", [2, 3, 4, 9])
def test_examples_stay_at_the_beginning_where_none_is_interior(room):
  entries = _entries(np.random.default_rng(3).integers(room, 3 * room, 4000))
  examples = _draw(entries, room, BEGIN)
  _check(entries, examples, room)
  assert not examples.start.any()
  longer = entries["t"] > room
  keyframes = examples.conditioning == conditioning.KEYFRAMES
  assert (examples.stop == room - (longer & keyframes)).all()
  assert (room > 2) == keyframes[longer].any()


def _check(entries, examples, room):
  """What is known of an example lies in it, and leaves something unknown."""
  length = examples.stop - examples.start
  assert (length >= min(room, 2)).all() and (examples.start >= 0).all()
  assert (examples.stop <= entries["t"]).all()
  assert (length + examples.keyframes.sum(1) <= room).all()
  ends = np.isin(examples.conditioning, (conditioning.SUFFIX, conditioning.BOTH,
                              conditioning.LOOP))
  assert np.array_equal(ends, examples.suffix_start >= 0)
  assert (examples.start + examples.head < examples.suffix_start)[ends].all()
  assert (examples.suffix_start < examples.stop)[ends].all()
  starts = entries["suffix_starts"] == examples.suffix_start[:, None]
  assert starts.any(1)[ends].all()
  assert (examples.head < length).all()
  assert (examples.start[examples.conditioning == conditioning.LOOP] > 0).all()
  given = examples.conditioning == conditioning.KEYFRAMES
  assert np.array_equal(examples.keyframes.any(1), given)
  of = frames.latent_of(entries["keyframes"], 4)
  inside = (of >= examples.start[:, None]) & (of < examples.stop[:, None])
  assert inside[examples.keyframes].all()
  some = examples.conditioning == conditioning.REGION
  region = examples.region[some].reshape(-1, 3, 2)
  of, size = entries["region"][some].reshape(-1, 3, 2), length[some]
  assert np.array_equal(region[:, 1:], of[:, 1:])
  at = np.stack([examples.start, examples.stop], 1)[some]
  assert (of[:, 0, 0] < at[:, 1]).all() and (of[:, 0, 1] > at[:, 0]).all()
  assert np.array_equal(region[:, 0, 0], np.maximum(of[:, 0, 0] - at[:, 0], 0))
  assert np.array_equal(region[:, 0, 1], np.minimum(of[:, 0, 1] - at[:, 0], size))
  size = np.stack([size, np.full(len(size), 4), np.full(len(size), 4)], 1)
  assert ((region[..., 1] - region[..., 0]) < size).any(1).all()
  assert not examples.region[~some].any()


@pytest.mark.parametrize("name, said", [
    ("stills", "stills is called keyframes now"), ("box", "called region now"),
    ("tail", "called suffix now"), ("zoom", "there is no zoom; there are none,")])
def test_a_name_that_there_is_not_is_one_line(name, said):
  with pytest.raises(ValueError, match=said):
    conditioning.config(.1, ((name, .2),))

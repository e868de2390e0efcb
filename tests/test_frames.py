"""The map from frames to latents, against the frames of each latent listed."""

import numpy as np
import pytest

from sora_jax.geometry import frames
from sora_jax.geometry import sizes

STRIDE, PATCH = (4, 8, 8), (1, 2, 2)


def _covered(st, latents):
  """The frames of each latent, as the VAE takes them in."""
  return [[0]] + [[st * i + j + 1 for j in range(st)]
                  for i in range(latents - 1)]


@pytest.mark.parametrize("st", [1, 2, 4])
def test_latents_and_the_frames_they_cover(st):
  for latent, covered in enumerate(_covered(st, 9)):
    assert frames.first_frame(latent, st) == covered[0]
    assert frames.last_frame(latent, st) == covered[-1]
    assert [frames.latent_of(f, st) for f in covered] == [latent] * len(covered)
    # A frame of the latent gives the video that many latents, the last of them
    # full at its last frame.
    counts = [frames.latent_count(f + 1, st) for f in covered]
    assert counts == [latent + 1] * len(covered)
    full = [frames.full_latents(f + 1, st) for f in covered]
    assert full == [latent] * (len(covered) - 1) + [latent + 1]
    assert frames.frame_count(latent + 1, st) == covered[-1] + 1
  starts = frames.latent_starts(frames.frame_count(9, st), st)
  assert starts == [c[0] for c in _covered(st, 9)]


def test_arrays_are_mapped_like_numbers():
  n = np.arange(40)
  for function in (frames.latent_of, frames.first_frame, frames.last_frame):
    assert function(n, 4).tolist() == [function(i, 4) for i in range(40)]


def test_times_are_those_of_the_latents_that_end_there():
  """A latent's time is that of its last frame, behind any start."""
  for start in range(6):
    for latent in range(start, 9):
      time = frames.time_in(frames.last_frame(latent, 4), start, 4)
      assert time == latent - start + (start > 0)


@pytest.mark.parametrize("count", range(1, 12))
def test_filled_frames_are_whole_latents(count):
  video = np.arange(count)[:, None]
  front, added = frames.fill_front(video, 4)
  assert frames.full_latents(len(front), 4) == frames.latent_count(len(front), 4)
  assert front[:, 0].tolist() == [0] * added + list(range(count))
  suffix = frames.fill_suffix(video, 4)
  assert len(suffix) == frames.suffix_frames(frames.suffix_latents(count, 4), 4)
  assert suffix[:count].tolist() == video.tolist()
  assert (suffix[count:] == count - 1).all() and len(suffix) - count < 4


def test_a_lead_in_is_two_latents():
  video = np.arange(8 * 4).reshape(8, 2, 2, 1)
  behind = frames.lead_in(video)
  assert frames.latent_count(len(behind), 4) == 2 + frames.LEAD_IN_LATENTS
  assert (behind[:frames.LEAD_IN] == video[0]).all()
  assert np.array_equal(behind[frames.LEAD_IN:], video)


def test_regions_are_widened_to_whole_tokens():
  """Against every token of a video, asked for each by itself."""
  rng, size = np.random.default_rng(0), (14, 40, 56)
  t, h, w = sizes.grid_size(sizes.latent_size(size, STRIDE, PATCH), PATCH)
  for _ in range(200):
    low = rng.integers(0, size)
    count = 1 + (rng.random(3) * (size - low)).astype(int)
    (t0, y, x), (n, dy, dx) = low.tolist(), count.tolist()
    region = (x, y, dx, dy, t0, t0 + n)
    box = frames.tokens_of_region(region, STRIDE, PATCH)
    touched = np.zeros((t, h, w), bool)
    video = np.zeros(size, bool)
    video[t0:t0 + n, y:y + dy, x:x + dx] = True
    for i, row, column in np.ndindex(t, h, w):
      cell = (i, i + 1, row, row + 1, column, column + 1)
      a, b, c, d, e, f = frames.region_of_tokens(cell, STRIDE, PATCH)
      touched[i, row, column] = video[e:f, b:b + d, a:a + c].any()
    inside = np.zeros_like(touched)
    inside[box[0]:box[1], box[2]:box[3], box[4]:box[5]] = True
    assert np.array_equal(inside, touched)
    wide = frames.widen_region(size, region, STRIDE, PATCH)
    assert frames.tokens_of_region(wide, STRIDE, PATCH) == box
    # Whole tokens are as wide as they get, and what lies beyond is cut.
    assert frames.widen_region(size, wide, STRIDE, PATCH) == wide
    a, b, c, d, e, f = frames.region_of_tokens(box, STRIDE, PATCH)
    assert wide == (a, b, min(c, size[2] - a), min(d, size[1] - b), e,
                    min(f, size[0]))

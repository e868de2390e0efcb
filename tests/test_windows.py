"""Where the latents of a window stand, and which windows draw a long video."""

import dataclasses

import numpy as np
import pytest

from sora_jax.data.store import latents as latents_lib
from sora_jax.generation import canvas as canvas_lib
from sora_jax.generation import windows as windows_lib


def test_keyframes_and_windows_stand_where_training_puts_them():
  canvas = dataclasses.replace(
      canvas_lib.blank((9, 1, 1), (1, 2, 2), 4, fps=16., size=(16, 16), frames=33),
      keyframes=((22, np.zeros((1, 2, 2, 4))),))
  time = lambda window: windows_lib.positions(canvas, window, 8.)[:, 0].tolist()
  # data/assemble.py: latent `start` stands at index 1 in an interior view, and
  # a frame at frame / 4 - (start - 1), in units of f_ref / fps.
  assert time(np.arange(9)) == [*np.arange(9) / 2, 22 / 4 / 2]
  assert time(np.arange(4, 8)) == [*np.arange(1, 5) / 2, (22 / 4 - 3) / 2]
  assert time(np.arange(0, 4)) == (np.arange(4) / 2).tolist()
  loop = dataclasses.replace(canvas, loops=True, keyframes=())
  assert windows_lib.positions(loop, np.arange(3), 8.)[:, 0].tolist() == [
      .5, 1, 1.5]
  assert latents_lib.MOST  # the reader that places them


@pytest.mark.parametrize("case", range(60))
def test_windows_draw_everything_once_and_see_what_is_beside_it(case):
  rng = np.random.default_rng(case)
  t, most = int(rng.integers(1, 40)), int(rng.integers(3, 14))
  known, loops = np.zeros(t, bool), bool(case % 3 == 0)
  runs = 1 if loops else 1 + case % 2
  for at in rng.integers(0, t, runs):
    known[at:at + int(rng.integers(1, t + 1))] = True
  if loops:  # what is known of a loop comes first
    known = np.sort(known)[::-1]
    known[-1] = False
  canvas = canvas_lib.Canvas(
      np.zeros((t, 2, 2, 1)), known[:, None, None], 8., (16, 16), 4 * t,
      loops=loops)
  if loops and not known.any():
    assert [w.tolist() for w in windows_lib.split(canvas, most)] == [
        list(range(t))]
    return
  for window in windows_lib.split(canvas, most):
    assert len(window) <= most
    assert ((np.diff(window) - 1) % t == 0).all()
    new = ~known[window]
    assert new.any() and np.diff(np.flatnonzero(new)).max(initial=1) == 1
    low, high = window[new][0], window[new][-1]
    # What borders on the new latents and is known is seen.
    for beside, edge in ((low - 1, window[0]), (high + 1, window[-1])):
      if (loops or 0 <= beside < t) and known[beside % t]:
        assert edge % t != low if beside == low - 1 else edge % t != high
    known[window] = True
  assert known.all()

"""Builds packed rows from cached latents: known tokens, positions, prompts."""

from collections.abc import Callable, Sequence
import functools

import numpy as np

from sora_jax import types
from sora_jax.data.loading import clips as clips_lib
from sora_jax.data.loading import conditioning
from sora_jax.data.loading import token_config
from sora_jax.geometry import frames as frames_lib
from sora_jax.geometry import patches
from sora_jax.geometry import sizes


def batch(load: clips_lib.Loader, cfg: token_config.TokenConfig,
          clips: np.ndarray, examples: conditioning.Examples,
          members: Sequence[np.ndarray], length: int,
          lose: Callable[[int, int, int], None] = lambda *_: None
          ) -> types.Batch:
  """Packed rows.

  Args:
    load: the loader.
    cfg: the config.
    clips: manifest index of each example.
    examples: of an epoch chunk.
    members: the examples of each row.
    length: L.
    lose: called with (row, segment, index) of a clip that cannot be read.
  """
  rows = len(members)
  width = int(np.prod(load.manifest.info["patch"])
              * load.manifest.info["channels"])
  x = np.zeros((rows, length, width), np.float32)
  pos = np.zeros((rows, length, 3), np.float32)
  seg = np.zeros((rows, length), np.int32)
  known = np.zeros((rows, length), np.bool_)
  ids = np.full((rows, cfg.text_length), load.tokenizer.pad, np.int32)
  text = np.zeros((rows, cfg.text_length), np.int32)
  for r, row in enumerate(members):
    at = text_at = 0
    for s, i in enumerate(row, 1):
      clip = load.clip(int(clips[i]))
      if clip is None:  # its place stays padding
        lose(r, s, int(clips[i]))
        continue
      n = _place(load, cfg.f_ref, int(clips[i]), clip, examples, int(i),
                 x[r, at:], pos[r, at:], known[r, at:])
      seg[r, at:at + n] = s
      at += n
      prompt = clip.prompts[int(examples.start[i] > 0)][int(examples.caption[i])]
      ids[r, text_at:text_at + len(prompt)] = prompt
      size = cfg.text_limit if cfg.text_pad else len(prompt)
      text[r, text_at:text_at + size] = s
      text_at += size
  return types.Batch(types.Tokens(x, pos, seg), types.Text(ids, text), known)


def _place(load, f_ref, index, clip, examples, i, x, pos, known) -> int:
  """Writes example i to the front of x, pos and known; returns its tokens."""
  entry, info = load.manifest.entries[index], load.manifest.info
  start, stop, suffix_start = (int(v[i]) for v in (
      examples.start, examples.stop, examples.suffix_start))
  count, per = stop - start, clip.x.shape[1]
  n, head = count * per, int(examples.head[i]) * per
  grid = sizes.grid_size((count, int(entry["h"]), int(entry["w"])),
                         (1, *info["patch"][1:]))
  fps, first = float(entry["fps"]), int(start > 0)
  x[:n] = clip.x[start:stop].reshape(n, -1)
  pos[:n] = _positions(grid, fps, f_ref, first)
  known[:head] = True
  if suffix_start >= 0:
    at = (suffix_start - start) * per
    suffix = clip.suffixes[suffix_start][:stop - suffix_start]
    x[at:n] = suffix.reshape(n - at, -1)
    known[at:n] = True
  if examples.conditioning[i] == conditioning.REGION:
    t0, t1, y0, y1, x0, x1 = examples.region[i]
    around = np.ones(grid, np.bool_)
    around[t0:t1, y0:y1, x0:x1] = False
    known[:n] = around.reshape(-1)
    x[:n][known[:n]] = clip.masked[start:stop].reshape(n, -1)[known[:n]]
  for j in np.flatnonzero(examples.keyframes[i]):
    frame = int(entry["keyframes"][j])
    time = frames_lib.time_in(frame, start, info["stride"][0])
    x[n:n + per] = clip.keyframes[frame]
    pos[n:n + per] = _positions((1, *grid[1:]), fps, f_ref, 0)
    pos[n:n + per, 0] = time * (f_ref / fps)
    known[n:n + per] = True
    n += per
  return n


@functools.lru_cache(maxsize=4096)
def _positions(grid, fps: float, f_ref: float, first: int) -> np.ndarray:
  return patches.positions(grid, patches.time_positions(
      grid[0], fps, f_ref, first))

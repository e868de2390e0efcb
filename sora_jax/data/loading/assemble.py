"""Builds packed rows from cached latents: reading, known tokens, positions."""

import collections
import dataclasses
import functools
import logging
import threading

import numpy as np

from sora_jax import types
from sora_jax.data.loading import conditioning
from sora_jax.data.loading import lru_cache
from sora_jax.data.store import latents
from sora_jax.data.store import manifest as manifest_lib
from sora_jax.geometry import patches
from sora_jax.geometry import sizes
from sora_jax.text import prompts
from sora_jax.text import tokenizer as tokenizer_lib


@dataclasses.dataclass(frozen=True, eq=False)
class Loader:
  """Reads clips as patches and ids, and keeps the latest in memory.

  Attributes:
    manifest: of the latents.
    tokenizer: of the data set.
    text_limit: ids of a prompt.
    text_pad: whether prompts are cleaned and padded to that.
    clips: index -> Clip or None.
    events: counts of what went wrong.
    lock: held to count: threads read side by side.
  """

  manifest: manifest_lib.Manifest
  tokenizer: tokenizer_lib.Tokenizer
  text_limit: int
  text_pad: bool
  clips: lru_cache.LRUCache
  events: collections.Counter
  lock: object = dataclasses.field(default_factory=threading.Lock, repr=False)


@dataclasses.dataclass(frozen=True, eq=False)
class Clip:
  """A clip as patches, float16.

  Attributes:
    x: [t, n, P], n tokens of a latent.
    tails: cut -> [t - cut, n, P].
    stills: frame -> [n, P].
    blind: [t, n, P] with a box blanked, or None.
    prompts: ids of each caption, and of the null text last; then the same with
      <continues>.
  """

  x: np.ndarray
  tails: dict[int, np.ndarray]
  stills: dict[int, np.ndarray]
  blind: np.ndarray | None
  prompts: tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]


def loader(manifest: manifest_lib.Manifest, cfg, events: collections.Counter,
           tokenizer=None) -> Loader:
  """A loader for a plan.TokenConfig, which counts what goes wrong in `events`.

  `tokenizer` is that of the data set by default.

  Raises:
    ValueError: latents that are predicted only, or another tokenizer.
  """
  if manifest.info.get("predicted"):
    raise ValueError(f"{manifest.root} has been planned but not encoded: run "
                     "sora-jax encode")
  return Loader(manifest, tokenizer or tokenizer_lib.of(manifest), cfg.text_limit,
                cfg.text_pad, lru_cache.LRUCache(cfg.cache_bytes), events)


def batch(load: Loader, cfg, clips: np.ndarray, views: conditioning.Examples, members,
          length: int) -> types.Batch:
  """Packed rows.

  Args:
    load: the loader.
    cfg: a plan.TokenConfig.
    clips: manifest index of each view.
    views: of a block.
    members: the views of each row.
    length: L.
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
    at = word = 0
    for s, i in enumerate(row, 1):
      index = int(clips[i])
      clip = load.clips.get(index, functools.partial(_read, load, index),
                            _bytes)
      if clip is None:  # counted; its place stays padding
        continue
      n = _place(load, cfg.f_ref, index, clip, views, int(i), x[r, at:],
                 pos[r, at:], known[r, at:])
      seg[r, at:at + n] = s
      at += n
      prompt = clip.prompts[int(views.start[i] > 0)][int(views.caption[i])]
      ids[r, word:word + len(prompt)] = prompt
      size = cfg.text_limit if cfg.text_pad else len(prompt)
      text[r, word:word + size] = s
      word += size
  return types.Batch(types.Tokens(x, pos, seg), types.Text(ids, text), known)


def _place(load, f_ref, index, clip, views, i, x, pos, known) -> int:
  """Writes view i to the front of x, pos and known; returns its tokens."""
  row = load.manifest.entries[index]
  info = load.manifest.info
  start, stop, cut = (int(v[i]) for v in (views.start, views.stop, views.cut))
  count, per = stop - start, clip.x.shape[1]
  n, head = count * per, int(views.head[i]) * per
  grid = sizes.grid_size((count, int(row["h"]), int(row["w"])),
                              (1, *info["patch"][1:]))
  fps, first = float(row["fps"]), int(start > 0)
  x[:n] = clip.x[start:stop].reshape(n, -1)
  pos[:n] = _positions(grid, fps, f_ref, first)
  known[:head] = True
  if cut >= 0:
    tail = (cut - start) * per
    x[tail:n] = clip.tails[cut][:stop - cut].reshape(n - tail, -1)
    known[tail:n] = True
  if views.kind[i] == conditioning.REGION:
    t0, t1, y0, y1, x0, x1 = views.box[i]
    around = np.ones(grid, np.bool_)
    around[t0:t1, y0:y1, x0:x1] = False
    known[:n] = around.reshape(-1)
    x[:n][known[:n]] = clip.blind[start:stop].reshape(n, -1)[known[:n]]
  for j in np.flatnonzero(views.stills[i]):
    frame = int(row["stills"][j])
    # Latent `start` stands at index 1 in an interior view, 0 otherwise.
    time = frame / info["stride"][0] - max(start - 1, 0)
    x[n:n + per] = clip.stills[frame]
    pos[n:n + per] = _positions((1, *grid[1:]), fps, f_ref, 0)
    pos[n:n + per, 0] = time * (f_ref / fps)
    known[n:n + per] = True
    n += per
  return n


@functools.lru_cache(maxsize=4096)
def _positions(grid, fps: float, f_ref: float, first: int) -> np.ndarray:
  return patches.positions(grid, patches.time_positions(
      grid[0], fps, f_ref, first))


def _read(load: Loader, index: int) -> Clip | None:
  """A clip of the manifest, or None, counted, where it cannot be read."""
  row = load.manifest.entries[index]
  try:
    record = latents.decode(load.manifest.record(index))
    if record.z.shape[:3] != (row["t"], row["h"], row["w"]):
      raise ValueError(f"has latents {record.z.shape}, its manifest row says "
                       f"{(row['t'], row['h'], row['w'])}")
    if (record.box or (-1,) * 6) != tuple(row["box"].tolist()):
      raise ValueError(f"has the box {record.box}, its manifest row says "
                       f"{tuple(row['box'].tolist())}")
    tails = {c: _patches(load, record.tails[c]) for c in row["cuts"].tolist()
             if c >= 0}
    stills = {f: _patches(load, record.stills[f])[0]
              for f in row["stills"].tolist() if f >= 0}
    blind = _patches(load, record.blind) if record.box else None
  except (ValueError, KeyError, RuntimeError, OSError) as e:
    with load.lock:
      load.events["unreadable"] += 1
      first = load.events["unreadable"] == 1
    if first:
      logging.warning("clip %d of %s cannot be read and is left empty: %s",
                      index, load.manifest.root, e)
    return None
  captions = (record.captions + record.captions[:1] * latents.CAPTIONS)[
      :latents.CAPTIONS]
  ids = tuple(tuple(np.array(prompts.encode(
      load.tokenizer, c, load.text_limit, load.text_pad, continues), np.int32)
                    for c in (*captions, "")) for continues in (False, True))
  return Clip(_patches(load, record.z), tails, stills, blind, ids)


def _patches(load: Loader, z: np.ndarray) -> np.ndarray:
  """[t, h, w, C] to [t, tokens of a latent, P]."""
  patch = (1, *load.manifest.info["patch"][1:])
  x = patches.patchify(z[None], patch).x[0]
  return np.ascontiguousarray(x.reshape(len(z), -1, x.shape[-1]))


def _bytes(clip: Clip | None) -> int:
  """The memory of a clip."""
  if clip is None:
    return 64
  arrays = [clip.x, *clip.tails.values(), *clip.stills.values()]
  arrays += [] if clip.blind is None else [clip.blind]
  return sum(a.nbytes for a in arrays) + 2048

"""What of a clip is given in training: the views that become prompting.

For every clip of a block a seeded draw chooses a view of its latents:

  none     nothing is known
  first    the first frame (animating an image)
  head     the first latents (extending forward)
  tail     the last latents, encoded without their past (extending backward)
  both     head and tail (connecting two videos)
  loop     both, of an interior crop (connecting a clip to itself)
  stills   single frames at any time, as extra tokens at their position
  box      all around a box of tokens, encoded with the box blanked (editing
           regions)

A share `interior` of the videos begins at an interior latent: positions start
at latent 1 and the prompt gets the <continues> piece. Images are none or box.
A kind that a clip has no stored latents for gives its share to the kinds it
has. The draws come before packing, because a view decides the token count.

Of a clip that is longer than a row, a view is as much as fits. A view that
begins at an interior latent begins anywhere in the clip, and where the tail,
the still or the box that it is drawn for lies deep in the clip it has to: of
such clips more views than the share `interior` do. With `interior` 0 the views
are of the beginning only.
"""

import dataclasses

import numpy as np

KINDS = ("none", "first", "head", "tail", "both", "loop", "stills", "box")
NONE, FIRST, HEAD, SUFFIX, BOTH, LOOP, KEYFRAMES, REGION = range(len(KINDS))


@dataclasses.dataclass(frozen=True)
class ConditioningConfig:
  """Shares of the kinds of view, and of what is drawn besides.

  Attributes:
    none, first, head, tail, both, loop, stills, box: shares, in any unit.
    interior: the share of videos that begin at an interior latent.
    descriptive: the share of prompts that are the descriptive caption.
    dropout: the share of prompts that are the null text.
  """

  none: float = 0.5
  first: float = 0.12
  head: float = 0.08
  tail: float = 0.08
  both: float = 0.06
  loop: float = 0.04
  stills: float = 0.06
  box: float = 0.06
  interior: float = 0.25
  descriptive: float = 0.5
  dropout: float = 0.1


@dataclasses.dataclass(frozen=True, eq=False)
class Examples:
  """One view per clip; arrays of equal length.

  Attributes:
    kind: index in KINDS.
    start, stop: the latents of the view.
    head: the number of first latents that are known.
    cut: the latent that the known tail begins at, or -1.
    stills: [N, MOST] bool, the stored stills that are given.
    box: [N, 6] t0, t1, y0, y1, x0, x1 in tokens of the view; all around it is
      known. Zeros for the other kinds.
    caption: which caption, -1 for the null text.
  """

  kind: np.ndarray
  start: np.ndarray
  stop: np.ndarray
  head: np.ndarray
  cut: np.ndarray
  stills: np.ndarray
  box: np.ndarray
  caption: np.ndarray


def draw(rng: np.random.Generator, rows: np.ndarray, length: np.ndarray,
         grid: np.ndarray, fit: np.ndarray, cfg: ConditioningConfig,
         stride: int = 4) -> Examples:
  """Draws a view for every row of a manifest of latents.

  Args:
    rng: of the block.
    rows: [N] of latents.LATENTS.
    length: [N] the latents of each clip that are used, at least 1. A view has
      at most `fit` of them.
    grid: [N, 2] tokens of a latent in height and width.
    fit: [N] the latents (views and stills together) that fit into a row.
    cfg: shares.
    stride: frames of a latent.
  """
  n = len(rows)
  u = rng.random((n, 10))
  over, end = length > fit, length
  if not cfg.interior:  # of a clip over a row only the beginning is seen
    length = np.minimum(length, fit)
    end = length - over  # a still takes the place of a latent
  cuts = np.where(rows["cuts"] < length[:, None], rows["cuts"], -1)
  frames = np.where((rows["stills"] >= 0) & (
      rows["stills"] <= (stride * (end - 1))[:, None]), rows["stills"], -1)
  blind = rows["box"].astype(np.int64)
  last, must = _ends(blind, grid)
  kind = _kinds(u[:, 0], length, over, cuts, frames, must, fit, cfg)
  size = np.minimum(length, fit) - (over & (kind == KEYFRAMES))
  cut = _pick(u[:, 1], cuts, np.select(
      [kind == SUFFIX, kind == BOTH, kind == LOOP], [1, 2, 3], length))
  # The latent that a view of a part of a clip has to show.
  still = _pick(u[:, 1], frames, np.where(over & (kind == KEYFRAMES), 0,
                                          stride * length))
  shown = np.where(still >= 0, -(-still // stride), cut)
  shown = np.where(kind == REGION, must, shown)
  start = _starts(u[:, 2], u[:, 3], kind, length, size, cut, last, shown, cfg)
  stop = np.minimum(start + size, length)
  # The first latent that is surely unknown ends the room for a head.
  room = np.where(cut >= 0, cut, stop) - start
  head = np.where(np.isin(kind, (HEAD, BOTH, LOOP)),
                  1 + _below(u[:, 4], room - 1), 0)
  head[kind == FIRST] = 1
  stills = _stills(u[:, 5:10], kind, frames, start, stop, fit, stride)
  # Stills before an interior start are not in the view: begin at 0 instead.
  empty = (kind == KEYFRAMES) & ~stills.any(1)
  start[empty] = 0
  stills[empty] = _stills(u[empty, 5:10], kind[empty], frames[empty],
                          start[empty], stop[empty], fit[empty], stride)
  blind[:, :2] = np.clip(blind[:, :2], start[:, None], stop[:, None]) - (
      start[:, None])
  blind[kind != REGION] = 0
  drop = rng.random(n) < cfg.dropout
  long = rng.random(n) < cfg.descriptive
  return Examples(kind.astype(np.int8), start, stop, head, cut, stills,
               blind.astype(np.int32), np.where(drop, -1, long).astype(np.int8))


def _kinds(u, length, over, cuts, frames, must, fit, cfg):
  """Draws a kind among those that each clip can show."""
  size = np.minimum(length, fit)
  video = size > 1
  last = cuts.max(1)
  spare = np.where(over, size > 2, fit > length)  # room for a still
  can = np.stack([
      np.ones_like(video), video, video, video & (last >= 1),
      (size > 2) & (last >= 2), (size > 2) & (last >= 3),
      video & (frames >= 0).any(1) & spare,
      (must >= 0) & (must < np.where(video, length, 1))], 1)
  shares = np.array([getattr(cfg, k) for k in KINDS], float)
  shares = shares / shares.sum()
  p = can * shares
  asked = p[:, 1:].sum(1)
  # A video keeps its share of `none`; an image gives what it lacks to `none`.
  more = np.where(video, (1 - shares[0]) / np.maximum(asked, 1e-9), 1.0)
  p[:, 1:] *= np.where(asked > 0, more, 0)[:, None]
  p[:, 0] = 1 - p[:, 1:].sum(1)
  return (u[:, None] >= np.cumsum(p, 1)[:, :-1]).sum(1)


def _pick(u, values, least):
  """One of the values >= least of each row, -1 where there is none."""
  ok = values >= least[:, None]
  at = _below(u, ok.sum(1))
  ranked = np.where(ok, np.cumsum(ok, 1) - 1, -1)
  found = (ranked == at[:, None]) & ok
  return np.where(ok.any(1), (values * found).sum(1), -1)


def _below(u, n):
  """Integers 0 .. n - 1, 0 where n <= 0."""
  return (u * np.maximum(n, 1)).astype(np.int64)


def _ends(box, grid):
  """Latents (last, must): a view begins by `last` and shows latent `must`.

  Then it has something of the box in it, and something outside of it. `must` is
  -1 where a clip has no box.
  """
  whole = (box[:, 2::2] == 0).all(1) & (box[:, 3::2] == grid).all(1)
  t0, t1 = box[:, 0], box[:, 1]
  behind = whole & (t0 == 0)  # what is outside begins at t1
  return np.where(whole & ~behind, t0, t1) - 1, np.where(behind, t1, t0)


def _starts(u, v, kind, length, size, cut, last, shown, cfg):
  """The first latent of each view: 0, or an interior one.

  A view of `size` latents that shows latent `shown` (-1: any) may have to begin
  at an interior one.
  """
  # So many latents may stand before the view: two stay, and what is known at
  # both ends leaves one that is unknown.
  most = np.where(np.isin(kind, (BOTH, LOOP)), cut - 2,
                  np.where(kind == SUFFIX, cut - 1, length - 2))
  most = np.where((kind == KEYFRAMES) & (shown >= 0), shown, most)
  most = np.where(kind == REGION, last, most)
  most = np.minimum(most, length - 2)
  most[(kind == FIRST) | (size < 2)] = 0
  least = np.maximum(shown - size + 1, 1)
  shares = np.array([getattr(cfg, k) for k in KINDS], float)
  shares = shares / shares.sum()
  free = 1 - shares[FIRST] - shares[LOOP]
  share = np.clip((cfg.interior - shares[LOOP]) / max(free, 1e-9), 0, 1)
  interior = (most >= 1) & ((u < share) | (kind == LOOP) | (shown >= size))
  return np.where(interior, least + _below(v, most - least + 1), 0)


def _stills(u, kind, frames, start, stop, fit, stride):
  """Which stored stills are given: one, or as often two."""
  first = np.where(start > 0, stride * (start - 1) + 1, 0)
  ok = (frames >= first[:, None]) & (kind == KEYFRAMES)[:, None] & (
      frames >= 0) & (frames <= (stride * (stop - 1))[:, None])
  count = np.minimum(1 + (u[:, 4] < 0.5), fit - (stop - start))
  order = np.argsort(np.where(ok, u[:, :frames.shape[1]], 2), 1)
  rank = np.argsort(order, 1)
  return ok & (rank < count[:, None])


def draw_regions(rng: np.random.Generator, size: np.ndarray) -> np.ndarray:
  """Boxes for `encode` to blank, half of them over all of the time.

  Args:
    rng: of the draw.
    size: [N, 3] tokens of each clip along (t, y, x).

  Returns:
    [N, 6] int32 t0, t1, y0, y1, x0, x1 in tokens, each leaving something
    outside; -1 where a clip is one token.
  """
  u, v = rng.random((2, len(size), 3))
  span = 1 + _below(u, size)
  whole = rng.random(len(size)) < 0.5
  span[whole, 0] = size[whole, 0]
  full = (span == size).all(1)
  widest = 2 - np.argmax(size[:, ::-1], 1)  # of x, y, t: the axis to shorten
  at = np.arange(len(size)), widest
  span[at] -= full & (size[at] > 1)
  low = _below(v, size - span + 1)
  box = np.stack([low, low + span], 2).reshape(len(size), 6)
  box[size.prod(1) == 1] = -1
  return box.astype(np.int32)

"""What a plan of packed batches does to a data set, in numbers and in words."""

import itertools

import numpy as np

from sora_jax.data.loading import conditioning
from sora_jax.data.loading import epoch_chunks
from sora_jax.data.loading import plan as plan_lib
from sora_jax.data.store import manifest as manifest_lib

BLOCK = 1024  # tokens of an attention block


def report(plan: plan_lib.TokenPlan, shards: int | None = None) -> dict:
  """Numbers of a plan; those of shapes, views and fill are of its first block.

  Args:
    plan: the plan.
    shards: over which the rows of a batch are divided; the config's by default.

  Returns:
    clips, lengths (histogram of whole clips: from, to, clips, tokens), shapes
    (rows, length, batches, fill, segments_per_row, visited and ideal blocks of
    attention), fill, visited_over_ideal, shard_balance (blocks of attention of
    the busiest shard over the mean), text_fill, views, interior, images (shares
    of clips and of tokens), tokens_per_step, steps_per_block,
    steps_per_epoch, left_over (the share of batches that blocks have beyond
    steps_per_block, left to another epoch, in the first BLOCKS blocks), cut
    (clips longer than a row, of which a view is a part), cut_latents and
    cut_tokens (what the longest views leave out of them), dropped (one latent
    is over a row), prompts_cut, events.
  """
  block, cfg = plan_lib.block_at(plan, 0), plan.cfg
  rows, count = plan.manifest.entries, len(plan.manifest)
  per = epoch_chunks.latent_tokens(plan.manifest)
  t, fits = rows["t"], cfg.shapes[-1][1] // per
  whole = lengths(plan.manifest)
  cut = np.where(fits > 0, np.maximum(t - fits, 0), 0)
  kinds = np.bincount(block.views.kind, minlength=len(conditioning.KINDS))
  names = np.concatenate([r for _, r in block.batches])
  costs = _costs(plan, block)
  shapes = [_shape(plan, block, costs, s) for s in range(len(cfg.shapes))]
  total = lambda key: sum(s[key] for s in shapes)
  tokens, image = block.tokens.sum(), t[block.clips] == 1
  return {
      "clips": count, "lengths": histogram(whole),
      "tokens": int(whole.sum()), "shapes": shapes,
      "fill": float(tokens / len(block.batches) / np.prod(cfg.shapes[0])),
      "visited_over_ideal": float(total("visited") / max(total("ideal"), 1e-9)),
      "shard_balance": _balance(costs, shards or cfg.shards),
      "text_fill": float(block.text_tokens.sum() / (len(names) * cfg.text_length)),
      "views": {k: float(n / len(block.clips))
                for k, n in zip(conditioning.KINDS, kinds)},
      "interior": float((block.views.start > 0).mean()),
      "images": {"clips": float(image.mean()),
                 "tokens": float(block.tokens[image].sum() / tokens)},
      "tokens_per_step": int(np.prod(cfg.shapes[0])),
      "steps_per_block": plan.steps, "clips_per_block": len(block.clips),
      "steps_per_epoch": plan.steps * epoch_chunks.of_an_epoch(plan.pools, cfg.block),
      "left_over": _left_over(plan),
      "cut": int((cut > 0).sum()), "cut_latents": int(cut.sum()),
      "cut_tokens": int((cut * per).sum()), "dropped": int((fits == 0).sum()),
      "prompts_cut": int((rows["text"].max(1) > cfg.text_limit).sum()),
      "events": dict(plan.events)}


def lengths(manifest: manifest_lib.Manifest) -> np.ndarray:
  """Tokens [N] int64 of the whole clips of a manifest of latents."""
  return epoch_chunks.latent_tokens(manifest).astype(np.int64) * manifest.entries["t"]


def histogram(tokens: np.ndarray) -> list[dict]:
  """Clips and their tokens by powers of two of their length."""
  power = np.frexp(np.maximum(tokens, 1))[1]  # tokens < 2 ** power
  clips, sums = np.bincount(power), np.bincount(power, tokens)
  return [{"from": 2 ** (p - 1), "to": 2 ** p, "clips": int(clips[p]),
           "tokens": int(sums[p])}
          for p in range(power.min(), power.max() + 1)]


def visited(lengths, row: int, size: int = BLOCK) -> int:
  """Blocks of attention that one row computes, padding included.

  A block of queries meets the blocks of keys that any of its segments reaches;
  padding is one more segment.

  Args:
    lengths: tokens of the segments, in their order.
    row: tokens of the row.
    size: tokens of a block.
  """
  ends = np.cumsum([*lengths, row - sum(lengths)])
  starts = np.concatenate([[0], ends[:-1]])
  first = np.arange(0, row, size)  # tokens of each block
  last = np.minimum(first + size, row) - 1
  low = starts[np.searchsorted(ends, first, "right")] // size
  high = (ends[np.searchsorted(ends, last, "right")] - 1) // size
  return int((high - low + 1).sum())


def _costs(plan, block) -> list[np.ndarray]:
  """Visited blocks of BLOCK x BLOCK tokens, of every row of every batch."""
  found = []
  for shape, names in block.batches:
    length = plan.cfg.shapes[shape][1]
    size = min(BLOCK, length)
    found.append(np.array([visited(block.tokens[_members(block, r)], length,
                                   size) for r in names]) * (size / BLOCK)**2)
  return found


def _shape(plan, block, costs, shape: int) -> dict:
  """Numbers of one shape of a block."""
  size, length = plan.cfg.shapes[shape]
  names = [r for s, r in block.batches if s == shape]
  members = [_members(block, r) for r in itertools.chain(*names)]
  inside = np.concatenate([*members, block.order[:0]])
  tokens = block.tokens[inside].astype(float)
  return {
      "rows": size, "length": length, "batches": len(names),
      "fill": float(tokens.sum() / max(len(names) * size * length, 1)),
      "segments_per_row": len(inside) / max(sum(map(bool, map(len, members))),
                                            1),
      "visited": float(sum(c.sum() for c, (s, _) in zip(costs, block.batches)
                           if s == shape)),
      "ideal": float((tokens**2).sum() / BLOCK**2)}


def _left_over(plan) -> float:
  """The share of the batches of some blocks that the stream leaves out."""
  counts = np.array([len(plan_lib.block_at(plan, i).batches)
                     for i in range(plan_lib.BLOCKS)])
  return float(np.maximum(counts - plan.steps, 0).sum() / counts.sum())


def _members(block, row: int) -> np.ndarray:
  """The views of a row; row -1 is empty."""
  return block.order[block.bounds[row]:block.bounds[row + 1]] if row >= 0 else (
      block.order[:0])


def _balance(costs, shards) -> float:
  """Visited blocks of the busiest shard of every step over the mean shard."""
  parts = np.array([c.reshape(shards, -1).sum(1) for c in costs])
  return float(parts.max(1).sum() / parts.mean(1).sum())

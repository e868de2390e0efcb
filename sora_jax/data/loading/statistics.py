"""What a plan of packed batches does to a data set, in numbers."""

from collections.abc import Sequence
import itertools

import numpy as np

from sora_jax.data.loading import conditioning
from sora_jax.data.loading import epoch_chunks
from sora_jax.data.loading import plan as plan_lib
from sora_jax.data.store import manifest as manifest_lib

BLOCK = 1024  # tokens of an attention block


def report(plan: plan_lib.TokenPlan, shards: int | None = None) -> dict:
  """Numbers of a plan; those of shapes, examples and fill are of its first chunk.

  Args:
    plan: the plan.
    shards: over which the rows of a batch are divided; the config's by default.

  Returns:
    clips, lengths (histogram of whole clips: from, to, clips, tokens), shapes
    (rows, length, batches, fill, segments_per_row, visited and ideal blocks of
    attention), fill, visited_over_ideal, shard_balance (blocks of attention of
    the busiest shard over the mean), text_fill, conditionings (shares of the
    examples), interior, images (shares of clips and of tokens),
    tokens_per_step, steps_per_chunk, clips_per_chunk, steps_per_epoch,
    left_over (the share of batches that chunks have beyond steps_per_chunk,
    left to another epoch, in the first CHUNKS chunks), cut (clips longer than a
    row, of which an example is a part), cut_latents and cut_tokens (what the
    longest examples leave out of them), dropped (one latent is over a row),
    prompts_cut, repeats (how often a clip comes in a batch that all do not
    fill; else 1).
  """
  chunk, cfg = plan.chunk(0), plan.cfg
  entries, count = plan.manifest.entries, len(plan.manifest)
  per = epoch_chunks.latent_tokens(plan.manifest)
  t, room = entries["t"], cfg.shapes[-1][1] // per
  whole = lengths(plan.manifest)
  cut = np.where(room > 0, np.maximum(t - room, 0), 0)
  drawn = np.bincount(chunk.examples.conditioning,
                      minlength=len(conditioning.CONDITIONINGS))
  rows = np.concatenate([r for _, r in chunk.batches])
  costs = _costs(plan, chunk)
  shapes = [_shape(plan, chunk, costs, s) for s in range(len(cfg.shapes))]
  total = lambda key: sum(s[key] for s in shapes)
  tokens, image = chunk.tokens.sum(), t[chunk.clips] == 1
  return {
      "clips": count, "lengths": histogram(whole),
      "tokens": int(whole.sum()), "shapes": shapes,
      "fill": float(tokens / len(chunk.batches) / np.prod(cfg.shapes[0])),
      "visited_over_ideal": float(total("visited") / max(total("ideal"), 1e-9)),
      "shard_balance": _balance(costs, shards or cfg.shards),
      "text_fill": float(chunk.text_tokens.sum()
                         / (len(rows) * cfg.text_length)),
      "conditionings": {k: float(n / len(chunk.clips)) for k, n in zip(
          conditioning.CONDITIONINGS, drawn)},
      "interior": float((chunk.examples.start > 0).mean()),
      "images": {"clips": float(image.mean()),
                 "tokens": float(chunk.tokens[image].sum() / tokens)},
      "tokens_per_step": int(np.prod(cfg.shapes[0])),
      "steps_per_chunk": plan.steps, "clips_per_chunk": len(chunk.clips),
      "steps_per_epoch": plan.steps * epoch_chunks.chunks_per_epoch(
          plan.pools, cfg.chunk),
      "left_over": _left_over(plan),
      "cut": int((cut > 0).sum()), "cut_latents": int(cut.sum()),
      "cut_tokens": int((cut * per).sum()), "dropped": int((room == 0).sum()),
      "prompts_cut": int((plan.mix.tokens(np.arange(count)).max(1)
                          > cfg.text_limit).sum()),
      "repeats": plan.repeats}


def lengths(manifest: manifest_lib.Manifest) -> np.ndarray:
  """Tokens [N] int64 of the whole clips of a manifest of latents."""
  per = epoch_chunks.latent_tokens(manifest).astype(np.int64)
  return per * manifest.entries["t"]


def histogram(tokens: np.ndarray) -> list[dict]:
  """Clips and their tokens by powers of two of their length."""
  power = np.frexp(np.maximum(tokens, 1))[1]  # tokens < 2 ** power
  clips, sums = np.bincount(power), np.bincount(power, tokens)
  return [{"from": 2 ** (p - 1), "to": 2 ** p, "clips": int(clips[p]),
           "tokens": int(sums[p])}
          for p in range(power.min(), power.max() + 1)]


def visited(lengths: Sequence[int] | np.ndarray, row: int,
            size: int = BLOCK) -> int:
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


def _costs(plan, chunk) -> list[np.ndarray]:
  """Visited blocks of BLOCK x BLOCK tokens, of every row of every batch."""
  found = []
  for shape, rows in chunk.batches:
    length = plan.cfg.shapes[shape][1]
    size = min(BLOCK, length)
    found.append(np.array([visited(chunk.tokens[chunk.members(r)], length, size)
                           for r in rows]) * (size / BLOCK)**2)
  return found


def _shape(plan, chunk, costs, shape: int) -> dict:
  """Numbers of one shape of a chunk."""
  size, length = plan.cfg.shapes[shape]
  rows = [r for s, r in chunk.batches if s == shape]
  members = [chunk.members(r) for r in itertools.chain(*rows)]
  inside = np.concatenate([*members, chunk.order[:0]])
  tokens = chunk.tokens[inside].astype(float)
  return {
      "rows": size, "length": length, "batches": len(rows),
      "fill": float(tokens.sum() / max(len(rows) * size * length, 1)),
      "segments_per_row": len(inside) / max(sum(map(bool, map(len, members))),
                                            1),
      "visited": float(sum(c.sum() for c, (s, _) in zip(costs, chunk.batches)
                           if s == shape)),
      "ideal": float((tokens**2).sum() / BLOCK**2)}


def _left_over(plan) -> float:
  """The share of the batches of some chunks that the stream leaves out."""
  counts = np.array([len(plan.chunk(i).batches)
                     for i in range(plan_lib.CHUNKS)])
  return float(np.maximum(counts - plan.steps, 0).sum() / counts.sum())


def _balance(costs, shards) -> float:
  """Visited blocks of the busiest shard of every step over the mean shard."""
  parts = np.array([c.reshape(shards, -1).sum(1) for c in costs])
  return float(parts.max(1).sum() / parts.mean(1).sum())

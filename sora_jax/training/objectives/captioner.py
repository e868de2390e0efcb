"""The objective of the captioner.

  captions: the mean over ids of -log p(id | clip, ids before), or, for the share
    `parallel` of captions, -log p(id | clip) with nothing of the caption seen
    (CapPa, arXiv:2306.07915): what helps there can only be read from the clip.
  contrastive: the embedding of a clip against those of all captions of the
    batch, and of a caption against all clips (CLIP, arXiv:2103.00020; CoCa,
    arXiv:2205.01917). Another clip with the same caption is no answer, right or
    wrong, and is left out.
"""

from collections.abc import Callable
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from sora_jax import ranges
from sora_jax import types
from sora_jax.training.objectives import shared

NEVER = -1e30  # the score of what is no answer


@dataclasses.dataclass(frozen=True)
class CaptionLoss:
  """Weights and shares.

  Attributes:
    parallel: the share of captions that are read in parallel.
    contrastive: the weight of the contrastive loss; that of captions is 1.
  """

  parallel: float = 0.75
  contrastive: float = 0.25

  def __post_init__(self):
    ranges.check("objective", self, parallel=ranges.share(),
                 contrastive=ranges.number(0))


def caption_objective(read: Callable, cfg: CaptionLoss,
                      clips: int) -> shared.Objective:
  """The objective of params {"captioner": ..} and types.Captioned.

  Args:
    read: captioner.read of the module.
    cfg: the loss.
    clips: the most clips of a row.
  """

  def objective(params, batch: types.Captioned, key, step):
    del step
    run = lambda params: loss(read, cfg, clips, params, batch, key)
    (_, metrics), grads = jax.value_and_grad(run, has_aux=True)(params)
    return grads, metrics

  return objective


def loss(read: Callable, cfg: CaptionLoss, clips: int, params: dict[str, Any],
         batch: types.Captioned, key: jax.Array
         ) -> tuple[jax.Array, dict[str, jax.Array]]:
  """(loss, metrics) of a batch; both float32."""
  seg, ids = jnp.asarray(batch.text.seg), jnp.asarray(batch.text.ids)
  drawn = jax.random.bernoulli(key, cfg.parallel, (seg.shape[0], clips + 1))
  parallel = jnp.take_along_axis(drawn, seg, 1)
  logits, seen, said, scale = read(
      params["captioner"], batch.tokens, batch.text, jnp.asarray(batch.kind),
      parallel, clips)
  there = seg > 0
  values = jax.nn.logsumexp(logits, -1) - jnp.take_along_axis(
      logits, ids[..., None], -1)[..., 0]
  right = jnp.argmax(logits, -1) == ids
  captions = shared.masked_mean(values, there)
  pairs, found = contrastive(seen, said, scale, ids, seg)
  some = lambda values, mask: jnp.where(
      jnp.any(mask), shared.masked_mean(values, mask), jnp.nan)
  total = captions + cfg.contrastive * pairs
  return total, {
      "loss": total, "captions": captions, "contrastive": pairs,
      "one_by_one": some(values, there & ~parallel),
      "in_parallel": some(values, there & parallel),
      "right": some(right, there & ~parallel), "found": found,
      "weight": jnp.sum(there), "tokens": jnp.sum(jnp.asarray(batch.tokens.seg) > 0),
      "clips": jnp.sum(jnp.any(
          seg[:, :, None] == jnp.arange(1, clips + 1), axis=1))}


def contrastive(seen: jax.Array, said: jax.Array, scale: jax.Array,
                ids: jax.Array, seg: jax.Array) -> tuple[jax.Array, jax.Array]:
  """(loss, the share of clips whose own caption is nearest).

  Args:
    seen, said: [B, M, E] embeddings of clips and captions.
    scale: of their products.
    ids, seg: [B, S] of the captions, segments 1 .. M.
  """
  count = seen.shape[1]
  of = seg[:, None] == jnp.arange(1, count + 1)[:, None]  # [B, M, S]
  there = jnp.any(of, -1).reshape(-1)
  # A number for each text, so that equal ones are found: of ids and places.
  place = jnp.arange(seg.shape[1]) - jnp.argmax(of, -1)[..., None]
  code = jnp.where(of, _mixed(ids[:, None].astype(jnp.uint32) * 8191
                              + place.astype(jnp.uint32)), 0)
  code = jnp.sum(code, -1, dtype=jnp.uint32).reshape(-1)
  own = jnp.eye(len(code), dtype=bool)
  answer = (own | (code[:, None] != code[None])) & there[None]
  s = scale * seen.reshape(len(code), -1) @ said.reshape(len(code), -1).T
  lines = lambda s: jax.nn.logsumexp(jnp.where(answer, s, NEVER), -1)
  diagonal = jnp.diagonal(s)
  values = (lines(s) + lines(s.T)) / 2 - diagonal
  best = jnp.argmax(jnp.where(answer, s, NEVER), -1) == jnp.arange(len(code))
  return shared.masked_mean(values, there), shared.masked_mean(best, there)


def _mixed(x: jax.Array) -> jax.Array:
  """uint32 to a number that looks random (the finaliser of MurmurHash3)."""
  x = (x ^ (x >> 16)) * jnp.uint32(0x85ebca6b)
  x = (x ^ (x >> 13)) * jnp.uint32(0xc2b2ae35)
  return x ^ (x >> 16)

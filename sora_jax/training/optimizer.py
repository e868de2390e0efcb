"""AdamW or Muon with a schedule of three phases: warm up, hold, decay.

Muon (Jordan 2024; Liu et al. 2025, arXiv 2502.16982) orthogonalises the momentum
of every kernel and scales it to the size of an AdamW update; Adam updates what is
no kernel, and the SIDE trees.

The constant phase lets one run serve several budgets: a longer run goes on from
before the decay (Hagele et al. 2024, arXiv 2405.18392). Weight decay touches
kernels only, and the gradient is clipped by its global norm.
"""

from collections.abc import Callable
import dataclasses
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from optax import contrib

from sora_jax import mesh as mesh_lib
from sora_jax import ranges
from sora_jax import types

MUON_RMS = 0.2  # root mean square of an AdamW update (arXiv 2502.16982)
SIDE = ("discriminator",)  # parameters that do not belong to the model being trained


@dataclasses.dataclass(frozen=True)
class Optimizer:
  """The optimiser and the guard of one run.

  Attributes:
    name: "adamw" or "muon".
    learning_rate: of the constant phase.
    warmup: steps of linear rise from 0.
    decay: the share of `steps` at the end that falls to `final` times the
      learning rate; 0 holds it to the end.
    decay_shape: "linear" or "cosine".
    final: the factor that the decay ends at.
    steps: the length of the run, which places the decay.
    b1, b2, eps: of Adam.
    weight_decay: decoupled, on kernels only.
    clip: largest global norm of the gradient.
    ema: decay of the averaged weights.
    spike: a gradient norm more than this many standard deviations above its
      moving average is not applied; 0 turns this off.
    spike_warm: applied steps before `spike` is on.
    accumulate: parts that a batch is cut into, whose gradients are summed one
      after the other: the memory of activations is that of a part.
    offload: keep the state of the optimiser in the memory of the host.
    moments: the dtype that the state of the optimiser is kept in, "float32" or
      "bfloat16", which is half the memory and needs b2 of at most 0.99: a
      second moment that moves by less than its last bit stands still.
    frozen: a regular expression that the paths of parameters match that stay as
      they are, bit for bit; "" is none. Their objective should give them no
      gradient either, as that counts in the norm.
  """

  name: str = "adamw"
  learning_rate: float = 3e-4
  warmup: int = 500
  decay: float = 0.2
  decay_shape: str = "cosine"
  final: float = 0.01
  steps: int = 10_000
  b1: float = 0.9
  b2: float = 0.99
  eps: float = 1e-8
  weight_decay: float = 0.01
  clip: float = 1.0
  ema: float = 0.999
  spike: float = 8.0
  spike_warm: int = 200
  accumulate: int = 1
  offload: bool = False
  moments: str = "float32"
  frozen: str = ""

  def __post_init__(self):
    ranges.check(
        "optimizer", self, name=ranges.one_of("adamw", "muon"),
        learning_rate=ranges.number(0), warmup=ranges.whole(),
        decay=ranges.share(), decay_shape=ranges.one_of("linear", "cosine"),
        final=ranges.share(), steps=ranges.whole(1), b1=ranges.share(False),
        b2=ranges.share(False), eps=ranges.above(0),
        weight_decay=ranges.number(0), clip=ranges.above(0),
        ema=ranges.share(False), spike=ranges.number(0),
        spike_warm=ranges.whole(), accumulate=ranges.whole(1),
        offload=ranges.flag(), moments=ranges.one_of("float32", "bfloat16"),
        frozen=ranges.pattern())
    if self.moments == "bfloat16" and self.b2 > 0.99:
      raise ValueError(f"optimizer.moments bfloat16 needs b2 of at most 0.99, it "
                       f"is {self.b2}: a slower moment stands still")


def phases(cfg: Optimizer) -> np.ndarray:
  """[5] float32: learning rate, warmup, start, length and end of the decay.

  The compiled step takes them as an argument, so that a longer run, or one of
  another learning rate, is the same program.
  """
  length = round(cfg.decay * cfg.steps)
  return np.asarray([cfg.learning_rate, max(cfg.warmup, 1), cfg.steps - length,
                     max(length, 1), cfg.final], np.float32)


def schedule(cfg: Optimizer, of: types.Array | None = None
             ) -> Callable[[Any], jax.Array]:
  """Learning rate at a count of applied steps: rises, holds, falls.

  Args:
    cfg: the optimiser.
    of: its `phases`, traced where the step takes them as an argument.
  """
  # A product, not optax.join_schedules: a run shorter than its warmup has both
  # phases at once, and the rate of older runs stays the same to the bit.
  peak, warmup, start, length, final = phases(cfg) if of is None else of

  def rate(count):
    count = jnp.asarray(count, jnp.float32)
    rise = jnp.minimum((count + 1) / warmup, 1.0)
    done = jnp.clip((count - start) / length, 0.0, 1.0)
    if cfg.decay_shape == "cosine":
      done = 0.5 * (1 - jnp.cos(jnp.pi * done))
    return peak * rise * (1 - (1 - final) * done)

  return rate


def transformation(cfg: Optimizer, of: types.Array | None = None
                   ) -> optax.GradientTransformation:
  """Clip, then update. A SIDE tree is clipped on its own, and does not decay.

  Args:
    cfg: the optimiser.
    of: as in `schedule`.
  """
  rate = schedule(cfg, of)
  if cfg.name == "muon":
    update = contrib.muon(
        rate, eps=cfg.eps, weight_decay=cfg.weight_decay,
        weight_decay_mask=_decay_mask, adam_b1=cfg.b1, adam_b2=cfg.b2,
        muon_weight_dimension_numbers=_matrices, consistent_rms=MUON_RMS)
  else:
    update = optax.adamw(rate, cfg.b1, cfg.b2, cfg.eps,
                         weight_decay=cfg.weight_decay, mask=_decay_mask)
  if cfg.moments != "float32":
    update = _kept_in(update, jnp.dtype(cfg.moments))
  chain = [optax.masked(optax.clip_by_global_norm(cfg.clip), _model_mask),
           optax.masked(optax.clip_by_global_norm(cfg.clip), _side_mask), update]
  if cfg.frozen:
    chain.append(optax.masked(optax.set_to_zero(), _frozen_mask(cfg.frozen)))
  return optax.chain(*chain)


def _kept_in(update: optax.GradientTransformation,
             dtype: Any) -> optax.GradientTransformation:
  """`update`, whose moments are kept in `dtype` and computed in float32."""
  moment = lambda x, of: x.dtype == of and x.ndim > 0
  cast = lambda tree, of, to: jax.tree.map(
      lambda x: x.astype(to) if moment(x, of) else x, tree)

  def run(grads, state, params=None):
    updates, state = update.update(grads, cast(state, dtype, jnp.float32), params)
    return updates, cast(state, jnp.float32, dtype)

  return optax.GradientTransformation(
      lambda params: cast(update.init(params), jnp.float32, dtype), run)


def norm(grads: dict[str, Any]) -> jax.Array:
  """The global norm of the gradient of the model, SIDE trees left out."""
  return optax.tree.norm({k: v for k, v in grads.items() if k not in SIDE})


def shardings(opt_state: Any, param_shardings: Any, other: Any) -> Any:
  """Shardings of an optimiser's state: moments lie as their parameters do.

  The path of a moment ends in its parameter's.
  """
  placed = {mesh_lib.path_name(path): sharding for path, sharding in
            jax.tree_util.tree_flatten_with_path(param_shardings)[0]}

  def leaf(path, _):
    names = (mesh_lib.path_name(path[i:]) for i in range(len(path)))
    return next((placed[n] for n in names if n in placed), other)

  return jax.tree_util.tree_map_with_path(leaf, opt_state)


def _matrices(params):
  """How each kernel is a matrix: all but its last axis are its input.

  The kernels of a scanned stack (`blocks/`) have a leading axis of layers, each
  of which is a matrix of its own.
  """

  def leaf(path, x):
    name = mesh_lib.path_name(path)
    if _side(path) or not name.endswith("kernel"):
      return None
    first = 1 if re.search("(^|/)blocks/", name) else 0
    return contrib.MuonDimensionNumbers(tuple(range(first, x.ndim - 1)),
                                        x.ndim - 1)

  return jax.tree_util.tree_map_with_path(leaf, params)


def _decay_mask(params):
  return jax.tree_util.tree_map_with_path(
      lambda path, _: not _side(path)
      and mesh_lib.path_name(path).endswith("kernel"), params)


def _frozen_mask(frozen: str):
  return lambda params: jax.tree_util.tree_map_with_path(
      lambda path, _: bool(re.search(frozen, mesh_lib.path_name(path))), params)


def _model_mask(params):
  return jax.tree_util.tree_map_with_path(lambda p, _: not _side(p), params)


def _side_mask(params):
  return jax.tree_util.tree_map_with_path(lambda p, _: _side(p), params)


def _side(path) -> bool:
  return mesh_lib.path_name(path[:1]) in SIDE

"""The state of a run, born sharded, and the step that advances it.

  train_step(state, batch, key, phases) -> state, metrics

A bad step never poisons the state: where the loss or the gradient is not finite,
the batch has no token to learn from ("weight", if the objective has it, is 0), or
the gradient's norm leaps above its moving average (adaptive clipping of
Open-Sora-Plan 1.5, arXiv 2412.00131), parameters, moments and EMA stay as they
are; the step and the data advance and the event is counted.
"""

from collections.abc import Callable
import dataclasses
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax

from sora_jax import mesh as mesh_lib
from sora_jax import types
from sora_jax.training import optimizer as optimizer_lib
from sora_jax.training.objectives import shared


@flax.struct.dataclass
class TrainState:
  """Everything that a run carries from step to step.

  Attributes:
    step: int32, steps taken, skipped ones included.
    params: dict of models ("vae" or "transformer" and "text_encoder", ..).
    opt_state: of optax.
    ema: moving average of params.
    skipped: int32, steps whose update was not applied.
    consecutive_skips: int32, how many of them in a row up to now.
    clips: int32, clips and images seen.
    norm_mean, norm_var: moving mean and variance of the gradient norm.
  """

  step: types.Array
  params: Any
  opt_state: Any
  ema: Any
  skipped: types.Array
  consecutive_skips: types.Array
  clips: types.Array
  norm_mean: types.Array
  norm_var: types.Array


@dataclasses.dataclass(frozen=True)
class Program:
  """What the loop runs.

  Attributes:
    abstract: TrainState of ShapeDtypeStructs that carry shardings.
    create: () -> TrainState at step 0.
    step: (state, batch, key, phases) -> (state, metrics), jitted; `state` is
      donated.
    phases: of the learning rate, as `step` takes them.
  """

  abstract: TrainState
  create: Callable[[], TrainState]
  step: jax.stages.Wrapped
  phases: np.ndarray


def program(objective: shared.Objective, init: Callable[[jax.Array], dict],
            cfg: optimizer_lib.Optimizer, mesh: Any, rules: dict[str, tuple],
            key: jax.Array,
            pretrained: Callable[[], dict[str, Any]] = dict) -> Program:
  """Makes the three functions of a run.

  Args:
    objective: gradients and metrics of a batch.
    init: key -> params, a dict of models.
    cfg: the optimiser.
    mesh: of `mesh.make_mesh`.
    rules: the sharding rules of each model of params, by its name; a model
      that is not named is replicated.
    key: the run's key; `create` uses it once, for the initial parameters.
    pretrained: called by `create`: models of params that replace those of
      `init`.
  """
  tx = optimizer_lib.transformation(cfg)
  init_all = lambda key, replaced: init_state(init(key) | replaced, tx)
  shapes = jax.eval_shape(init_all, key, {})
  whole = mesh_lib.replicated(mesh)
  specs = mesh_lib.fit(mesh, shapes.params, {
      name: mesh_lib.param_specs(tree, rules.get(name, ((r".*", ()),)))
      for name, tree in shapes.params.items()})
  mesh_lib.check_division(mesh, shapes.params, specs)
  params = mesh_lib.shardings(mesh, specs)
  on_device = optimizer_lib.shardings(shapes.opt_state, params, whole)
  on_host = jax.tree.map(lambda s: s.with_memory_kind("pinned_host"),
                         on_device) if cfg.offload else None
  placed = jax.tree.map(lambda _: whole, shapes).replace(
      params=params, ema=params,
      opt_state=on_host or on_device)
  abstract = jax.tree.map(
      lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), shapes,
      placed)
  create = jax.jit(init_all, out_shardings=placed)
  update = train_step(shared.accumulated(objective, cfg.accumulate), cfg)

  def fetch_and_update(state, batch, key, phases):
    state = state.replace(opt_state=jax.device_put(state.opt_state, on_device))
    return update(state, batch, key, phases)

  step = jax.jit(mesh_lib.on(mesh, fetch_and_update if cfg.offload else update),
                 donate_argnums=0, out_shardings=(placed, whole))
  return Program(abstract, lambda: create(key, pretrained()), step,
                 optimizer_lib.phases(cfg))


def init_state(params: Any, tx: optax.GradientTransformation) -> TrainState:
  """The state before the first step."""
  zero = lambda: jnp.zeros((), jnp.int32)
  return TrainState(
      step=zero(), params=params, opt_state=tx.init(params),
      ema=jax.tree.map(jnp.copy, params), skipped=zero(), clips=zero(),
      consecutive_skips=zero(), norm_mean=jnp.zeros(()), norm_var=jnp.zeros(()))


def train_step(objective: shared.Objective, cfg: optimizer_lib.Optimizer
               ) -> Callable[..., tuple[TrainState, dict[str, jax.Array]]]:
  """The step as a pure function; randomness is fold_in(key, step)."""

  def run(state: TrainState, batch, key, phases):
    tx = optimizer_lib.transformation(cfg, phases)
    rate = optimizer_lib.schedule(cfg, phases)
    key = jax.random.fold_in(key, state.step)
    grads, metrics = objective(state.params, batch, key, state.step)
    norm = optimizer_lib.norm(grads)
    applied = state.step - state.skipped
    limit = spike_limit(cfg, state, applied)
    finite = jnp.isfinite(norm) & jnp.isfinite(metrics["loss"])
    # A batch without a token to learn from teaches nothing; the decay of weights
    # and the moments would move them all the same.
    good = finite & (norm <= limit) & (jnp.asarray(metrics.get("weight", 1)) > 0)

    updates, opt_state = tx.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    d = jnp.minimum(cfg.ema, (1 + applied) / (10 + applied))
    # Not optax.incremental_update: what does not move must stay bit for bit.
    ema = jax.tree.map(lambda e, p: e + (1 - d) * (p - e), state.ema, params)
    keep = lambda new, old: jax.tree.map(
        lambda n, o: jnp.where(good, n, o), new, old)

    # A spike enters the average at the limit, so that a lasting change of scale
    # is taken in after a while and cannot lock the run.
    seen = jnp.where(finite, jnp.minimum(norm, limit), state.norm_mean)
    w = jnp.where(finite, 1 / jnp.minimum(applied + 1, 100), 0)
    mean = state.norm_mean + w * (seen - state.norm_mean)
    var = (1 - w) * (state.norm_var + w * (seen - state.norm_mean) ** 2)

    skipped = jnp.where(good, 0, 1)
    new = TrainState(
        step=state.step + 1, params=keep(params, state.params),
        opt_state=keep(opt_state, state.opt_state), ema=keep(ema, state.ema),
        skipped=state.skipped + skipped,
        consecutive_skips=jnp.where(good, 0, state.consecutive_skips + 1),
        clips=state.clips + jnp.asarray(metrics.get("clips", 0), jnp.int32),
        norm_mean=mean, norm_var=var)
    metrics = dict(metrics, grad_norm=norm, learning_rate=rate(applied),
                   skipped=new.skipped, clips=new.clips,
                   consecutive_skips=new.consecutive_skips)
    return new, metrics

  return run


def spike_limit(cfg: optimizer_lib.Optimizer, state: TrainState,
                applied: jax.Array) -> jax.Array:
  """The largest gradient norm that is applied; infinite until warm.

  The deviation is taken as a quarter of the mean at least: a calm run must not
  grow nervous.
  """
  if not cfg.spike:
    return jnp.float32(jnp.inf)
  std = jnp.maximum(jnp.sqrt(state.norm_var), 0.25 * state.norm_mean)
  return jnp.where(applied >= cfg.spike_warm,
                   state.norm_mean + cfg.spike * std, jnp.inf)

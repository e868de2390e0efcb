"""A run of a tiny model, for the tests; `python toy_run.py WORKDIR STEPS`.

The batch of a step is a function of the step, and may be spoiled at given ones.
"""

import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np

from sora_jax import mesh as mesh_lib
from sora_jax.training import clock
from sora_jax.training import loop
from sora_jax.training import optimizer
from sora_jax.training import state

WIDTH = 48
CONFIG = {"model": {"width": WIDTH}, "optimizer": {"learning_rate": 0.01},
          "data": {"seed": 0}, "steps": 10, "loop": {"log_every": 1}}
KEY = jax.random.key(7)
RATES = clock.Rates("clips", lambda batch: len(batch["x"]), lambda batch: 3e12,
                   chips=2, peak=1e12)


def objective(params, batch, key, step):
  """Recovers a linear map from noisy data."""
  del step

  def loss(params):
    y = batch["x"] @ params["model"]["kernel"] + params["model"]["bias"]
    noise = 0.1 * jax.random.normal(key, y.shape)
    return jnp.mean(jnp.square(y - batch["x"] @ jnp.eye(WIDTH) - noise))

  value, grads = jax.value_and_grad(loss)(params)
  grads = jax.tree.map(lambda g: g * batch["scale"][0], grads)
  return grads, {"loss": value, "clips": jnp.float32(len(batch["x"]))}


def init(key):
  return {"model": {"kernel": jax.random.normal(key, (WIDTH, WIDTH)),
                    "bias": jnp.zeros(WIDTH)}}


@functools.cache
def program(make=objective, params=init, **cfg):
  cfg = {"learning_rate": .01, "warmup": 3, "steps": 10, **cfg}
  return state.program(make, params, optimizer.Optimizer(**cfg),
                       mesh_lib.make_mesh(devices=jax.devices()[:1]), {}, KEY)


def batch_at(step, spoiled=None):
  rng = np.random.default_rng(step)
  batch = {"x": rng.standard_normal((8, WIDTH)).astype(np.float32),
           "scale": np.ones(8, np.float32)}
  for name, value in (spoiled or {}).get(step, {}).items():
    batch[name] = batch[name] * np.float32(value)
  return batch


def batches(spoiled=None):
  def from_step(step):
    while True:
      yield step, batch_at(step, spoiled)
      step += 1

  return from_step


def train(workdir, steps, prog=None, config=None, spoiled=None, **kw):
  kw = {"log_every": 1, "save_every": 5, "rates": RATES, **kw}
  return loop.train(prog or program(), batches(spoiled), steps=steps,
                    workdir=workdir, config=config or CONFIG, key=KEY, **kw)


def values(tree):
  """Every leaf by its path, as numpy."""
  return {mesh_lib.path_name(path): np.asarray(x) for path, x in
          jax.tree_util.tree_flatten_with_path(tree)[0]}


def same(a, b):
  """Raises unless two trees are equal bit by bit."""
  a, b = values(a), values(b)
  assert a.keys() == b.keys()
  for name in a:
    np.testing.assert_array_equal(a[name], b[name], err_msg=name)


if __name__ == "__main__":
  train(sys.argv[1], int(sys.argv[2]), save_every=1)

"""One program on eight devices equals the same on one.

All that runs on eight devices runs in one other process, `python test_mesh.py`,
which prints for each case the largest difference of any array, relative to the
largest value of that array.
"""

import functools
import json
import math
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import chunks
from sora_jax import mesh as mesh_lib
from sora_jax import types
from sora_jax.diffusion import flow
from sora_jax.models import dit
from sora_jax.models.attention import attend as attend_lib
from sora_jax.models.attention import splash
from sora_jax.models.text import encoder
from sora_jax.models.vae import vae as vae_lib
from sora_jax.training.objectives import dit as dit_lib

LIMIT = 1e-5
FOLDER = pathlib.Path(__file__).parent
# Two heads divide over a context axis of 2, but not beside a tensor axis of 2:
# there tokens go around a ring.
TRAIN = {
    "data and fsdp": dict(data=2, fsdp=4),
    "data and context": dict(data=4, context=2),
    "fsdp, a ring and tensor": dict(fsdp=2, context=2, tensor=2)}
# Mesh, heads, what is split, backend, tokens.
ATTENTION = {
    "ulysses": (dict(data=2, context=4), 4, "all", "dense", 64),
    "ulysses of flash": (dict(data=2, context=4), 4, "all", "flash", 64),
    "ulysses and tensor": (dict(data=2, context=2, tensor=2), 4, "all", "dense",
                           64),
    "ring of 4 x ulysses of 2": (dict(context=8), 2, "all", "dense", 64),
    "ring of 2 x ulysses of 2": (dict(data=2, context=4), 6, "all", "dense", 64),
    "ring": (dict(data=2, context=4), 3, "all", "dense", 64),
    "whole": (dict(context=8), 2, "all", "dense", 60),
    "queries": (dict(data=2, context=4), 4, "queries", "dense", 64),
    "splash": (dict(data=2), 1, "all", "splash", 300),
    "ulysses of splash": (dict(data=2, context=2), 2, "all", "splash", 300),
    "ring of splash": (dict(data=2, context=2), 1, "all", "splash", 300),
    "queries, splash": (dict(data=2, context=2), 1, "queries", "splash", 300),
    "splash in one backward pass": (dict(data=2), 1, "all", "fused", 300)}
VAE = {"rows and columns": dict(data=2, context=4)}

DIT = dit.DiT(layers=2, heads=2, head_size=8, ffn=32, patch_channels=4,
              out_channels=4, text_width=16)
TEXT = encoder.TextEncoder(vocab=11, width=16, layers=1, heads=2, ffn=32)
RULES = {"transformer": mesh_lib.DIT_RULES, "text_encoder": mesh_lib.TEXT_RULES}
COMPRESSOR = vae_lib.VAE(base=8, mults=(1, 1, 1), z=2, blocks=1)


def mesh_of(data=1, **sizes):
  count = math.prod((data, *sizes.values()))
  return mesh_lib.make_mesh(jax.devices()[:count], data=data, **sizes)


def draw(*shape, seed=0):
  return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(
      np.float32)


def perturbed(params):
  """Away from the start, where gates and output are zero."""
  return jax.tree.map(lambda x: np.asarray(x) + .05 * draw(*x.shape), params)


def difference(found, wanted):
  """The largest of any leaf, relative to the largest value of that leaf."""
  worst = jax.tree.map(
      lambda a, b: float(np.max(np.abs(np.asarray(a) - np.asarray(b)))
                         / np.max(np.abs(b))), found, wanted)
  return max(jax.tree.leaves(worst))


def packed(lengths, padding, rows):
  seg = np.repeat(np.arange(1, len(lengths) + 1), lengths)
  return np.repeat(np.pad(seg, (0, padding))[None], rows, 0).astype(np.int32)


@functools.cache
def denoiser():
  """Parameters of a transformer and of a text encoder."""
  return perturbed({"transformer": dit.init(DIT, jax.random.key(0)),
                    "text_encoder": encoder.init(TEXT, jax.random.key(1))})


@functools.cache
def compressor():
  """Parameters of a VAE."""
  return perturbed(vae_lib.init(COMPRESSOR, jax.random.key(0)))


def train(axes):
  """Loss and gradients of one step over 8 packed rows."""
  rows, length = 8, 62  # which does not divide over 4: it is filled up
  known = np.repeat((np.arange(length) % 30 < 2)[None], rows, 0)
  batch = types.Batch(
      tokens=types.Tokens(x=draw(rows, length, 4), pos=draw(rows, length, 3),
                          seg=packed((30, 20, 8), 4, rows)),
      text=types.Text(ids=np.abs(7 * draw(rows, 8)).astype(np.int32) % 11,
                      seg=packed((3, 2, 1), 2, rows)), known=known)
  objective = dit_lib.dit_objective(
      functools.partial(dit.denoise, DIT),
      functools.partial(encoder.encode, TEXT),
      flow.Process(base_tokens=4), 4)
  params, mesh = denoiser(), mesh_of(**axes)
  specs = {k: mesh_lib.param_specs(params[k], RULES[k]) for k in params}
  params = jax.device_put(params, mesh_lib.shardings(mesh, specs))
  grads, metrics = jax.jit(mesh_lib.on(mesh, objective))(
      params, mesh_lib.to_global(mesh, batch), jax.random.key(2), 0)
  return {"grads": jax.device_get(grads), "loss": float(metrics["loss"])}


def attend(axes, heads, split, backend, length):
  """Attention of packed rows and its gradients; for queries a text is missing."""
  splash.SMALL = splash.Blocks(*3 * (splash.LANES,))
  splash.LONG = 10**6 if backend == "fused" else 0  # else by groups of keys
  splash.GROUP = 2
  backend, rows = backend.replace("fused", "splash"), 2
  third = length // 3
  q_seg = packed((third + 9, third - 1, third - 14), length - 3 * third + 6,
                 rows)
  kv_seg = q_seg if split == "all" else packed((7, 0, 8), 1, rows)
  q, k, v = (draw(rows, n, heads, 8, seed=i) for i, n in enumerate(
      (length, kv_seg.shape[1], kv_seg.shape[1])))
  wave = jnp.cos(jnp.arange(q.size)).reshape(q.shape)

  def loss(q, k, v):
    ready = attend_lib.make_block_mask(q_seg, kv_seg, heads, backend, split)
    out = attend_lib.attend(q, k, v, q_seg, kv_seg, backend, split, ready)
    return jnp.sum(out * wave), out

  mesh = mesh_of(**axes)
  place = functools.partial(jax.device_put, device=mesh_lib.replicated(mesh))
  run = jax.jit(mesh_lib.on(mesh, jax.grad(loss, (0, 1, 2), has_aux=True)))
  return jax.device_get(run(*map(place, (q, k, v))))


def compress(axes):
  """Encoding and decoding, whole (with columns not all valid) and in chunks."""
  rows, params = 2, compressor()
  video, z = np.tanh(draw(rows, 5, 24, 64, 3)), draw(rows, 2, 3, 8, 2)
  size = np.array([[24, 64], [16, 40]])

  def run(params, video, z):
    decode = lambda params: vae_lib.decode(COMPRESSOR, params, z)
    in_chunks = lambda fn, x, frames: chunks.in_chunks(
        lambda x, cache: fn(COMPRESSOR, params, x, cache), x, frames)
    loss = lambda decoder: jnp.mean(decode(params | {"decoder": decoder})**2)
    return {
        "encode": vae_lib.encode(COMPRESSOR, params, video, size),
        "encode in chunks": in_chunks(vae_lib.encode_chunk, video, 4),
        "decode": vae_lib.decode(COMPRESSOR, params, z, size),
        "decode in chunks": in_chunks(vae_lib.decode_chunk, z, 1),
        "gradient": jax.grad(loss)(params["decoder"])}

  mesh = mesh_of(**axes)
  place = functools.partial(jax.device_put, device=mesh_lib.replicated(mesh))
  return jax.device_get(jax.jit(mesh_lib.on(mesh, run))(
      *map(place, (params, video, z))))


def main():
  """Prints the differences of every case, as JSON."""
  found, wanted = {}, train({})
  for name, axes in TRAIN.items():
    found[f"train {name}"] = difference(train(axes), wanted)
  oracle = functools.cache(lambda heads, split, length: attend(
      {}, heads, split, "dense", length))
  for name, (axes, heads, split, backend, length) in ATTENTION.items():
    found[f"attention {name}"] = difference(
        attend(axes, heads, split, backend, length),
        oracle(heads, split, length))
  wanted = compress({})
  for name, axes in VAE.items():
    for part, values in compress(axes).items():
      found[f"vae {name}, {part}"] = difference(values, wanted[part])
  print(json.dumps(found))


@pytest.fixture(name="found", scope="module")
def _found():
  env = {**os.environ, "JAX_PLATFORMS": "cpu",
         "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
         "PYTHONPATH": str(FOLDER.parent),  # of configs
         "XLA_FLAGS": os.environ["XLA_FLAGS"]
                      + " --xla_force_host_platform_device_count=8"}
  run = subprocess.run([sys.executable, __file__], env=env, text=True,
                       capture_output=True, cwd=FOLDER)
  assert run.returncode == 0, run.stderr[-3000:]
  return json.loads(run.stdout.splitlines()[-1])


def check(found, kind, count):
  mine = {k: v for k, v in found.items() if k.startswith(kind)}
  print(mine)
  assert len(mine) == count
  assert not {k: v for k, v in mine.items() if not v <= LIMIT}


@pytest.mark.slow
def test_loss_and_gradients_do_not_depend_on_the_mesh(found):
  check(found, "train", len(TRAIN))


@pytest.mark.slow
def test_attention_on_a_mesh_is_dense(found):
  check(found, "attention", len(ATTENTION))


@pytest.mark.slow
def test_the_vae_split_over_rows_and_columns_is_the_whole(found):
  check(found, "vae", 5 * len(VAE))


def test_a_mesh_that_does_not_fit_is_refused():
  with pytest.raises(ValueError, match="needs 6 devices and there are 1"):
    mesh_lib.make_mesh(jax.devices()[:1], data=2, fsdp=3)
  params = {"blocks": {"self": {"q": {"kernel": np.zeros((2, 6, 4))}}}}
  mesh = jax.sharding.AbstractMesh((1, 4, 1, 1), mesh_lib.AXES)
  specs = mesh_lib.fit(mesh, params,
                       mesh_lib.param_specs(params, mesh_lib.DIT_RULES))
  with pytest.raises(ValueError, match="self/q/kernel.*over fsdp=4.*divide 6"):
    mesh_lib.check_division(mesh, params, specs)


if __name__ == "__main__":
  main()

"""The video compression network: causal, exact in chunks and under padding."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import chunks
from sora_jax.models.vae import conv
from sora_jax.models.vae import vae as vae_lib

pytestmark = pytest.mark.quick_compile

WAN22 = vae_lib.VAE(base=4, decoder_base=6, mults=(1, 2, 2), z=3, blocks=1)
WAN21 = vae_lib.VAE(base=4, mults=(1, 2), z=3, blocks=1, temporal=(True,),
                    patch=1, residual=False)
BOTH = pytest.mark.parametrize("vae", [WAN22, WAN21], ids=["wan22", "wan21"])


@functools.cache
def params_of(vae):
  """Random parameters, biases and gains too, so that padding could leak."""
  rng = np.random.default_rng(0)

  def leaf(spec):
    fan_in = spec.size / spec.shape[-1]
    return rng.standard_normal(spec.shape).astype(np.float32) * fan_in**-0.5

  return jax.tree.map(leaf, jax.eval_shape(
      lambda: vae_lib.init(vae, jax.random.key(0))))


# What is tested here does not depend on how hard XLA tries.
jit = functools.partial(
    jax.jit, compiler_options={"xla_backend_optimization_level": 0})


@functools.cache
def compiled(fn, vae):
  return jit(functools.partial(fn, vae))


def run(fn, vae, x, size=None):
  return compiled(fn, vae)(params_of(vae), x, size)


def run_in_chunks(fn, vae, x, frames, size=None):
  step = lambda x, cache: compiled(fn, vae)(params_of(vae), x, cache, size)
  return chunks.in_chunks(step, x, frames)


def clip(vae, latents, rows=1, height=2, width=3, seed=1):
  st, sh, sw = vae_lib.stride(vae)
  shape = (rows, (latents - 1) * st + 1, height * sh, width * sw, 3)
  return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def close(a, b, tolerance=1e-5):
  for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
    assert x.shape == y.shape
    error = np.abs(np.asarray(x) - np.asarray(y)).max()
    assert error <= tolerance * np.abs(np.asarray(y)).max(), error


def test_sizes_of_the_default_network():
  vae = vae_lib.VAE()
  assert vae_lib.stride(vae) == (4, 8, 8)
  params = jax.eval_shape(lambda: vae_lib.init(vae, jax.random.key(0)))
  video = jax.ShapeDtypeStruct((2, 17, 48, 64, 3), jnp.float32)
  mean, logvar = jax.eval_shape(functools.partial(vae_lib.encode, vae), params,
                                video)
  assert mean.shape == logvar.shape == (2, 5, 6, 8, 8)
  back = jax.eval_shape(functools.partial(vae_lib.decode, vae), params, mean)
  assert back.shape == video.shape


@pytest.mark.parametrize("fields, word", [
    (dict(temporal=(True,)), "temporal"),
    (dict(mults=(1, 2, 4)), "level 2 averages 1 x 2 into 4"),
    (dict(mults=(3, 2, 2)), "level 0 averages 8 x 1 into 3"),
])
def test_refuses_impossible_networks(fields, word):
  with pytest.raises(ValueError, match=word):
    vae_lib.VAE(**fields)


@pytest.mark.parametrize("shape", [(1, 4, 16, 16, 3), (1, 5, 12, 16, 3),
                                   (5, 16, 16, 3)])
def test_refuses_sizes_off_the_stride(shape):
  with pytest.raises(ValueError, match="stride 4x8x8"):
    vae_lib.encode(WAN22, params_of(WAN22), np.zeros(shape, np.float32))


def test_forms_of_the_causal_convolution_agree():
  rng = np.random.default_rng(0)
  x = rng.standard_normal((2, 5, 6, 8, 4)).astype(np.float32)
  kernel = rng.standard_normal((3, 3, 3, 4, 5)).astype(np.float32)
  g = rng.standard_normal((2, 3, 6, 8, 5)).astype(np.float32)

  @jit
  def outputs(x, kernel, g):
    both = []
    for form in ("fold", "native"):
      y, back = jax.vjp(functools.partial(conv.conv3d, backend=form), x, kernel)
      both.append((y, *back(g)))
    return both

  close(*outputs(x, kernel, g))


@BOTH
def test_a_latent_sees_no_later_frame(vae):
  video = clip(vae, 3)
  whole = run(vae_lib.encode, vae, video)
  image = run(vae_lib.encode, vae, video[:, :1])
  close(image, [x[:, :1] for x in whole])
  changed = video.copy()
  changed[:, vae_lib.stride(vae)[0] + 1:] *= -1
  other = run(vae_lib.encode, vae, changed)
  close([x[:, :2] for x in other], [x[:, :2] for x in whole])
  assert np.abs(other[0][:, 2] - whole[0][:, 2]).max() > 1e-3


@BOTH
def test_a_frame_sees_no_later_latent(vae):
  z = run(vae_lib.encode, vae, clip(vae, 3))[0]
  whole = run(vae_lib.decode, vae, z)
  other = run(vae_lib.decode, vae, z.at[:, 2].multiply(-1))
  seen = vae_lib.stride(vae)[0] + 1
  close(other[:, :seen], whole[:, :seen])
  close(run(vae_lib.decode, vae, z[:, :1]), whole[:, :1])


@BOTH
def test_chunks_equal_the_whole(vae):
  video, stride = clip(vae, 3), vae_lib.stride(vae)[0]
  mean, logvar = run(vae_lib.encode, vae, video)
  close(run_in_chunks(vae_lib.encode_chunk, vae, video, stride), (mean, logvar))
  close(run_in_chunks(vae_lib.decode_chunk, vae, mean, 1),
        run(vae_lib.decode, vae, mean))


@pytest.mark.slow
@BOTH
def test_padding_changes_nothing(vae):
  st, sh, sw = vae_lib.stride(vae)
  video = clip(vae, 2, rows=2)  # with noise in the padding
  h, w = sh, 2 * sw
  size = np.array([[h, w], [2 * sh, 3 * sw]], np.int32)
  alone = run(vae_lib.encode, vae, video[:1, :, :h, :w])
  padded = run(vae_lib.encode, vae, video, size)
  chunked = run_in_chunks(vae_lib.encode_chunk, vae, video, st, size)
  close([x[:1, :, :1, :2] for x in padded], alone)
  close([x[:1, :, :1, :2] for x in chunked], alone)
  pixels = run(vae_lib.decode, vae, padded[0], size)
  close(pixels[:1, :, :h, :w], run(vae_lib.decode, vae, alone[0]))


@pytest.mark.slow
def test_gradients_are_finite_on_a_blank_clip():
  vae = vae_lib.VAE(base=4, mults=(1,), temporal=(), z=2, blocks=1)
  params = vae_lib.init(vae, jax.random.key(0))
  video = jnp.zeros((1, 2, 4, 4, 3))

  def loss(params):
    mean, logvar = vae_lib.encode(vae, params, video)
    return jnp.sum(vae_lib.decode(vae, params, mean) + 1) + jnp.sum(logvar)

  grads = jit(jax.grad(loss))(params)
  assert all(np.isfinite(g).all() for g in jax.tree.leaves(grads))


def test_there_and_back():
  video = clip(WAN22, 2)
  np.testing.assert_array_equal(
      vae_lib.unpatchify(vae_lib.patchify(video, 2), 2), video)
  z = np.random.default_rng(0).normal(3, 2, (1, 2, 3, 4, 5)).astype(np.float32)
  mean, std = z.mean((0, 1, 2, 3)), z.std((0, 1, 2, 3))
  unit = vae_lib.normalise(z, mean, std)
  assert np.allclose(unit.std((0, 1, 2, 3)), 1, atol=1e-5)
  close(vae_lib.denormalise(unit, mean, std), z)

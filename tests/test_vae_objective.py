"""The loss of the VAE and its discriminator."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sora_jax import types
from sora_jax.models.vae import discriminator
from sora_jax.training.objectives import vae

pytestmark = pytest.mark.quick_compile


def encode(params, video):
  b, t, h, w, _ = video.shape
  x = video[:, ::4].reshape(b, -1, h // 8, 8, w // 8, 8, 3)
  x = x.transpose(0, 1, 2, 4, 3, 5, 6).reshape(b, -1, h // 8, w // 8, 192)
  return jnp.split(x @ params["enc"]["kernel"], 2, -1)


def decode(params, z):
  b, t, h, w, _ = z.shape
  x = (z @ params["dec"]["kernel"]).reshape(b, t, h, w, 8, 8, 3)
  x = x.transpose(0, 1, 2, 4, 3, 5, 6).reshape(b, t, h * 8, w * 8, 3)
  return jnp.repeat(x, 4, 1)[:, 3:]


def init_vae(key):
  return {"enc": {"kernel": .1 * jax.random.normal(key, (192, 16))},
          "dec": {"kernel": .1 * jax.random.normal(key, (8, 192))}}


def pixels(seed=0):
  rng = np.random.default_rng(seed)
  return types.Pixels(rng.integers(0, 256, (2, 5, 16, 24, 3), np.uint8))


@functools.cache
def vae_program(**kw):
  """(compiled objective, parameters) of a VaeLoss(**kw)."""
  cfg = vae.VaeLoss(**kw)
  params = jax.jit(vae.init_params(init_vae, cfg))(jax.random.key(0))
  return jax.jit(vae.reconstruction_objective(encode, decode, cfg)), params


def vae_gradients(step=0, params=None, **kw):
  run, start = vae_program(**kw)
  return run(params or start, pixels(), jax.random.key(1), step), start


def test_the_terms_of_the_vae_are_what_they_say():
  kw = {"l1": 2., "l2": 3., "kl": .1, "edges": .5, "edges_start": 10}
  x = vae.to_unit(pixels().video)
  assert float(x.min()) == -1 and float(x.max()) == 1

  @jax.jit
  @functools.partial(jax.value_and_grad, has_aux=True)
  def by_hand(params, weight):
    mean, logvar = encode(params, x)
    noise = jax.random.normal(jax.random.key(1), mean.shape)
    x_hat = decode(params, mean + jnp.exp(logvar / 2) * noise)
    kl = .5 * jnp.mean(mean**2 + jnp.exp(logvar) - 1 - logvar)
    edges = vae.gradient_pyramid(x_hat, x)
    l1, l2 = jnp.mean(abs(x_hat - x)), jnp.mean((x_hat - x)**2)
    return 2 * l1 + 3 * l2 + .1 * kl + weight * edges, l2

  for step, weight in ((9, 0.), (10, .5)):
    (grads, metrics), params = vae_gradients(step, **kw)
    (loss, l2), want = by_hand(params["vae"], weight)
    np.testing.assert_allclose(metrics["loss"], loss, rtol=1e-5)
    np.testing.assert_allclose(metrics["psnr"], 10 * np.log10(4 / l2),
                               rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5),
                 grads["vae"], want)
    assert float(metrics["clips"]) == 2


def test_the_edge_term_sees_edges_and_not_brightness():
  x = jnp.zeros((1, 1, 16, 16, 3))
  assert float(vae.gradient_pyramid(x + .3, x)) == 0
  edge = x.at[:, :, :, 8:].set(1.)
  assert float(vae.gradient_pyramid(edge, x)) > .1


ADVERSARIAL = {"adversarial": .5, "adversarial_start": 10, "discriminator_width": 8}


@pytest.mark.slow
def test_the_discriminator_starts_late_and_has_the_weight_it_was_given():
  plain = vae_gradients()[0][0]["vae"]
  (early, metrics), params = vae_gradients(step=9, **ADVERSARIAL)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-7),
               early["vae"], plain)
  assert optax.tree.norm(early["discriminator"]) == 0
  assert metrics["discriminator_loss"] == 0
  (late, metrics), _ = vae_gradients(step=10, **ADVERSARIAL)
  assert optax.tree.norm(late["discriminator"]) > 0
  assert .5 < float(metrics["discriminator_loss"]) < 1.5
  assert float(metrics["discriminator_dropped"]) == 0
  # the push at x_hat is half as long as the gradient of the other terms
  x = vae.to_unit(pixels().video)
  pull = jnp.cos(x * 9)
  cfg = vae.VaeLoss(**ADVERSARIAL)
  push = jax.jit(functools.partial(vae.adversarial_step, cfg))(
      params["discriminator"], x, .9 * x, pull)[0]
  np.testing.assert_allclose(optax.tree.norm(push), .5 * optax.tree.norm(pull),
                             rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("fault", [math.nan, 1e6])
def test_a_broken_discriminator_is_dropped_and_counted(fault):
  params = vae_program(**ADVERSARIAL)[1]
  params = {**params, "discriminator": jax.tree.map(lambda x: x + fault,
                                             params["discriminator"])}
  (grads, metrics), _ = vae_gradients(10, params, **ADVERSARIAL)
  assert float(metrics["discriminator_dropped"]) == 1
  plain = vae_gradients()[0][0]["vae"]
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-7),
               grads["vae"], plain)
  assert optax.tree.norm(grads["discriminator"]) == 0


def test_the_discriminator_judges_patches_and_sees_motion():
  module = discriminator.Discriminator(8)
  params = discriminator.init(module, jax.random.key(0))
  x = jax.random.normal(jax.random.key(1), (2, 3, 32, 48, 3))
  logits = discriminator.logits(module, params, x)
  assert logits.shape == (6, 4, 6, 1)
  moved = discriminator.logits(module, params, x.at[:, 0].add(1.))
  assert not np.allclose(moved[1], logits[1])  # frame 1 beside another frame 0
  np.testing.assert_array_equal(moved[2], logits[2])

"""The objective of the video compression network.

  l1 |x_hat - x| + l2 (x_hat - x)^2 + kl KL(q(z|x) || N(0, 1))
    + edges: |difference of image gradients| over a pyramid of scales
    + adversarial: hinge loss of a patch discriminator (Lim & Ye 2017,
      arXiv 1705.02894)

The edge term replaces a pretrained perceptual network: none can be downloaded
here. Both late terms start at a step of their own. The weight of the
discriminator is adaptive as in VQGAN (Esser et al. 2021, arXiv 2012.09841). The
gradients are compared at x_hat, not at the last layer: this needs only one
backward pass through the decoder, and a discriminator whose gradient is not
finite or has exploded is dropped, and counted, before it touches the model.
"""

from collections.abc import Callable
import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax

from sora_jax import ranges
from sora_jax import types
from sora_jax.models.vae import discriminator
from sora_jax.training.objectives import shared

METRICS = ("generator_loss", "discriminator_loss", "discriminator_weight",
           "discriminator_dropped")


@dataclasses.dataclass(frozen=True)
class VaeLoss:
  """Weights and starts of the terms.

  Attributes:
    l1, l2: of the reconstruction, means over pixels in [-1, 1].
    kl: of the divergence, a mean over latent elements.
    edges, edges_start: of the gradient pyramid, and its first step.
    adversarial, adversarial_start: of the discriminator, and its first step; a
      weight of 0 trains none.
    discriminator_width: channels of its first level.
    discriminator_limit: a discriminator whose loss or gradient norm passes this
      is dropped for the step.
    decoder_only: decode the mean, without noise, of an encoder that gets no
      gradient: latents that were made with it stay valid.
  """

  l1: float = 1.0
  l2: float = 1.0
  kl: float = 1e-6
  edges: float = 0.0
  edges_start: int = 0
  adversarial: float = 0.0
  adversarial_start: int = 0
  discriminator_width: int = 32
  discriminator_limit: float = 100.0
  decoder_only: bool = False

  def __post_init__(self):
    weight, start = ranges.number(0), ranges.whole()
    ranges.check(
        "objective", self, l1=weight, l2=weight, kl=weight, edges=weight,
        edges_start=start, adversarial=weight, adversarial_start=start,
        discriminator_width=ranges.whole(1),
        discriminator_limit=ranges.above(0), decoder_only=ranges.flag())


def discriminator_of(cfg: VaeLoss) -> discriminator.Discriminator:
  """The discriminator that the loss trains."""
  return discriminator.Discriminator(cfg.discriminator_width)


def init_params(init: Callable[[jax.Array], Any],
                cfg: VaeLoss) -> Callable[[jax.Array], dict[str, Any]]:
  """key -> {"vae": .., "discriminator": ..}, given the init of the VAE."""

  def run(key):
    model, other = jax.random.split(key)
    params = {"vae": init(model)}
    if cfg.adversarial:
      params["discriminator"] = discriminator.init(discriminator_of(cfg),
                                                   other)
    return params

  return run


def reconstruction_objective(encode: Callable, decode: Callable,
                             cfg: VaeLoss) -> shared.Objective:
  """The objective; encode(params, video) -> (mean, logvar), decode(params, z).

  Its batch is types.Pixels, video uint8 [B, T, H, W, 3].
  """

  def objective(params, batch: types.Pixels, key, step):
    x = to_unit(batch.video)

    def forward(model):
      mean, logvar = encode(model, x)
      mean, logvar = mean.astype(jnp.float32), logvar.astype(jnp.float32)
      if cfg.decoder_only:
        mean, logvar = jax.lax.stop_gradient((mean, logvar))
        return decode(model, mean).astype(jnp.float32), mean, logvar
      z = mean + jnp.exp(logvar / 2) * jax.random.normal(key, mean.shape)
      return decode(model, z).astype(jnp.float32), mean, logvar

    out, pull = jax.vjp(forward, params["vae"])
    (_, metrics), (pixels, *posterior) = jax.value_and_grad(
        lambda out: terms(cfg, x, out, step), has_aux=True)(out)
    grads = {}
    if cfg.adversarial:
      push, grads["discriminator"], more = jax.lax.cond(
          step >= cfg.adversarial_start,
          functools.partial(adversarial_step, cfg), no_adversarial_step,
          params["discriminator"], x, out[0], pixels)
      pixels, metrics = pixels + push, {**metrics, **more}
    grads["vae"], = pull((pixels, *posterior))
    metrics["clips"] = jnp.float32(x.shape[0])
    return {name: grads[name] for name in params}, metrics

  return objective


def to_unit(video: types.Array) -> jax.Array:
  """uint8 to float32 in [-1, 1]."""
  return jnp.asarray(video).astype(jnp.float32) / 127.5 - 1


def terms(cfg: VaeLoss, x: jax.Array, out: tuple[jax.Array, ...],
          step: types.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
  """The loss without the discriminator, and its metrics.

  Args:
    cfg: the loss.
    x: the video [B, T, H, W, 3] in [-1, 1].
    out: its reconstruction, and mean and logvar of its latents.
    step: of the run.
  """
  x_hat, mean, logvar = out
  error = x_hat - x
  l1, l2 = jnp.mean(jnp.abs(error)), jnp.mean(jnp.square(error))
  kl = 0.5 * jnp.mean(jnp.square(mean) + jnp.exp(logvar) - 1 - logvar)
  loss = cfg.l1 * l1 + cfg.l2 * l2 + cfg.kl * kl
  metrics = {"l1": l1, "kl": kl, "latent_std": jnp.std(mean),
             "psnr": 10 * jnp.log10(4 / jnp.maximum(l2, 1e-10))}
  if cfg.edges:
    edges = gradient_pyramid(x_hat, x)
    loss += jnp.where(step >= cfg.edges_start, cfg.edges, 0.0) * edges
    metrics["edges"] = edges
  return loss, {"loss": loss, **metrics}


def gradient_pyramid(x_hat: jax.Array, x: jax.Array,
                     levels: int = 3) -> jax.Array:
  """Mean |difference of x and y gradients| over `levels` halvings of size."""
  error, total = x_hat - x, 0.0
  for level in range(levels):
    if level:
      b, t, h, w, c = error.shape
      error = error[:, :, :h // 2 * 2, :w // 2 * 2]
      error = error.reshape(b, t, h // 2, 2, w // 2, 2, c).mean((3, 5))
    if min(error.shape[2:4]) < 2:
      break
    total += jnp.mean(jnp.abs(error[:, :, 1:] - error[:, :, :-1]))
    total += jnp.mean(jnp.abs(error[:, :, :, 1:] - error[:, :, :, :-1]))
  return total / levels


def adversarial_step(cfg: VaeLoss, params: Any, x: jax.Array, x_hat: jax.Array,
                     pixels: jax.Array) -> tuple[jax.Array, Any, dict]:
  """What the discriminator adds to the gradient at x_hat, and its own gradient.

  Args:
    cfg: the loss.
    params: of the discriminator.
    x, x_hat: video and reconstruction [B, T, H, W, 3].
    pixels: gradient of the other terms at x_hat, which the weight refers to.

  Returns:
    (gradient to add at x_hat, gradient of params, metrics).
  """
  rows = x.shape[0]
  logits, pull = jax.vjp(
      functools.partial(discriminator.logits, discriminator_of(cfg)), params,
      jnp.concatenate([x, x_hat]))

  def discriminator_loss(logits):
    real, fake = jnp.split(logits, 2)
    return 0.5 * jnp.mean(jax.nn.relu(1 - real) + jax.nn.relu(1 + fake))

  generator_loss = lambda logits: -jnp.mean(jnp.split(logits, 2)[1])
  hinge, up = jax.value_and_grad(discriminator_loss)(logits)
  grads = pull(up)[0]
  generator, up = jax.value_and_grad(generator_loss)(logits)
  push = pull(up)[1][rows:]
  size = optax.tree.norm(push)
  weight = cfg.adversarial * jnp.minimum(
      optax.tree.norm(pixels) / jnp.maximum(size, 1e-12), 1e4)
  largest = jnp.stack([jnp.abs(generator), hinge, optax.tree.norm(grads),
                       size])
  good = jnp.all(jnp.isfinite(largest)) & (
      jnp.max(largest) <= cfg.discriminator_limit)
  return (jnp.where(good, weight * push, 0),
          jax.tree.map(lambda g: jnp.where(good, g, 0), grads),
          dict(zip(METRICS, (generator, hinge, weight,
                             jnp.where(good, 0.0, 1.0)))))


def no_adversarial_step(params: Any, x: jax.Array, x_hat: jax.Array,
                        pixels: jax.Array) -> tuple[jax.Array, Any, dict]:
  """`adversarial_step` before the first one: zeros."""
  del x, pixels
  zero = jnp.float32(0)
  return (jnp.zeros_like(x_hat), jax.tree.map(jnp.zeros_like, params),
          dict.fromkeys(METRICS, zero))

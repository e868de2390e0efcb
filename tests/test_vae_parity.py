"""The VAE against AutoencoderKLWan of diffusers, with the same weights."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from sora_jax.models import vae as vae_lib
from sora_jax.models import vae_names

diffusers = pytest.importorskip("diffusers")
torch = pytest.importorskip("torch")

WAN21 = vae_lib.VAE(base=4, mults=(1, 2, 4), z=3, blocks=1,
                    temporal=(False, True), patch=1, residual=False)
WAN22 = vae_lib.VAE(base=4, decoder_base=6, mults=(1, 2, 2), z=3, blocks=1)
BOTH = pytest.mark.parametrize("vae", [WAN22, WAN21], ids=["wan22", "wan21"])


@functools.cache
def reference(vae):
  """A reference network and its weights, random in every entry."""
  torch.manual_seed(0)
  net = diffusers.AutoencoderKLWan(
      base_dim=vae.base, decoder_base_dim=vae.decoder_base or None,
      z_dim=vae.z, dim_mult=list(vae.mults), num_res_blocks=vae.blocks,
      temperal_downsample=list(vae.temporal), is_residual=vae.residual,
      in_channels=3 * vae.patch**2, out_channels=3 * vae.patch**2,
      patch_size=vae.patch if vae.patch > 1 else None).eval()
  rng = np.random.default_rng(0)
  weights = {k: v.numpy() + 0.1 * rng.standard_normal(v.shape).astype("f4")
             for k, v in net.state_dict().items()}
  net.load_state_dict({k: torch.tensor(v) for k, v in weights.items()})
  return net, weights


def run(fn, vae, *args):
  options = {"xla_backend_optimization_level": 0}  # compiles in half the time
  return jax.jit(functools.partial(fn, vae), compiler_options=options)(*args)


def error(ours, theirs):
  """max|a - b| / max|b|, for a reference of [B, C, T, H, W]."""
  theirs = theirs.permute(0, 2, 3, 4, 1).numpy()
  assert ours.shape == theirs.shape
  return np.abs(np.asarray(ours) - theirs).max() / np.abs(theirs).max()


@BOTH
@pytest.mark.parametrize("frames", [1, 5, 17])
def test_outputs_agree(vae, frames):
  net, weights = reference(vae)
  params = vae_names.to_flax(weights, vae)
  _, sh, sw = vae_lib.stride(vae)
  video = np.random.default_rng(frames).uniform(
      -1, 1, (2, frames, 2 * sh, 3 * sw, 3)).astype(np.float32)
  with torch.no_grad():
    latents = net.encode(torch.tensor(video).permute(0, 4, 1, 2, 3)).latent_dist
    pixels = net.decode(latents.mean).sample
  mean, logvar = run(vae_lib.encode, vae, params, video)
  assert error(mean, latents.mean) <= 1e-4
  assert error(logvar, latents.logvar) <= 1e-4
  out = run(vae_lib.decode, vae, params,
            latents.mean.permute(0, 2, 3, 4, 1).numpy())
  assert error(np.clip(out, -1, 1), pixels) <= 1e-4  # the reference clips
  assert np.abs(out).min() < 0.9  # and not everywhere


@pytest.mark.parametrize("vae", [
    WAN22, WAN21, dataclasses.replace(WAN22, blocks=2),
    dataclasses.replace(WAN21, blocks=2)])
def test_weights_there_and_back(vae):
  _, weights = reference(vae)
  back = vae_names.from_flax(vae_names.to_flax(weights, vae), vae)
  assert back.keys() == weights.keys()
  for name, value in weights.items():
    np.testing.assert_array_equal(back[name], value)


def test_refuses_other_weights():
  _, weights = reference(WAN22)
  name = "decoder.mid_block.resnets.0.conv1.weight"
  without = {k: v for k, v in weights.items() if k != name}
  with pytest.raises(ValueError, match=f"lack {name}"):
    vae_names.to_flax(without, WAN22)
  with pytest.raises(ValueError, match="unknown entries, first encoder.extra"):
    vae_names.to_flax(weights | {"encoder.extra": np.zeros(1)}, WAN22)
  with pytest.raises(ValueError, match=f"{name} has shape"):
    vae_names.to_flax(weights | {name: np.zeros((2, 3))}, WAN22)

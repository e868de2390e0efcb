"""The VAE against AutoencoderKLWan of diffusers, with the same weights."""

import functools

import jax
import numpy as np
import pytest

import chunks
from sora_jax.formats import vae_mapping
from sora_jax.models.vae import vae as vae_lib

pytestmark = pytest.mark.quick_compile

diffusers = pytest.importorskip("diffusers")
torch = pytest.importorskip("torch")

old = functools.partial(vae_lib.VAE, patch=1, residual=False)
new = functools.partial(vae_lib.VAE, patch=2, residual=True)
WAN21 = (
    old(base=4, mults=(1, 2), z=3, blocks=1, temporal=(True,)),
    old(base=4, mults=(1, 2, 4), z=3, blocks=1, temporal=(False, True)),
    old(base=3, mults=(1, 1, 2), z=2, blocks=2, temporal=(True, True)),
    old(base=6, mults=(2, 1), z=5, blocks=1, temporal=(False,)),
    old(base=3, mults=(1, 2, 4, 4), z=4, blocks=1,
        temporal=(False, True, True)),  # as the open weights
)
WAN22 = (
    new(base=4, decoder_base=6, mults=(1, 1), z=3, blocks=1, temporal=(True,)),
    new(base=4, decoder_base=6, mults=(1, 2, 2), z=3, blocks=1),
    new(base=3, mults=(2, 2), z=2, blocks=2, temporal=(True,)),
    new(base=6, mults=(2, 1), z=5, blocks=1, temporal=(False,)),
    new(base=2, decoder_base=3, mults=(1, 2, 4, 4), z=6, blocks=1,
        temporal=(False, True, True)),  # as the open weights
)
BOTH = pytest.mark.parametrize("vae", [WAN22[0], WAN21[0]],
                               ids=["wan22", "wan21"])


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


def compiled(fn, vae):
  options = {"xla_backend_optimization_level": 0,  # compiles in half the time
             "xla_llvm_disable_expensive_passes": True}
  return jax.jit(functools.partial(fn, vae), compiler_options=options)


def in_chunks(fn, vae, frames):
  """`vae_lib.encode` or `decode`, by `fn` of `frames` frames at a time."""
  run = compiled(fn, vae)
  return lambda params, x, size=None: chunks.in_chunks(
      lambda x, cache: run(params, x, cache, size), x, frames)


def error(ours, theirs):
  """max|a - b| / max|b|, for a reference of [B, C, T, H, W]."""
  theirs = theirs.permute(0, 2, 3, 4, 1).numpy()
  assert ours.shape == theirs.shape
  return np.abs(np.asarray(ours) - theirs).max() / np.abs(theirs).max()


@functools.cache
def outputs(vae, frames):
  """A video and what the reference makes of it: latents, and their pixels."""
  net, _ = reference(vae)
  _, sh, sw = vae_lib.stride(vae)
  video = np.random.default_rng(frames).uniform(
      -1, 1, (2, frames, 2 * sh, 3 * sw, 3)).astype(np.float32)
  with torch.no_grad():
    latents = net.encode(torch.tensor(video).permute(0, 4, 1, 2, 3)).latent_dist
    return video, latents, net.decode(latents.mean).sample


def check(vae, frames, encode, decode, pad=False):
  """The outputs of ours agree; `pad` puts them in a larger shape of noise.

  Args:
    vae, frames: the network and the length of the video.
    encode, decode: functions of (params, x) or (params, x, size).
    pad: whether there is padding.
  """
  video, latents, pixels = outputs(vae, frames)
  params = vae_mapping.to_flax(reference(vae)[1], vae)
  z, size = latents.mean.permute(0, 2, 3, 4, 1).numpy(), ()
  _, sh, sw = vae_lib.stride(vae)
  (_, _, h, w, _), (_, _, hz, wz, _) = video.shape, z.shape
  if pad:
    edge = lambda x, n, m: np.pad(x, ((0, 0), (0, 0), (0, n), (0, m), (0, 0)),
                                  constant_values=0.7)
    video, z = edge(video, 2 * sh, sw), edge(z, 2, 1)
    size = (np.array([[h, w]] * 2, np.int32),)
  mean, logvar = encode(params, video, *size)
  assert error(mean[:, :, :hz, :wz], latents.mean) <= 1e-4
  assert error(logvar[:, :, :hz, :wz], latents.logvar) <= 1e-4
  out = decode(params, z, *size)[:, :, :h, :w]
  assert error(np.clip(out, -1, 1), pixels) <= 1e-4  # the reference clips
  assert np.abs(out).min() < 0.9  # and not everywhere


@pytest.mark.slow
@pytest.mark.parametrize("vae", WAN21 + WAN22)
def test_outputs_agree(vae):
  check(vae, 5, compiled(vae_lib.encode, vae), compiled(vae_lib.decode, vae))


@pytest.mark.slow
@BOTH
@pytest.mark.parametrize("pad", [False, True], ids=["filled", "padded"])
@pytest.mark.parametrize("frames", [1, 17])
def test_any_length_agrees_whole_and_in_chunks(vae, frames, pad):
  check(vae, frames, compiled(vae_lib.encode, vae),
        compiled(vae_lib.decode, vae), pad)
  check(vae, frames,
        in_chunks(vae_lib.encode_chunk, vae, vae_lib.stride(vae)[0]),
        in_chunks(vae_lib.decode_chunk, vae, 1), pad)


@pytest.mark.slow
@pytest.mark.parametrize("vae", WAN21[:3] + WAN22[:3])
def test_weights_there_and_back(vae):
  _, weights = reference(vae)
  back = vae_mapping.from_flax(vae_mapping.to_flax(weights, vae), vae)
  assert back.keys() == weights.keys()
  for name, value in weights.items():
    np.testing.assert_array_equal(back[name], value)


def test_refuses_other_weights():
  _, weights = reference(WAN22[0])
  name = "decoder.mid_block.resnets.0.conv1.weight"
  without = {k: v for k, v in weights.items() if k != name}
  with pytest.raises(ValueError, match=f"{name} is missing"):
    vae_mapping.to_flax(without, WAN22[0])
  with pytest.raises(ValueError, match="encoder.extra is not part"):
    vae_mapping.to_flax(weights | {"encoder.extra": np.zeros(1)}, WAN22[0])
  with pytest.raises(ValueError, match=f"{name} has shape"):
    vae_mapping.to_flax(weights | {name: np.zeros((2, 3))}, WAN22[0])

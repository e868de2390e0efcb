"""The transformer agrees with the reference implementation in diffusers.

Random configurations and weights; torch and ours in float32.
"""

import diffusers
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from sora_jax import types
from sora_jax.formats import dit_mapping
from sora_jax.geometry import patches
from sora_jax.models import dit

pytestmark = pytest.mark.quick_compile

# layers, heads, head size, ffn, in, out, text width, freq dim, patch, eps
CONFIGS = (
    (2, 2, 16, 48, 4, 4, 12, 32, (1, 2, 2), 1e-6),
    (1, 3, 24, 72, 6, 3, 20, 64, (1, 2, 2), 1e-5),
    (3, 1, 32, 64, 3, 3, 16, 16, (1, 1, 1), 1e-6),
    (2, 4, 12, 96, 5, 5, 8, 256, (2, 2, 2), 1e-6),
    (2, 2, 64, 100, 8, 8, 32, 256, (1, 2, 2), 1e-6),
)
GRID = (2, 3, 4)  # patches along t, h, w


def close(ours, theirs, limit):
  ours, theirs = np.asarray(ours), np.asarray(theirs)
  assert ours.shape == theirs.shape
  error = np.max(np.abs(ours - theirs)) / np.max(np.abs(theirs))
  assert error <= limit, error


def pair(config, seed=0):
  """The reference with random weights, and our module with the same."""
  layers, heads, size, ffn, c_in, c_out, text, freq, patch, eps = config
  torch.manual_seed(seed)
  reference = diffusers.WanTransformer3DModel(
      patch_size=patch, num_attention_heads=heads, attention_head_dim=size,
      in_channels=c_in, out_channels=c_out, text_dim=text, freq_dim=freq,
      ffn_dim=ffn, num_layers=layers, eps=eps).eval()
  with torch.no_grad():  # norm scales and biases other than 1 and 0
    for p in reference.parameters():
      p.add_(.1 * torch.randn_like(p))
  weights = {k: v.numpy() for k, v in reference.state_dict().items()}
  cells = int(np.prod(patch))
  module = dit.DiT(layers=layers, heads=heads, head_size=size, ffn=ffn,
                   patch_channels=c_in * cells, out_channels=c_out * cells,
                   text_width=text, freq_dim=freq, eps=eps, patch=patch)
  return reference, module, dit_mapping.to_flax(weights, module)


def inputs(config, per_token, seed=0, rows=2, text_length=7):
  """Latents [B, t, h, w, C], times in [0, 1] and text states."""
  rng = np.random.default_rng(seed)
  draw = lambda *s: rng.standard_normal(s).astype(np.float32)
  patch = config[8]
  z = draw(rows, *(g * p for g, p in zip(GRID, patch)), config[4])
  length = int(np.prod(GRID))
  t = rng.integers(0, 1000, (rows, length if per_token else 1)) / 1000
  return z, t.astype(np.float32), draw(rows, text_length, config[6])


def ours(module, params, z, t, text, patch):
  tokens = patches.patchify(z, patch)
  b, length = tokens.seg.shape
  index = np.arange(length) if t.shape[1] > 1 else np.zeros(length, np.int32)
  out = dit.denoise(
      module, params, tokens,
      types.Times(t=t, time_index=np.broadcast_to(index, (b, length))),
      types.TextStates(states=text, seg=np.ones(text.shape[:2], np.int32)))
  return patches.unpatchify(out, z.shape[1:4], patch)


def theirs(reference, z, t, text):
  t = 1000 * t if t.shape[1] > 1 else 1000 * t[:, 0]
  out = reference(z.permute(0, 4, 1, 2, 3), t, text, return_dict=False)[0]
  return out.permute(0, 2, 3, 4, 1)


@pytest.mark.parametrize("per_token", [False, True])
@pytest.mark.parametrize("config", CONFIGS)
def test_forward(config, per_token):
  reference, module, params = pair(config)
  values = inputs(config, per_token)
  with torch.no_grad():
    wanted = theirs(reference, *map(torch.from_numpy, values))
  found = jax.jit(lambda *a: ours(module, params, *a, config[8]))(*values)
  close(found, wanted, 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("config, per_token, remat", [
    (CONFIGS[0], False, "dots"), (CONFIGS[3], True, "none")])
def test_gradients(config, per_token, remat):
  reference, module, params = pair(config)
  module = module.clone(remat=remat)
  values = inputs(config, per_token)
  z, t, text = map(torch.from_numpy, values)
  z.requires_grad_(), text.requires_grad_()
  wave = torch.cos(torch.arange(z.numel() // config[4] * config[5]).float())
  out = theirs(reference, z, t, text)
  (out * wave.reshape(out.shape)).sum().backward()

  def loss(params, z, text):
    out = ours(module, params, z, values[1], text, config[8])
    return jnp.sum(out * wave.numpy().reshape(out.shape))

  grads, dz, dtext = jax.jit(jax.grad(loss, (0, 1, 2)))(
      params, values[0], values[2])
  close(dz, z.grad, 1e-3)
  close(dtext, text.grad, 1e-3)
  grads = dit_mapping.from_flax(grads, module)
  wanted = dict(reference.named_parameters())
  assert set(grads) == set(wanted)
  for name, grad in grads.items():
    close(grad, wanted[name].grad, 1e-3)


def test_names_there_and_back():
  reference, module, params = pair(CONFIGS[3])
  weights = dit_mapping.from_flax(params, module)
  state = reference.state_dict()
  assert set(weights) == set(state)
  for name, value in state.items():
    np.testing.assert_array_equal(weights[name], value.numpy())


def test_bad_weights_are_named():
  _, module, params = pair(CONFIGS[0])
  weights = dit_mapping.from_flax(params, module)
  name = "blocks.1.ffn.net.2.weight"
  with pytest.raises(ValueError, match=f"{name} is missing"):
    dit_mapping.to_flax({k: v for k, v in weights.items() if k != name}, module)
  with pytest.raises(ValueError, match=f"{name} has shape"):
    dit_mapping.to_flax(weights | {name: weights[name][:-1]}, module)
  with pytest.raises(ValueError, match="blocks.9.extra is not part"):
    dit_mapping.to_flax(weights | {"blocks.9.extra": weights[name]}, module)

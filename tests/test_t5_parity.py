"""The T5 and UMT5 encoders agree with the reference in transformers.

Random configurations and weights; torch and ours in float32.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers

from sora_jax import mesh
from sora_jax import types
from sora_jax.formats import t5_mapping
from sora_jax.models.text import t5

pytestmark = pytest.mark.quick_compile

# layers, heads, head size, width, ffn, vocab, buckets, max distance, act, eps
CONFIGS = (
    (2, 2, 16, 32, 48, 50, 32, 128, "gelu", 1e-6),
    (1, 3, 8, 20, 72, 97, 8, 20, "gelu", 1e-5),
    (3, 4, 12, 48, 30, 33, 16, 64, "silu", 1e-6),
    (2, 1, 40, 24, 64, 64, 32, 16, "relu", 1e-6),
    (4, 5, 6, 36, 40, 80, 6, 9, "gelu", 1e-4),
)
LENGTHS = (24, 17, 1)  # of the prompts, padded to the longest
KINDS = ("t5", "umt5")
KEYS = ("num_layers", "num_heads", "d_kv", "d_model", "d_ff", "vocab_size",
        "relative_attention_num_buckets", "relative_attention_max_distance",
        "feed_forward_proj", "layer_norm_epsilon")
REFERENCE = {
    "t5": (transformers.T5Config, transformers.T5EncoderModel),
    "umt5": (transformers.UMT5Config, transformers.UMT5EncoderModel),
}

encode = jax.jit(t5.encode, static_argnums=0)


def close(ours, theirs, limit):
  ours, theirs = np.asarray(ours), np.asarray(theirs)
  assert ours.shape == theirs.shape
  error = np.max(np.abs(ours - theirs)) / np.max(np.abs(theirs))
  assert error <= limit, error


@functools.cache
def pair(kind, config):
  """The reference with random weights, and our module with the same."""
  torch.set_num_threads(1)
  torch.manual_seed(0)
  settings = dict(zip(KEYS, config))
  settings["feed_forward_proj"] = f"gated-{settings['feed_forward_proj']}"
  make_config, make = REFERENCE[kind]
  reference = make(make_config(**settings)).eval()
  with torch.no_grad():  # norm scales other than 1, biases that matter
    for name, p in reference.named_parameters():
      p.add_((1. if "relative" in name else .1) * torch.randn_like(p))
  weights = {k: v.numpy() for k, v in reference.state_dict().items()}
  module = t5.T5Encoder(**t5.fields(reference.config.to_dict()))
  return reference, module, t5_mapping.to_flax(weights, module)


def small(kind):
  """Our module and parameters of the first configuration."""
  return pair(kind, CONFIGS[0])[1:]


def prompts(vocab, seed=0):
  """Random ids [B, S] with random padding behind each prompt, and the mask."""
  mask = np.arange(max(LENGTHS)) < np.array(LENGTHS)[:, None]
  ids = np.random.default_rng(seed).integers(0, vocab, mask.shape)
  return ids.astype(np.int32), mask.astype(np.int32)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("config", CONFIGS)
def test_forward(kind, config):
  reference, module, params = pair(kind, config)
  ids, mask = prompts(module.vocab)
  with torch.no_grad():
    wanted = reference(torch.from_numpy(ids).long(), torch.from_numpy(mask))[0]
  found = encode(module, params, types.Text(ids=ids, seg=mask))
  np.testing.assert_array_equal(found.seg, mask)
  close(found.states, wanted.numpy() * mask[..., None], 1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_packed_prompts_and_padding_are_not_seen(kind):
  module, params = small(kind)
  ids, mask = prompts(module.vocab)
  alone = encode(module, params, types.Text(ids=ids, seg=mask)).states
  one, two = 10, 14  # two prompts of a row
  row = np.zeros_like(ids)
  row[0] = ids[0] % module.vocab
  seg = np.repeat([1, 2, 0], [one, two - one, ids.shape[1] - two])
  packed = encode(module, params, types.Text(
      ids=row, seg=np.stack([seg, mask[1], mask[2]]))).states[0]
  for begin, end in ((0, one), (one, two)):
    single, single_seg = np.zeros_like(ids), np.zeros_like(mask)
    single[0, :end - begin] = row[0, begin:end]
    single_seg[0, :end - begin] = 1
    states = encode(module, params,
                    types.Text(ids=single, seg=single_seg)).states
    close(packed[begin:end], states[0, :end - begin], 1e-5)
  assert np.all(packed[two:] == 0)
  other = np.where(mask == 1, ids, (ids + 1) % module.vocab)
  states = encode(module, params, types.Text(ids=other, seg=mask)).states
  np.testing.assert_array_equal(states, alone)


@pytest.mark.parametrize("buckets, far", [
    (32, 128), (32, 512), (8, 20), (16, 64), (6, 9), (64, 256), (4, 2)])
def test_buckets(buckets, far):
  config = transformers.UMT5Config(relative_attention_num_buckets=buckets,
                                   relative_attention_max_distance=far)
  module = transformers.models.umt5.modeling_umt5.UMT5Attention(config)
  distance = np.arange(-1200, 1201)
  np.testing.assert_array_equal(
      t5.bucket(distance, buckets, far),
      module._relative_position_bucket(torch.from_numpy(distance)))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16_comes_near_and_returns_float32(kind):
  module, params = small(kind)
  ids, mask = prompts(module.vocab)
  text = types.Text(ids=ids, seg=mask)
  wanted = encode(module, params, text).states
  half = jax.tree.map(lambda p: p.astype(jnp.bfloat16), params)
  found = encode(module.clone(dtype=jnp.bfloat16), half, text).states
  assert found.dtype == np.float32
  close(found, wanted, .1)


@pytest.mark.parametrize("kind", KINDS)
def test_names_there_and_back(kind):
  reference, module, params = pair(kind, CONFIGS[3])
  weights = t5_mapping.from_flax(params, module)
  state = {k: v.numpy() for k, v in reference.state_dict().items()}
  assert set(weights) == set(state) - {"encoder.embed_tokens.weight"}
  for name, value in weights.items():
    np.testing.assert_array_equal(value, state[name])
  one = dict(weights)  # pair() read both names of the embedding
  one["encoder.embed_tokens.weight"] = one.pop("shared.weight")
  for state in (weights, one):
    back = t5_mapping.to_flax(state, module)
    jax.tree.map(np.testing.assert_array_equal, back, params)


@pytest.mark.parametrize("kind", KINDS)
def test_each_parameter_has_one_sharding_rule(kind):
  module, params = small(kind)
  fresh = jax.eval_shape(lambda: t5.init(module, jax.random.key(0)))
  assert jax.tree.structure(fresh) == jax.tree.structure(params)
  specs = mesh.param_specs(fresh, mesh.TEXT_RULES)
  assert any(specs["blocks"]["mlp"]["gate"]["kernel"])


@pytest.mark.slow
def test_fresh_scores_have_unit_variance():
  module = small("umt5")[0]
  params = t5.init(module, jax.random.key(0))
  x = np.random.default_rng(0).standard_normal((400, module.width))
  q, k = (np.asarray(params["blocks"][name]["kernel"]) for name in "qk")
  for i in range(module.layers):
    heads = lambda y: y.reshape(len(y), module.heads, -1)
    scores = np.einsum("lnk,snk->nls", heads(x @ q[i]), heads(x @ k[i]))
    np.testing.assert_allclose(np.var(scores), 1, rtol=.2)
  assert np.any(q[0] != q[1])


def test_bad_weights_are_named():
  module, params = small("t5")
  weights = t5_mapping.from_flax(params, module)
  name = "encoder.block.1.layer.1.DenseReluDense.wo.weight"
  without = lambda name: {k: v for k, v in weights.items() if k != name}
  with pytest.raises(ValueError, match=f"{name} is missing"):
    t5_mapping.to_flax(without(name), module)
  with pytest.raises(ValueError, match="shared.weight is missing"):
    t5_mapping.to_flax(without("shared.weight"), module)
  with pytest.raises(ValueError, match=f"{name} has shape"):
    t5_mapping.to_flax(weights | {name: weights[name][:-1]}, module)
  with pytest.raises(ValueError, match="encoder.extra is not part"):
    t5_mapping.to_flax(weights | {"encoder.extra": weights[name]}, module)


@pytest.mark.parametrize("key, value", [
    ("model_type", "clip"), ("feed_forward_proj", "relu"),
    ("feed_forward_proj", "gated-tanh"), ("d_kv", None), ("num_layers", 0),
    ("vocab_size", "many"), ("relative_attention_num_buckets", 3),
    ("relative_attention_max_distance", 8)])
def test_an_unsupported_config_is_named(key, value):
  config = transformers.UMT5Config().to_dict()
  assert t5.fields(config)["per_layer_bias"]
  with pytest.raises(ValueError, match=key):
    t5.fields(config | {key: value})


def test_an_early_config_without_distances_means_the_usual_ones():
  config = transformers.T5Config(feed_forward_proj="gated-gelu").to_dict()
  early = {k: v for k, v in config.items() if "relative" not in k}
  assert t5.fields(early) == t5.fields(config)

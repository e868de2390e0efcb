"""The cost formulas count what is traced."""

import functools

import jax
import jax.numpy as jnp
import pytest

from sora_jax import types
from sora_jax.models import dit
from sora_jax.models import flops
from sora_jax.models import traced_flops
from sora_jax.models.text import encoder
from sora_jax.models.vae import vae

DIT = dit.DiT(layers=1, heads=2, head_size=8, ffn=32, patch_channels=4,
              out_channels=4, text_width=16, remat="none")
TEXT = encoder.TextEncoder(vocab=11, width=16, layers=1, heads=2, ffn=32)


def test_the_cost_formulas_agree_with_what_is_traced():
  big = dit.DiT(layers=6, heads=6, head_size=64, ffn=1536, patch_channels=64,
                out_channels=64, text_width=256)
  for module in (DIT, big):
    assert flops.dit_params(module) == traced_flops.params_of(
        functools.partial(dit.init, module))
  tokens, text, times = 48, 12, 3  # small enough for dense attention
  shape = jax.ShapeDtypeStruct
  args = (
      types.Tokens(x=shape((1, tokens, 64), jnp.float32),
                   pos=shape((1, tokens, 3), jnp.float32),
                   seg=shape((1, tokens), jnp.int32)),
      types.Times(t=shape((1, times), jnp.float32),
                  time_index=shape((1, tokens), jnp.int32)),
      types.TextStates(states=shape((1, text, 256), jnp.float32),
                       seg=shape((1, text), jnp.int32)))
  params = jax.eval_shape(functools.partial(dit.init, big), jax.random.key(0))
  assert flops.dit_flops(big, [(tokens, text)], times) == traced_flops.count(
      functools.partial(dit.denoise, big), params, *args)
  params = jax.eval_shape(functools.partial(encoder.init, TEXT),
                          jax.random.key(0))
  ids = shape((1, text), jnp.int32)
  assert flops.text_flops(TEXT, [text]) == traced_flops.count(
      functools.partial(encoder.encode, TEXT), params,
      types.Text(ids=ids, seg=ids))


def test_the_cost_of_packed_clips_is_the_sum_of_theirs():
  one, two = flops.dit_flops(DIT, [(30, 5)]), flops.dit_flops(DIT, [(50, 7)])
  assert flops.dit_flops(DIT, [(30, 5), (50, 7)]) == one + two
  assert flops.dit_flops(DIT, [(80, 12)]) > one + two  # attention is quadratic


def test_tracing_counts_convolutions_scans_and_branches():
  x, w = jnp.zeros((2, 8, 8, 3)), jnp.zeros((3, 3, 3, 5))
  conv = lambda x: jax.lax.conv_general_dilated(
      x, w, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
  assert traced_flops.count(conv, x) == 2 * (2 * 4 * 4 * 5) * 27
  m = jnp.zeros((7, 7))
  many = lambda m: jax.lax.scan(lambda c, _: (c @ m, None), m, None, 4)[0]
  assert traced_flops.count(jax.checkpoint(many), m) == 4 * 2 * 7**3
  branch = lambda m: jax.lax.cond(m[0, 0] > 0, many, lambda m: m @ m, m)
  assert traced_flops.count(branch, m) == 4 * 2 * 7**3
  with pytest.raises(ValueError, match="unknown length"):
    traced_flops.count(lambda m: jax.lax.while_loop(
        lambda c: c[0, 0] < 1, lambda c: c @ m, m), m)


@pytest.mark.slow
def test_the_vae_costs_as_much_as_its_pixels():
  net = vae.VAE(base=8, mults=(1, 1), z=4, blocks=1, temporal=(True,), patch=1,
                residual=False)
  count = lambda fn, t: fn(net, (t, 16, 16))
  for fn in (traced_flops.encode_flops, traced_flops.decode_flops):
    first, second, third = (count(fn, t) for t in (5, 9, 13))
    assert first > 0 and third - second == second - first  # linear in time


@pytest.mark.slow
@pytest.mark.parametrize("frames", (1, 3, 7))
def test_the_cost_of_a_vae_is_that_of_its_trace(frames):
  net = vae.VAE(base=8, mults=(1, 1), z=4, blocks=1, temporal=(True,), patch=1)
  params = jax.eval_shape(functools.partial(vae.init, net), jax.random.key(0))
  traced = lambda fn, *shape: traced_flops.count(
      functools.partial(fn, net), params,
      jax.ShapeDtypeStruct((1, *shape), "float32"))
  size = frames, 12, 18
  assert traced_flops.encode_flops(net, size) == traced(vae.encode, *size, 3)
  assert traced_flops.decode_flops(net, size) == traced(
      vae.decode, (frames - 1) // 2 + 1, 6, 9, 4)

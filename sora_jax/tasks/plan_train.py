"""The training steps that `plan` compiles."""

import functools

import jax
import numpy as np

from sora_jax import mesh as mesh_lib
from sora_jax import types
from sora_jax.diffusion import flow
from sora_jax.models import dit
from sora_jax.models import flops as flops_lib
from sora_jax.models.text import encoder as encoder_lib
from sora_jax.models.vae import vae
from sora_jax.tasks import build
from sora_jax.tasks import programs
from sora_jax.training import state as state_lib
from sora_jax.training.objectives import dit as dit_lib
from sora_jax.training.objectives import vae as vae_lib


def train_dit(request: programs.Request, mesh) -> list[programs.Program]:
  """A training step of every shape of the config."""
  cfg, network = request.cfg, programs.transformer(request)
  key = jax.random.key(0)
  if own := "text_encoder" in cfg:
    encoder = build.text_encoder_of(cfg)
    encode = lambda p, text: encoder_lib.encode(encoder, p, text)
    begin = lambda key: encoder_lib.init(encoder, key)
  else:
    encode, begin = lambda p, text: text, None
  program = state_lib.program(
      dit_lib.make(lambda p, *args: dit.denoise(network, p, *args),
                         encode, flow.Process(**cfg.process),
                         cfg.data.max_segments + 1),
      dit_lib.make_init(lambda key: dit.init(network, key), begin),
      build.optimizer_of(cfg), mesh,
      {"transformer": mesh_lib.DIT_RULES, "text_encoder": mesh_lib.TEXT_RULES},
      key)
  found, prompt = [], cfg.data.text_limit
  for rows, length in cfg.data.shapes:
    programs.check(rows, length, mesh)
    text = cfg.data.text_length
    batch = types.batch_spec(rows, length, network.patch_channels, text)
    if not own:
      shape = (rows, text, network.text_width)
      batch = batch.replace(text=types.TextStates(
          jax.ShapeDtypeStruct(shape, np.float32), batch.text.seg))
    flops = flops_lib.dit_flops(network, [(length, prompt)]) * rows
    attention = flops_lib.attention_flops(network, [(length, prompt)]) * rows
    padded = flops_lib.attention_flops(network, [(length, prompt)],
                                  flops_lib.LANES) * rows
    dense = flops - attention
    text_flops = flops_lib.text_flops(encoder, [prompt]) * rows if own else 0
    # What is kept is the attention, so that only the products run again.
    again = 1 if network.remat == "full" else 0
    found.append(programs.Program(
        f"{rows} x {length:,}", rows * length,
        flops_lib.Work(flops_lib.TRAIN * (flops + text_flops),
             (flops_lib.TRAIN + again) * dense + flops_lib.TRAIN * text_flops,
             flops_lib.TRAIN * padded),
        mesh.size, functools.partial(
            program.step.lower, program.abstract, programs.on_rows(batch, mesh),
            programs.whole(key, mesh))))
  return found


def train_vae(request: programs.Request, mesh) -> list[programs.Program]:
  """A training step of every bucket of the config."""
  cfg = request.cfg
  module, loss = build.vae_of(cfg), vae_lib.VaeLoss(**cfg.objective)
  key = jax.random.key(0)
  program = state_lib.program(
      vae_lib.make(lambda p, x: vae.encode(module, p, x),
                         lambda p, z: vae.decode(module, p, z), loss),
      vae_lib.make_init(lambda key: vae.init(module, key), loss),
      build.optimizer_of(cfg), mesh, {"vae": mesh_lib.VAE_RULES}, key)
  found = []
  for t, h, w, rows, _ in cfg.data.buckets:
    programs.check(rows, t * h * w, mesh)
    flops, padded = (rows * flops_lib.TRAIN * sum(
        programs.on_chip(mesh, count)(module, (t, h, w), lanes)
        for count in (flops_lib.encode_flops, flops_lib.decode_flops))
                     for lanes in (1, flops_lib.LANES))
    batch = types.Pixels(jax.ShapeDtypeStruct((rows, t, h, w, 3), np.uint8))
    found.append(programs.Program(
        f"{rows} x {t} x {h} x {w}", rows * t * h * w,
        flops_lib.Work(flops, padded, 0),
        mesh.size, functools.partial(
            program.step.lower, program.abstract, programs.on_rows(batch, mesh),
            programs.whole(key, mesh))))
  return found

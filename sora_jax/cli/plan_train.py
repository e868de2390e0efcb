"""The training steps that `plan` compiles."""

import functools

import jax
import numpy as np

from sora_jax import mesh as mesh_lib
from sora_jax import types
from sora_jax.cli import parts
from sora_jax.cli import plan_programs as shapes
from sora_jax.diffusion import process as process_lib
from sora_jax.models import dit
from sora_jax.models import text_encoder
from sora_jax.models import vae
from sora_jax.training import cost
from sora_jax.training import dit_objective
from sora_jax.training import state as state_lib
from sora_jax.training import vae_objective


def train_dit(request: shapes.Request, mesh) -> list[shapes.Program]:
  """A training step of every shape of the config."""
  cfg, network = request.cfg, shapes.transformer(request)
  key = jax.random.key(0)
  if own := "text_encoder" in cfg:
    encoder = parts.text_encoder_of(cfg)
    encode = lambda p, text: text_encoder.encode(encoder, p, text)
    begin = lambda key: text_encoder.init(encoder, key)
  else:
    encode, begin = lambda p, text: text, None
  program = state_lib.program(
      dit_objective.make(lambda p, *args: dit.denoise(network, p, *args),
                         encode, process_lib.Process(**cfg.process),
                         cfg.data.max_segments + 1),
      dit_objective.make_init(lambda key: dit.init(network, key), begin),
      parts.optimizer_of(cfg), mesh,
      {"transformer": mesh_lib.DIT_RULES, "text_encoder": mesh_lib.TEXT_RULES},
      key)
  found, prompt = [], cfg.data.text_limit
  for rows, length in cfg.data.shapes:
    shapes.check(rows, length, mesh)
    text = cfg.data.text_length
    batch = types.batch_spec(rows, length, network.patch_channels, text)
    if not own:
      shape = (rows, text, network.text_width)
      batch = batch.replace(text=types.TextStates(
          jax.ShapeDtypeStruct(shape, np.float32), batch.text.seg))
    flops = cost.dit_flops(network, [(length, prompt)]) * rows
    attention = cost.attention_flops(network, [(length, prompt)]) * rows
    padded = cost.attention_flops(network, [(length, prompt)],
                                  cost.LANES) * rows
    dense = flops - attention
    text_flops = cost.text_flops(encoder, [prompt]) * rows if own else 0
    # What is kept is the attention, so that only the products run again.
    again = 1 if network.remat == "full" else 0
    found.append(shapes.Program(
        f"{rows} x {length:,}", rows * length,
        cost.Work(cost.TRAIN * (flops + text_flops),
             (cost.TRAIN + again) * dense + cost.TRAIN * text_flops,
             cost.TRAIN * padded),
        mesh.size, functools.partial(
            program.step.lower, program.abstract, shapes.on_rows(batch, mesh),
            shapes.whole(key, mesh))))
  return found


def train_vae(request: shapes.Request, mesh) -> list[shapes.Program]:
  """A training step of every bucket of the config."""
  cfg = request.cfg
  module, loss = parts.vae_of(cfg), vae_objective.VaeLoss(**cfg.objective)
  key = jax.random.key(0)
  program = state_lib.program(
      vae_objective.make(lambda p, x: vae.encode(module, p, x),
                         lambda p, z: vae.decode(module, p, z), loss),
      vae_objective.make_init(lambda key: vae.init(module, key), loss),
      parts.optimizer_of(cfg), mesh, {"vae": mesh_lib.VAE_RULES}, key)
  found = []
  for t, h, w, rows, _ in cfg.data.buckets:
    shapes.check(rows, t * h * w, mesh)
    flops, padded = (rows * cost.TRAIN * sum(
        shapes.on_chip(mesh, count)(module, (t, h, w), lanes)
        for count in (cost.encode_flops, cost.decode_flops))
                     for lanes in (1, cost.LANES))
    batch = types.Pixels(jax.ShapeDtypeStruct((rows, t, h, w, 3), np.uint8))
    found.append(shapes.Program(
        f"{rows} x {t} x {h} x {w}", rows * t * h * w,
        cost.Work(flops, padded, 0),
        mesh.size, functools.partial(
            program.step.lower, program.abstract, shapes.on_rows(batch, mesh),
            shapes.whole(key, mesh))))
  return found

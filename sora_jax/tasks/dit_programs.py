"""The programs of the transformer, for chips that are not there."""

import dataclasses
import functools
import math
from typing import Any

import jax
import numpy as np

from sora_jax import mesh as mesh_lib
from sora_jax import messages
from sora_jax import types
from sora_jax.diffusion import steppers
from sora_jax.formats import pretrained
from sora_jax.geometry import sizes
from sora_jax.models import dit
from sora_jax.models import flops as flops_lib
from sora_jax.models.attention import splash
from sora_jax.models.text import encoder as encoder_lib
from sora_jax.models.vae import vae
from sora_jax.tasks import build
from sora_jax.tasks import programs
from sora_jax.training import state as state_lib
from sora_jax.training.objectives import dit as objective_lib


def training_steps(request: programs.Request, mesh: Any) -> programs.Compilable:
  """A training step of every shape of the config."""
  cfg, network = request.cfg, transformer(request)
  key = jax.random.key(0)
  encoder = build.text_encoder_of(cfg) if "text_encoder" in cfg else None
  encode, init_text = lambda p, text: text, None
  if encoder:
    encode = functools.partial(encoder_lib.encode, encoder)
    init_text = functools.partial(encoder_lib.init, encoder)
  program = state_lib.program(
      objective_lib.dit_objective(
          functools.partial(dit.denoise, network), encode,
          build.process_of(cfg), cfg.data.max_segments + 1),
      objective_lib.init_params(functools.partial(dit.init, network),
                                init_text),
      build.optimizer_of(cfg), mesh,
      {"transformer": mesh_lib.DIT_RULES, "text_encoder": mesh_lib.TEXT_RULES},
      key)
  found = []
  for rows, length in cfg.data.shapes:
    programs.check_division(rows, length, mesh)
    text = cfg.data.text_length
    batch = types.batch_spec(rows, length, network.patch_channels, text)
    if not encoder:
      batch = dataclasses.replace(batch, text=types.TextStates(
          jax.ShapeDtypeStruct((rows, text, network.text_width), np.float32),
          batch.text.seg))
    found.append(programs.Program(
        f"{rows} x {length:,}", rows * length,
        training_work(network, encoder, rows, length, cfg.data.text_limit),
        mesh.size, functools.partial(
            program.step.lower, program.abstract,
            programs.along_rows(batch, mesh), programs.replicated(key, mesh),
            programs.replicated(program.phases, mesh))))
  return programs.Compilable(flops_lib.dit_params(network), "tokens", found)


def sampling_step(request: programs.Request, mesh: Any) -> programs.Compilable:
  """A guided step of Euler's method, for one video or image.

  It is one evaluation; what other steppers do beside it is little.
  """
  from sora_jax.generation import step as step_lib  # training needs none of it
  cfg, network = request.cfg, transformer(request)
  (width, height), frames = request.size, request.frames
  latent = sizes.latent_size((frames, height, width),
                             vae.stride(build.vae_of(request.vae_cfg)),
                             network.patch)
  length = math.prod(sizes.grid_size(latent, network.patch))
  array = lambda *s: jax.ShapeDtypeStruct(s, np.float32)
  # The transformer fills up tokens that do not divide over the mesh.
  place = (programs.replicated if length % mesh.shape["context"] else
           lambda spec, mesh: programs.along_context(spec, mesh, spec.ndim - 2))
  x = place(array(1, length, network.patch_channels), mesh)
  stepper = steppers.STEPPERS["euler"]
  carry = stepper.init(x)
  coefficients = jax.tree.map(lambda _: programs.replicated(array(), mesh),
                              stepper.coefficients(np.array([1.0, 0.0])))
  limit = cfg.data.text_limit
  text = programs.replicated(types.TextStates(
      array(1, limit, network.text_width),
      jax.ShapeDtypeStruct((1, limit), np.int32)), mesh)
  sampler = step_lib.Sampler(
      network, build.process_of(cfg), stepper, cfg.sampling.guidance,
      tuple(cfg.sampling.guidance_interval))
  step = jax.jit(
      mesh_lib.on(mesh, functools.partial(step_lib.sample_step, sampler)),
      donate_argnums=2, out_shardings=jax.tree.map(lambda x: x.sharding, carry))
  inputs = step_lib.Inputs(place(array(length, 3), mesh), text, text)
  one = [(length, limit)]
  flops, attention = (2 * count(network, one) for count in (
      flops_lib.dit_flops, flops_lib.attention_flops))
  work = flops_lib.Work(
      flops, flops - attention,
      2 * flops_lib.attention_flops(network, one, flops_lib.LANES))
  program = programs.Program(
      f"{width}x{height}, {messages.count(frames, 'frame')}", length, work,
      mesh.shape["context"] * mesh.shape["tensor"],
      functools.partial(step.lower, _stored_params(network, mesh), inputs,
                        carry, step_lib.Step(coefficients)),
      cfg.sampling.steps)
  return programs.Compilable(flops_lib.dit_params(network), "tokens", [program])


def transformer(request: programs.Request) -> dit.DiT:
  """The transformer of a request, for the latents of its VAE."""
  if request.vae_cfg is None:
    raise ValueError("--vae=FILE:VARIANT is needed, such as configs/vae.py:tiny: "
                     "this config does not say whose latents it is for")
  return build.dit_of(request.cfg, build.vae_of(request.vae_cfg).z)


def training_work(network: dit.DiT, encoder: encoder_lib.TextEncoder | None,
                  rows: int, length: int, prompt: int) -> flops_lib.Work:
  """The arithmetic of a training step of one shape, a clip in each row.

  Args:
    network, encoder: what is trained.
    rows, length: of the batch.
    prompt: text tokens of a clip.
  """
  one = [(length, prompt)]
  flops = flops_lib.dit_flops(network, one) * rows
  attention = flops_lib.attention_flops(network, one) * rows
  # A forward pass is two products.
  products = (flops_lib.attention_flops(network, one, flops_lib.LANES) * rows
              * splash.PRODUCTS / 2)
  text = flops_lib.text_flops(encoder, [prompt]) * rows if encoder else 0
  # What is kept is the attention, so that only the products run again.
  again = 0 if network.remat in ("none", "dots") else 1
  return flops_lib.Work(
      flops_lib.TRAIN * (flops + text),
      (flops_lib.TRAIN + again) * (flops - attention) + flops_lib.TRAIN * text,
      products)


def _stored_params(network: dit.DiT, mesh: Any) -> Any:
  """The shapes of the parameters as a model folder is loaded, on a mesh."""
  params = jax.eval_shape(functools.partial(dit.init, network),
                          jax.random.key(0))
  stored = lambda path, x: network.dtype if pretrained.CAST.match(
      mesh_lib.path_name(path)) else x.dtype
  return jax.tree_util.tree_map_with_path(
      lambda path, x, place: jax.ShapeDtypeStruct(
          x.shape, stored(path, x), sharding=place), params,
      mesh_lib.shardings(mesh, mesh_lib.fit(
          mesh, params, mesh_lib.param_specs(params, mesh_lib.DIT_RULES))))

"""What `plan` compiles of sampling, decoding and encoding."""

import functools

import jax
import numpy as np

from sora_jax import mesh as mesh_lib
from sora_jax import types
from sora_jax.diffusion import flow
from sora_jax.diffusion import steppers
from sora_jax.encoding import encoder
from sora_jax.formats import pretrained
from sora_jax.generation import step as step_lib
from sora_jax.geometry import sizes
from sora_jax.models import dit
from sora_jax.models import flops as flops_lib
from sora_jax.models.vae import vae
from sora_jax.tasks import build
from sora_jax.tasks import programs


def sample(request: programs.Request, mesh) -> list[programs.Program]:
  """A guided step of Euler's method, for one video or image.

  It is one evaluation; what other steppers do beside it is little.
  """
  cfg, network = request.cfg, programs.transformer(request)
  (width, height), frames = request.size, request.frames
  latent = sizes.latent_size((frames, height, width),
                                  vae.stride(request.compressor), network.patch)
  length = int(np.prod(sizes.grid_size(latent, network.patch)))
  params = jax.eval_shape(functools.partial(dit.init, network),
                          jax.random.key(0))
  stored = lambda path, x: network.dtype if pretrained.CAST.match(
      mesh_lib.path_name(path)) else x.dtype
  params = jax.tree_util.tree_map_with_path(
      lambda path, x, place: jax.ShapeDtypeStruct(
          x.shape, stored(path, x), sharding=place), params,
      mesh_lib.shardings(mesh, mesh_lib.param_specs(params,
                                                    mesh_lib.DIT_RULES)))
  array = lambda *s: jax.ShapeDtypeStruct(s, np.float32)
  # The transformer fills up tokens that do not divide over the mesh.
  lie = (programs.whole if length % mesh.shape["context"]
         else lambda spec, mesh: programs.along(spec, mesh, spec.ndim - 2))
  x = lie(array(1, length, network.patch_channels), mesh)
  stepper = steppers.STEPPERS["euler"]
  carry = stepper.init(x)
  coefficients = jax.tree.map(lambda _: programs.whole(array(), mesh),
                              stepper.coefficients(np.array([1.0, 0.0])))
  limit = cfg.data.text_limit
  text = programs.whole(types.TextStates(
      array(1, limit, network.text_width),
      jax.ShapeDtypeStruct((1, limit), np.int32)), mesh)
  sampler = step_lib.Sampler(
      network, flow.Process(**cfg.process), stepper, cfg.sampling.guidance,
      tuple(cfg.sampling.guidance_interval))
  step = jax.jit(
      mesh_lib.on(mesh, functools.partial(step_lib.sample_step, sampler)),
      donate_argnums=2, out_shardings=jax.tree.map(lambda x: x.sharding, carry))
  inputs = step_lib.Inputs(lie(array(length, 3), mesh), text, text)
  row = [(length, limit)]
  flops, attention = (2 * count(network, row) for count in (
      flops_lib.dit_flops, flops_lib.attention_flops))
  work = flops_lib.Work(flops, flops - attention,
                   2 * flops_lib.attention_flops(network, row, flops_lib.LANES))
  chips = mesh.shape["context"] * mesh.shape["tensor"]
  return [programs.Program(
      f"{width}x{height}, {frames} frames", length, work, chips,
      functools.partial(step.lower, params, inputs, carry,
                        step_lib.Step(coefficients)),
      cfg.sampling.steps)]


def decode(request: programs.Request, mesh) -> list[programs.Program]:
  """The decoder: the first latent of a video, and one that follows."""
  module, size = build.vae_of(request.cfg), video_size(request)
  params = programs.whole(jax.eval_shape(functools.partial(vae.init, module),
                                       jax.random.key(0)), mesh)
  t, h, w = sizes.latent_size(size, vae.stride(module), sizes.DEFAULT_PATCH)
  st = vae.stride(module)[0]
  z = programs.along(jax.ShapeDtypeStruct((1, 1, h, w, module.z), np.float32),
                   mesh, 3)
  run = jax.jit(mesh_lib.on(mesh, functools.partial(encoder.decode_chunk, module)),
                donate_argnums=2)
  _, ctx = jax.eval_shape(run, params, z, None)
  ctx = jax.tree.map(lambda x: programs.along(x, mesh, 3), ctx)
  count = lambda frames, lanes: programs.on_chip(mesh, flops_lib.decode_flops)(
      module, (frames, *size[1:]), lanes)
  area = size[1] * size[2]
  lanes = (1, flops_lib.LANES)
  works = [flops_lib.Work(*(count(1, k) for k in lanes), 0), flops_lib.Work(
      *(count(1 + 4 * st, k) - count(1 + 3 * st, k) for k in lanes), 0)]
  found = [programs.Program(
      f"{named(request)}: {frames} of them", frames * area, work,
      mesh.shape["context"], functools.partial(run.lower, params, z, before),
      runs)
           for frames, work, before, runs in zip((1, st), works, (None, ctx),
                                                 (1, t - 1))]
  return found if t > 1 else found[:1]


def encode(request: programs.Request, mesh) -> list[programs.Program]:
  """The encoder: the first frame of a batch of clips, and a part that follows."""
  module, size = build.vae_of(request.cfg), video_size(request)
  params = programs.whole(jax.eval_shape(functools.partial(vae.init, module),
                                jax.random.key(0)), mesh)
  st, rows = vae.stride(module)[0], mesh_lib.row_shares(mesh)
  video = lambda t: programs.along(jax.ShapeDtypeStruct(
      (rows, t, *size[1:], 3), np.uint8), mesh, 3)
  run = jax.jit(mesh_lib.on(mesh, functools.partial(encoder.encode_chunk, module)))
  _, ctx = jax.eval_shape(run, params, video(1), None, None)
  ctx = jax.tree.map(lambda x: programs.along(x, mesh, 3), ctx)
  count = lambda t, lanes: rows * programs.on_chip(mesh, flops_lib.encode_flops)(
      module, (t, *size[1:]), lanes)
  parts_of = lambda k: (count(1, k), count(1 + st, k) - count(1, k))
  found = []
  for t, flops, padded, before, runs in zip(
      (1, st), parts_of(1), parts_of(flops_lib.LANES), (None, ctx),
      (1, (size[0] - 1) // st)):
    found.append(programs.Program(
        f"{named(request)}: {t} of them", rows * t * size[1] * size[2],
        flops_lib.Work(flops, padded, 0), mesh.size,
        functools.partial(run.lower, params, video(t), before, None),
        runs))
  return found[:1] if size[0] == 1 else found


def video_size(request: programs.Request) -> tuple[int, int, int]:
  """(T, H, W) that the video of a request is extended to."""
  return sizes.padded_size(
      (request.frames, *request.size[::-1]),
      vae.stride(build.vae_of(request.cfg)), sizes.DEFAULT_PATCH)


def named(request: programs.Request) -> str:
  """'1920x1080, 97 frames'."""
  return "{}x{}, {} frames".format(*request.size, request.frames)

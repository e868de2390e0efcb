"""The programs of the compression network, for chips that are not there."""

import functools
import math
from typing import Any

import jax
import numpy as np

from sora_jax import mesh as mesh_lib
from sora_jax import messages
from sora_jax import ranges
from sora_jax import types
from sora_jax.encoding import encoder as encoder_lib
from sora_jax.geometry import frames as frames_lib
from sora_jax.geometry import sizes
from sora_jax.models import flops as flops_lib
from sora_jax.models import traced_flops
from sora_jax.models.vae import vae
from sora_jax.tasks import build
from sora_jax.tasks import programs
from sora_jax.training import state as state_lib
from sora_jax.training.objectives import vae as objective_lib

LANES = (1, flops_lib.LANES)  # of the model's arithmetic, and of the chip's


def layout(request: programs.Request, where: programs.Slice,
           axes: dict[str, int] | None = None) -> programs.Request:
  """The request with a mesh for a slice, and with clips for it.

  Clips are spread over all chips, as many on each as the config has; of a video
  that is decoded, the columns.
  """
  if request.what == "decode":
    columns = sizes.latent_size(_padded_size(request), vae.stride(
        build.vae_of(request.cfg)))[2]
    context = math.gcd(where.chips // where.slices, columns)
    return programs.laid_out(request, {
        "data": where.chips // context, "fsdp": 1, "context": context,
        "tensor": 1})
  axes = axes or {"data": where.chips, "fsdp": 1, "context": 1, "tensor": 1}
  if request.what == "encode" or request.fixed:
    return programs.laid_out(request, axes)
  now, before = (max(m["data"], 1) * m["fsdp"] for m in (axes, request.cfg.mesh))
  return programs.laid_out(request, axes, buckets=tuple(
      (*size, -(-rows // before) * now, share)
      for *size, rows, share in request.cfg.data.buckets))


def loss_of(cfg: Any) -> objective_lib.VaeLoss:
  """The objective of a config."""
  return ranges.made(objective_lib.VaeLoss, "objective", cfg.objective)


def training_steps(request: programs.Request, mesh: Any) -> programs.Compilable:
  """A training step of every bucket of the config."""
  cfg = request.cfg
  module, loss = build.vae_of(cfg), loss_of(cfg)
  key = jax.random.key(0)
  program = state_lib.program(
      objective_lib.reconstruction_objective(
          functools.partial(vae.encode, module),
          functools.partial(vae.decode, module), loss),
      objective_lib.init_params(functools.partial(vae.init, module), loss),
      build.optimizer_of(cfg), mesh, {"vae": mesh_lib.VAE_RULES}, key)
  found = []
  for t, h, w, rows, _ in cfg.data.buckets:
    programs.check_division(rows, t * h * w, mesh)
    flops, padded = (rows * flops_lib.TRAIN * sum(
        programs.on_one_chip(mesh, count)(module, (t, h, w), lanes)
        for count in (traced_flops.encode_flops, traced_flops.decode_flops))
                     for lanes in LANES)
    batch = types.Pixels(jax.ShapeDtypeStruct((rows, t, h, w, 3), np.uint8))
    found.append(programs.Program(
        f"{rows} x {t} x {h} x {w}", rows * t * h * w,
        flops_lib.Work(flops, padded, 0), mesh.size, functools.partial(
            program.step.lower, program.abstract,
            programs.along_rows(batch, mesh), programs.replicated(key, mesh),
            programs.replicated(program.phases, mesh))))
  return _compilable(module, found)


def decoder(request: programs.Request, mesh: Any) -> programs.Compilable:
  """The decoder: the first latent of a video, and one that follows."""
  module, size = build.vae_of(request.cfg), _padded_size(request)
  params = _params(module, mesh)
  t, h, w = sizes.latent_size(size, vae.stride(module))
  st = vae.stride(module)[0]
  z = programs.along_context(
      jax.ShapeDtypeStruct((1, 1, h, w, module.z), np.float32), mesh, 3)
  run = jax.jit(mesh_lib.on(mesh, functools.partial(
      encoder_lib.decode_chunk, module)), donate_argnums=2)
  cache = _cache(run, mesh, params, z, None)
  count = lambda frames, lanes: programs.on_one_chip(
      mesh, traced_flops.decode_flops)(module, (frames, *size[1:]), lanes)
  area = size[1] * size[2]
  first = [count(1, k) for k in LANES]
  later = [count(frames_lib.frame_count(5, st), k)
           - count(frames_lib.frame_count(4, st), k) for k in LANES]
  works = [flops_lib.Work(flops, padded, 0) for flops, padded in (first, later)]
  found = [
      programs.Program(
          f"{_name(request)}: {frames} of them", frames * area, work,
          mesh.shape["context"],
          functools.partial(run.lower, params, z, before), runs)
      for frames, work, before, runs in zip((1, st), works, (None, cache),
                                            (1, t - 1))]
  return _compilable(module, found if t > 1 else found[:1])


def encoder(request: programs.Request, mesh: Any) -> programs.Compilable:
  """The encoder: the first frame of a batch of clips, and a chunk that follows."""
  module, size = build.vae_of(request.cfg), _padded_size(request)
  params = _params(module, mesh)
  st, rows = vae.stride(module)[0], mesh_lib.row_shares(mesh)
  video = lambda t: programs.along_context(jax.ShapeDtypeStruct(
      (rows, t, *size[1:], 3), np.uint8), mesh, 3)
  run = jax.jit(mesh_lib.on(mesh, functools.partial(
      encoder_lib.encode_chunk, module)))
  cache = _cache(run, mesh, params, video(1), None, None)
  count = lambda t, lanes: rows * programs.on_one_chip(
      mesh, traced_flops.encode_flops)(module, (t, *size[1:]), lanes)
  counts = lambda k: (count(1, k), count(1 + st, k) - count(1, k))
  found = [
      programs.Program(
          f"{_name(request)}: {t} of them", rows * t * size[1] * size[2],
          flops_lib.Work(flops, padded, 0), mesh.size,
          functools.partial(run.lower, params, video(t), before, None), runs)
      for t, flops, padded, before, runs in zip(
          (1, st), *map(counts, LANES), (None, cache),
          (1, frames_lib.full_latents(size[0], st) - 1))]
  return _compilable(module, found[:1] if size[0] == 1 else found)


def _compilable(module: vae.VAE, found) -> programs.Compilable:
  return programs.Compilable(
      traced_flops.params_of(functools.partial(vae.init, module)), "pixels",
      found)


def _params(module: vae.VAE, mesh):
  """The shapes of the parameters, whole on every chip."""
  return programs.replicated(jax.eval_shape(
      functools.partial(vae.init, module), jax.random.key(0)), mesh)


def _cache(run, mesh, *args):
  """The shapes of the conv cache that a part leaves for the next one."""
  return jax.tree.map(lambda x: programs.along_context(x, mesh, 3),
                      jax.eval_shape(run, *args)[1])


def _padded_size(request: programs.Request) -> tuple[int, int, int]:
  """(T, H, W) that the video of a request is extended to."""
  return sizes.padded_size((request.frames, *request.size[::-1]),
                           vae.stride(build.vae_of(request.cfg)),
                           sizes.DEFAULT_PATCH)


def _name(request: programs.Request) -> str:
  """'1920x1080, 97 frames'."""
  width, height = request.size
  return f"{width}x{height}, {messages.count(request.frames, 'frame')}"

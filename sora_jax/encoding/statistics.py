"""Mean and standard deviation of the latents of a data set."""

from collections.abc import Callable
from concurrent import futures
import functools
from typing import Any

import numpy as np

from sora_jax import stations
from sora_jax.data.store import manifest as manifest_lib
from sora_jax.encoding import batches as batches_lib
from sora_jax.encoding import decode_batches
from sora_jax.formats import pretrained
from sora_jax.geometry import sizes as sizes_lib
from sora_jax.models.vae import vae as vae_lib

ROWS = 16  # clips encoded at once


def statistics(module: vae_lib.VAE, params: Any, manifest: manifest_lib.Manifest,
               clips: int = 256,
               report: Callable[[int, int], None] = lambda done, total: None
               ) -> tuple[np.ndarray, np.ndarray]:
  """Mean and standard deviation [C] of raw latents, of some clips.

  Args:
    module: the VAE.
    params: its parameters.
    manifest: of a prepared data set.
    clips: how many, drawn by a fixed seed.
    report: called with (clips done, clips in all), at once and after every
      program that has run.

  Raises:
    ValueError: no clip can be read.
  """
  model = pretrained.Model(pretrained.Component(module, params),
                           np.zeros(module.z), np.ones(module.z))
  some = np.sort(np.random.default_rng(0).permutation(len(manifest))[:clips])
  sizes = manifest_lib.sizes(manifest.entries[some])
  batches = batches_lib.batches_for(
      model, batches_lib.frames_by_size(sizes), min(ROWS, len(some)))
  tell = lambda before, done: report(before + done, len(some))
  seen, count, sums = 0, 0, np.zeros((2, module.z))  # of z and of z z
  tell(0, 0)
  with futures.ThreadPoolExecutor() as pool:
    for found in decode_batches.decode(
        pool, [(manifest, *b) for b in decode_batches.split(manifest, some)],
        sizes_lib.ResizePolicy(), vae_lib.stride(module), model.patch):
      videos = [clip.video for clip in found
                if not isinstance(clip, stations.Rejected)]
      for z in batches.encode(videos, functools.partial(tell, seen)):
        z = z.reshape(-1, module.z).astype(np.float64)
        count, sums = count + len(z), sums + np.stack([z, z * z]).sum(1)
      seen += len(found)
  if not count:
    raise ValueError(f"no clip of {manifest.root} can be read")
  mean, square = sums / count
  return mean, np.sqrt(np.maximum(square - mean * mean, 0))

"""sora_jax: video generation models as world simulators, in JAX and Flax.

  import sora_jax
  model = sora_jax.load("tiny")
  video = model.generate("a red ball moves to the right", size=(64, 64))
  sora_jax.save_video("ball.mp4", video)
  longer = model.extend("ball.mp4", frames=16)
  sora_jax.train("configs/vae.py:tiny", "data/worlds", "runs/vae")

The names are resolved on first use, so that a training process does not import
the generation side, and a data worker no more than it needs.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_NAMES = {"load": ("sora_jax.generation.pipeline", "load"),
          "load_video": ("sora_jax.media.videos", "load_video"),
          "load_image": ("sora_jax.media.videos", "load_image"),
          "save_video": ("sora_jax.media.video_io", "write"),
          "load_captioner": ("sora_jax.language.captioner", "load"),
          "similarity": ("sora_jax.language.captioner", "similarity"),
          "train": ("sora_jax.tasks.train", "train")}

__all__ = list(_NAMES)


def __dir__() -> list[str]:
  hidden = {"importlib", "Any", "_NAMES"}
  return sorted(set(globals()) - hidden | set(_NAMES))


def __getattr__(name: str) -> Any:
  if name not in _NAMES:
    raise AttributeError(f"module 'sora_jax' has no attribute '{name}'")
  module, attribute = _NAMES[name]
  return getattr(importlib.import_module(module), attribute)

"""Networks of our own in a model folder: every parameter under its path."""

from collections.abc import Callable
from typing import Any

from sora_jax.formats import weight_mapping


def mapping(init: Callable[..., Any], module: Any
            ) -> weight_mapping.WeightMapping:
  """Where each parameter lies: its path, joined with dots.

  Args:
    init: (module, key) -> parameters.
    module: the network.
  """
  return {path: weight_mapping.same([path.replace("/", ".")], shape)
          for path, shape in weight_mapping.shapes(init, module).items()}

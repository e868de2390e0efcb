"""Our own text encoder in a model folder: every parameter under its path."""

from sora_jax.formats import weight_mapping
from sora_jax.models.text import encoder as encoder_lib


def mapping(encoder: encoder_lib.TextEncoder) -> weight_mapping.WeightMapping:
  """Where each parameter lies: its path, joined with dots."""
  return {path: weight_mapping.same([path.replace("/", ".")], shape)
          for path, shape in weight_mapping.shapes(encoder_lib.init, encoder).items()}

"""What we use of jax's splash attention, public or not; nobody else imports it.

jax keeps this kernel under jax.experimental, and has no public name for a
backward pass that is given the log-sum-exp of more keys than it sees: a ring
step. Tested with jax 0.10.2 and 0.12.
"""

import jax

try:
  from jax.experimental.pallas.ops.tpu.splash_attention import (
      splash_attention_kernel as _kernel,
  )
  from jax.experimental.pallas.ops.tpu.splash_attention import (
      splash_attention_mask_info as _mask_info,
  )
  BlockSizes = _kernel.BlockSizes
  Kernel = _kernel.SplashAttentionKernel
  MaskInfo = _mask_info.MaskInfo
  SegmentIds = _kernel.SegmentIds
  backward = _kernel._splash_attention_bwd
  MASKED = _kernel.DEFAULT_MASK_VALUE  # a score that is not counted
  missing = None
except (ImportError, AttributeError) as error:
  missing = error


def require() -> None:
  """Raises ImportError where this jax lacks something of the above."""
  if missing is not None:
    raise ImportError(
        f"splash attention is not in jax {jax.__version__} as it was in 0.10.2 "
        f"and 0.12, which were tested ({missing}): install one of them, or "
        "choose attention=\"flash\" for the model")

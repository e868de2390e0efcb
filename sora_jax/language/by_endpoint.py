"""A language model that is shown frames, as a captioner of data sets."""

from collections.abc import Sequence
import dataclasses
from typing import Any

import numpy as np

from sora_jax.language import endpoint as endpoint_lib


@dataclasses.dataclass(frozen=True)
class EndpointCaptioner:
  """A contracts.Captioner that asks an endpoint.

  Attributes:
    endpoint: that is asked. A call that fails ends the run, which goes on where
      it was when the same command is given again.
  """

  endpoint: endpoint_lib.Endpoint

  @property
  def name(self) -> str:
    """The name of the model."""
    return f"endpoint-{self.endpoint.model}"

  @property
  def digest(self) -> str:
    """Nobody knows the weights behind an endpoint."""
    return ""

  def caption(self, records: Sequence[Any]) -> list[tuple[str, str]]:
    """Refuses latents.

    Raises:
      ValueError: always.
    """
    raise ValueError(f"{self.endpoint.model} is shown frames, and this data set "
                     "holds latents: caption the one of sora-jax prepare, and "
                     "encode takes the captions along")

  def describe(self, video: np.ndarray, fps: float) -> str:
    """The caption of a video uint8 [T, H, W, 3].

    Raises:
      post.Failed: no text within the time-out, in one line.
    """
    return self.endpoint.caption(video, fps)

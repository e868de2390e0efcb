"""Shot cuts by PySceneDetect, of frames that we decoded (the extra `data`)."""

from collections.abc import Callable

import numpy as np

from sora_jax import extras

LEAST = 8  # frames of a shot, at least


def require() -> None:
  """Raises ValueError where the extra is not installed."""
  try:
    import scenedetect  # noqa: F401
  except ImportError as e:
    raise ValueError("--cuts needs a package, and without it no file is read: "
                     f"{extras.install('data')}") from e


def detector(fps: float) -> Callable[[int, np.ndarray], int | None]:
  """A function of (frame number, uint8 [h, w, 3]), called frame by frame.

  It returns the number of a frame that begins a new shot, which it finds a few
  frames later, or None.

  Raises:
    ImportError: `require` was not called.
  """
  import scenedetect
  found = scenedetect.AdaptiveDetector(min_scene_len=LEAST)

  def next_cut(index: int, rgb: np.ndarray) -> int | None:
    cuts = found.process_frame(scenedetect.FrameTimecode(index, fps),
                               np.ascontiguousarray(rgb[..., ::-1]))
    return cuts[0].frame_num if cuts else None

  return next_cut

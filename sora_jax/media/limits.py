"""What a video may be: the limits of a decoder that is fed hostile files."""

import dataclasses

MAX_SIDE = 16384
MAX_PIXELS = 2 ** 25  # of one frame: 8K passes, 8192 x 8192 does not
MAX_FRAMES = 10_000
MAX_BYTES = 2 ** 30  # of one decoded video
FPS = (0.1, 1000.0)  # frames a second


@dataclasses.dataclass(frozen=True)
class Info:
  """What a video holds: frames, height, width, and frames per second."""

  frames: int
  height: int
  width: int
  fps: float


def check_size(frames: int, height: int, width: int,
               max_frames: int | None = None) -> None:
  """Refuses a size that is beyond the limits of this module.

  Args:
    frames, height, width: of the video; sides in pixels.
    max_frames: MAX_FRAMES by default.

  Raises:
    ValueError: the message has the number and the limit.
  """
  max_frames = MAX_FRAMES if max_frames is None else max_frames
  if not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE
          and height * width <= MAX_PIXELS):
    raise ValueError(f"is {width}x{height}; the limit is {MAX_SIDE} a side and "
                     f"{MAX_PIXELS} pixels")
  if frames > max_frames:
    raise ValueError(f"has {frames} frames; the limit is {max_frames}")

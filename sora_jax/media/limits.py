"""What a video may be: the limits of a decoder that is fed hostile files."""

import collections
from collections.abc import Callable, Iterable, Iterator
import dataclasses
import time
from typing import TypeVar

MAX_SIDE = 16384
MAX_PIXELS = 2 ** 25  # of one frame: 8K passes, 8192 x 8192 does not
MAX_FRAMES = 10_000
MAX_BYTES = 2 ** 30  # of one decoded video
# Of the frames that have come out of a decoder and are kept for those to come. It
# keeps one or two beside them: a scan of 8-bit frames needs 512 MiB in all.
MAX_HELD = 320 * 2 ** 20
RECENT = 32  # frames, more than any decoder keeps
FPS = (0.1, 1000.0)  # frames a second
SECONDS = 30  # of processor time to decode a file,
TIMES = 10  # and so many more for every second that it plays
T = TypeVar("T")


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


def check_fps(fps: float, where: str) -> None:
  """Refuses a frame rate that no video of ours has.

  Args:
    fps: frames per second.
    where: what the message calls it.

  Raises:
    ValueError: the message has the limits.
  """
  low, high = FPS
  if not low <= fps <= high:  # nor is NaN
    raise ValueError(f"{where}={fps:g} must be {low:g} to {high:g}")


def check_bytes(count: int) -> None:
  """Refuses more bytes of decoded frames than MAX_BYTES.

  Raises:
    ValueError: the message has the limit.
  """
  if count > MAX_BYTES:
    raise ValueError(f"decodes to more than {MAX_BYTES >> 20} MiB; cut it into "
                     "shorter clips")


class Held:
  """The memory of a decoder, by the buffers of the frames that come out of it."""

  def __init__(self):
    self.buffers = collections.deque[int](maxlen=RECENT)

  def check(self, buffer: int, size: int) -> None:
    """Refuses a frame whose decoder keeps more than MAX_HELD.

    Args:
      buffer: the address of its pixels.
      size: of the frame in bytes.

    Raises:
      ValueError: the message has the limit.
    """
    self.buffers.append(buffer)
    held = len(set(self.buffers))
    if held * size > MAX_HELD and held > 1:
      raise ValueError(
          f"needs {held} frames of {size >> 20} MiB at once to be decoded; the "
          f"limit is {MAX_HELD >> 20} MiB: scale it down, or encode it with fewer "
          "reference frames")


class Clock:
  """The processor time that the frames of one file take to decode.

  Attributes:
    fps: frames per second of the file.
    spent: seconds of this thread, which alone decodes.
    frames: decoded so far.
  """

  def __init__(self, fps: float):
    self.fps, self.spent, self.frames = fps, 0.0, 0

  def watch(self, frames: Iterable[T]) -> Iterator[T]:
    """Yields what it is given.

    Raises:
      ValueError: it takes longer than SECONDS + TIMES what has been decoded
        plays; the message has both.
    """
    coming = iter(frames)
    while True:
      start = time.thread_time()
      frame = next(coming, None)
      self.spent += time.thread_time() - start
      if frame is None:
        return
      self.frames += 1
      most = SECONDS + TIMES * self.frames / self.fps
      if self.spent > most:
        raise ValueError(f"took {self.spent:.1f} s to decode {self.frames} "
                         f"frames; the limit is {most:.1f} s")
      yield frame

  def timed(self, call: Callable[..., T]) -> Callable[..., T]:
    """The same function, its time counted too."""
    def timed_call(*args):
      start = time.thread_time()
      found = call(*args)
      self.spent += time.thread_time() - start
      return found

    return timed_call

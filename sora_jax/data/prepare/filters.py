"""Which clips are kept: thresholds, duplicates, and the size they are kept at.

Every function is pure. What is left out comes with a reason that names the
number and the limit.
"""

import collections
from collections.abc import Iterable
import dataclasses

from sora_jax import stations
from sora_jax.geometry import sizes
from sora_jax.media import limits
from sora_jax.media import timing

TILES = 12  # parts of a phash; two hashes closer than this share one
# (Number of a part, its bits) -> (hash, key) of the clips that have it.
Seen = dict[tuple[int, int], list[tuple[int, str]]]


@dataclasses.dataclass(frozen=True)
class Rules:
  """Thresholds; 0 switches a limit off, except where it says otherwise.

  Attributes:
    min_frames, min_seconds, max_seconds: of a video; images have one frame.
    min_side, max_aspect: of the picture; max_aspect is long side / short side.
    min_fps: of a video.
    min_motion, max_motion: mean change from frame to frame, in levels of 255.
    max_static: the share of frames that equal the one before; 1 is off.
    max_combed: the share of moving frames that hold lines of two moments, as of
      interlaced video whose tags were lost; 1 is off.
    min_brightness, max_brightness: mean level in [0, 1].
    min_words: of the first caption.
    max_repeats: leaves out files whose first caption more files than this have.
    duplicates: leaves out files that are equal, byte for byte.
    phash_distance: leaves out clips whose perceptual hashes of 192 bits differ
      in at most this many, 11 or fewer; -1 is off.
    max_tokens: of a clip; a larger one is reduced, keeping its aspect.
    token: (frames, height, width) that one token covers.
  """

  min_frames: int = 1
  min_seconds: float = 0.0
  max_seconds: float = 0.0
  min_side: int = 16
  max_aspect: float = 0.0
  min_fps: float = 0.0
  min_motion: float = 0.0
  max_motion: float = 0.0
  max_static: float = 0.98
  max_combed: float = 0.2
  min_brightness: float = 0.01
  max_brightness: float = 0.99
  min_words: int = 1
  max_repeats: int = 0
  duplicates: bool = True
  phash_distance: int = -1
  max_tokens: int = 262_144
  token: tuple[int, int, int] = (4, 32, 32)

  def __post_init__(self) -> None:
    if not -1 <= self.phash_distance < TILES:
      raise ValueError(f"phash_distance is {self.phash_distance}; it must be in "
                       f"-1 .. {TILES - 1}")
    if len(self.token) != 3 or min(self.token) < 1:
      raise ValueError(f"token is {self.token}; it must be three numbers above "
                       "0, such as 4x32x32")
    if 0 < self.max_tokens < 64:
      raise ValueError(f"max_tokens is {self.max_tokens}: give at least 64")


def why_not(clip: stations.ScannedClip, rules: Rules) -> str | None:
  """The reason to leave a clip out, None to keep it."""
  low, high = sorted((clip.height, clip.width))
  tests = [
      ("words", clip.words, rules.min_words, 0),
      ("pixels on its short side", low, rules.min_side, 0),
      ("its aspect is", high / low, 0, rules.max_aspect),
      ("its brightness is", clip.brightness, rules.min_brightness,
       rules.max_brightness)]
  if clip.frames > 1 or rules.min_frames > 1:
    tests.insert(1, ("frames", clip.frames, rules.min_frames, 0))
  if clip.frames > 1:
    tests[2:2] = [
        ("seconds", clip.frames / clip.fps, rules.min_seconds,
         rules.max_seconds),
        ("frames a second", clip.fps, rules.min_fps, 0)]
    tests += [
        ("its share of still frames is", clip.static, 0,
         rules.max_static if rules.max_static < 1 else 0),
        ("its share of combed frames, which no tag calls interlaced, is",
         clip.combed, 0, rules.max_combed if rules.max_combed < 1 else 0),
        ("its motion is", clip.motion, rules.min_motion, rules.max_motion)]
  for name, value, least, most in tests:
    text = (f"{name} {value:.4g}" if name.startswith("its") else
            f"has {value:.4g} {name}")
    if least and value < least:
      return f"{text}; the least is {least:g}"
    if most and value > most:
      return f"{text}; the most is {most:g}"
  try:
    target(clip.frames, clip.height, clip.width, clip.pixel_aspect, rules)
  except ValueError as e:
    return str(e)
  return None


def keep(scanned: Iterable[stations.ScannedClip | stations.Rejected],
         rules: Rules
         ) -> tuple[list[stations.ScannedClip], list[stations.Rejected]]:
  """(the clips that pass, rejects), the first of equal clips being kept."""
  scanned, kept, rejects = list(scanned), [], []
  shared = files_by_caption(scanned) if rules.max_repeats else {}
  files: dict[tuple[str, int], str] = {}
  seen: Seen = {}
  for clip in scanned:
    if isinstance(clip, stations.Rejected):
      rejects.append(clip)
      continue
    reason = why_not(clip, rules)
    if reason is None and (
        count := shared.get(clip.caption_hash, 0)) > rules.max_repeats:
      reason = (f"its caption is that of {count} files; the most is "
                f"{rules.max_repeats}")
    if reason is None and rules.duplicates:
      first = files.setdefault((clip.file, clip.start), clip.key)
      if first != clip.key:
        reason = f"is a duplicate of {first}"
    if reason is None and rules.phash_distance >= 0:
      reason = _lookalike(clip, seen, rules.phash_distance)
    if reason is None:
      kept.append(clip)
    else:
      rejects.append(stations.Rejected(clip.item, reason, clip.key, clip.thumb))
  return kept, rejects


def files_by_caption(scanned: Iterable[stations.ScannedClip | stations.Rejected]
                     ) -> dict[str, int]:
  """Hash of a first caption -> the number of files that have it."""
  pairs = {(clip.item, clip.caption_hash) for clip in scanned
           if isinstance(clip, stations.ScannedClip)}
  return dict(collections.Counter(caption for _, caption in pairs))


def _lookalike(clip: stations.ScannedClip, seen: Seen,
               limit: int) -> str | None:
  """Finds a clip of a near hash, by parts of it, and remembers this one."""
  bits = int(clip.phash, 16)
  width = len(clip.phash) * 4 // TILES
  tiles = [(i, bits >> i * width & (1 << width) - 1) for i in range(TILES)]
  for tile in tiles:
    for other, key in seen.get(tile, ()):
      if (bits ^ other).bit_count() <= limit:
        return f"looks like {key}"
  for tile in tiles:
    seen.setdefault(tile, []).append((bits, clip.key))
  return None


def target(frames: int, height: int, width: int, pixel_aspect: float,
           rules: Rules) -> tuple[int, int]:
  """(height, width) at which a clip is kept: its own, unless that cannot be.

  Pixels that are not square are made square, and a clip that has more tokens
  than `max_tokens`, or more bytes than a reader decodes, is reduced.

  Raises:
    ValueError: more frames than `max_tokens` allows at any size.
  """
  height, width = timing.square(height, width, pixel_aspect)
  limit, size = rules.max_tokens, (frames, height, width)
  over = 3 * frames * height * width / limits.MAX_BYTES
  if over > 1:
    tokens = int(sizes.token_count(size, rules.token, (1, 1, 1)) / over)
    limit = min(limit, tokens) if limit else tokens
  return sizes.resized(size, sizes.ResizePolicy(limit), rules.token, (1, 1, 1))[1:]

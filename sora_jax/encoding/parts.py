"""What is stored of a clip: the whole, and the latents that prompting knows.

Besides the whole these are suffixes that begin at seeded latents and do not see
what is before them, single frames encoded as one-frame videos (keyframes), and
the whole with a seeded region of it blanked, for what is known around a region.
So training never shows the model a known latent that has seen what is unknown.
"""

from collections.abc import Sequence
import dataclasses
import hashlib

import numpy as np

from sora_jax.data.loading import placement
from sora_jax.data.store import latents
from sora_jax.encoding import decode_batches
from sora_jax.geometry import frames as frames_lib
from sora_jax.geometry import sizes as sizes_lib


@dataclasses.dataclass(frozen=True, eq=False)
class Parts:
  """The videos that are encoded of a clip, in the order of `videos`.

  Attributes:
    clip: the clip.
    starts: the latents that its suffixes begin at.
    frames: the frames that are stored as keyframes.
    region: t0, t1, y0, y1, x0, x1 in tokens, what is blanked; or None.
    videos: uint8 [T, H, W, 3]: the whole, suffixes behind their lead-in,
      keyframes, and the whole with the region blanked.
  """

  clip: decode_batches.DecodedClip
  starts: Sequence[int]
  frames: Sequence[int]
  region: frames_lib.Region | None
  videos: Sequence[np.ndarray]

  def record(self, z: Sequence[np.ndarray]) -> latents.Record:
    """The record of the latents [t, h, w, C] of the videos."""
    whole, rest = z[0], list(z[1:])
    suffixes = {c: rest.pop(0)[frames_lib.LEAD_IN_LATENTS:] for c in self.starts}
    keyframes = {f: rest.pop(0) for f in self.frames}
    item = self.clip.item
    return latents.Record(
        z=whole, captions=item.captions, fps=item.fps,
        size=self.clip.video.shape[:3], suffixes=suffixes, keyframes=keyframes,
        region=self.region, masked=rest.pop(0) if self.region else None)


def of_clip(clip: decode_batches.DecodedClip, seed: int, extras: latents.Extras,
            stride: tuple[int, int, int], patch: sizes_lib.Patch) -> Parts:
  """The videos to encode of a clip; the same for the same key and seed."""
  video = clip.video
  size = video.shape[:3]
  grid = sizes_lib.grid_size(sizes_lib.latent_size(size, stride, patch), patch)
  starts, frames, region = choose(seed, clip.item.key, len(video), grid, extras)
  filled = sizes_lib.pad_to(
      video, (frames_lib.frame_count(grid[0], stride[0]), *size[1:]))
  videos = [video]
  videos += [frames_lib.lead_in(filled[frames_lib.first_frame(c, stride[0]):])
             for c in starts]
  videos += [video[f:f + 1] for f in frames]
  if region:
    videos.append(frames_lib.without_region(
        video, frames_lib.region_of_tokens(region, stride, patch)))
  return Parts(clip, starts, frames, region, videos)


def choose(seed: int, key: str, frames: int, grid: tuple[int, int, int],
           extras: latents.Extras
           ) -> tuple[list[int], list[int], frames_lib.Region | None]:
  """What is stored of a clip besides the whole.

  Args:
    seed: of the data set.
    key: of the clip.
    frames: of the clip.
    grid: its tokens along (t, y, x).
    extras: how much is stored.

  Returns:
    The latents that suffixes begin at, the frames stored as keyframes, and the
    region (placement.draw_regions) that is blanked, None without one.
  """
  word = hashlib.blake2b(key.encode(), digest_size=8).digest()
  rng = np.random.default_rng([seed, int.from_bytes(word, "little")])
  pick = lambda values, n: sorted(
      rng.choice(values, min(n, len(values)), replace=False).tolist())
  starts = pick(np.arange(1, grid[0]), extras.suffixes)
  keyframes = pick(np.arange(1, frames), extras.keyframes)
  region = placement.draw_regions(rng, np.array([grid]))[0].tolist()
  return starts, keyframes, (
      tuple(region) if extras.regions and region[0] >= 0 else None)

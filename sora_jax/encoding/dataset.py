"""Caches the latents of a data set, so that the transformer trains from them.

Of each clip: the posterior mean of the whole; suffixes that
begin at seeded latents and do not see what is before them (their first frame
repeated 5 times in front, the two lead-in latents dropped); single frames
encoded as one-frame videos; and the whole with a seeded region of it blanked,
for what is known around a region.
These are what prompting knows of a clip, so that training never shows the model
a known latent that has seen what is unknown.

Few programs serve any data set: clips are padded to at most MAX_SHAPES heights
and widths, what is beyond a clip is masked in the network, and time is encoded
as a first frame and further chunks of `stride` frames.
"""

from concurrent import futures
import dataclasses
import functools
import hashlib

import jax
import jax.numpy as jnp
import numpy as np

from sora_jax import stations
from sora_jax.data.loading import placement
from sora_jax.data.store import latents
from sora_jax.data.store import manifest as manifest_lib
from sora_jax.data.store import shards
from sora_jax.encoding import decode_batches
from sora_jax.formats import pretrained
from sora_jax.geometry import frames as frames_lib
from sora_jax.geometry import sizes as sizes_lib
from sora_jax.models.vae import vae
from sora_jax.text import tokenizer as tokenizer_lib

MAX_SHAPES = 8


@dataclasses.dataclass(frozen=True)
class Job:
  """One video to encode: its pixels, valid (height, width) and target."""

  video: np.ndarray
  done: list


def encode(model: pretrained.Model, data, out, *, seed: int = 0, suffixes: int = 2,
           keyframes: int = 2, regions: bool = True, batch: int = 16,
           policy: sizes_lib.ResizePolicy | None = None,
           part: tuple[int, int] | None = None, report=None) -> dict | None:
  """Writes the latents of every split of a prepared data set.

  Goes on where it was stopped: a shard is the unit of work.

  Args:
    model: the model folder whose VAE encodes.
    data: a folder of `prepare`.
    out: the folder to write.
    seed: of the suffixes, keyframes and regions.
    suffixes: stored of a video.
    keyframes: single frames stored of a video.
    regions: whether a clip is stored with a region of it blanked, too.
    batch: videos encoded at once.
    policy: the sizes that clips are encoded at; their own by default.
    part: (i, n): only every n-th shard from the i-th on, 0 <= i < n, for n
      processes side by side; a call without it finishes the data set.
    report: called with (clips done, clips in all).

  Returns:
    dataset.json of the latents; None for a part.

  Raises:
    ValueError: no data set, or `out` holds the latents of another one.
  """
  manifests = {split: manifest_lib.open_manifest(data, split)
               for split in manifest_lib.open_manifest(data).info["shards"]}
  source = manifests["train"].info
  stride = vae.stride(model.vae.module)
  info = latents.describe(source, model.digest, stride, model.patch,
                          model.vae.module.z, seed, suffixes, keyframes, regions)
  policy = policy or sizes_lib.ResizePolicy()
  sizes = np.concatenate([manifest_lib.sizes(m.entries)
                          for m in manifests.values()])
  info["resized"] = None if policy == sizes_lib.ResizePolicy() else {
      **dataclasses.asdict(policy),
      **sizes_lib.resize_report(sizes, policy, stride, model.patch)}
  if (done := latents.start(out, data, info)) is not None:
    return done
  sizes = sizes_lib.resized_all(sizes, policy, stride, model.patch)[:, 1:]
  run = Encoder(model, shapes(map(tuple, np.unique(sizes, axis=0).tolist()),
                              stride, model.patch), batch)
  tokenizer = tokenizer_lib.of(manifests["train"])
  todo = [(split, shard) for split, m in manifests.items()
          for shard in range(m.info["shards"][split])]
  todo = todo[part[0]::part[1]] if part else todo
  batches = {(split, shard): found for split, m in manifests.items()
            for shard, found in enumerate(decode_batches.by_shard(m))}
  missing = [job for job in todo if not shards.is_written(out, *job)]
  size = lambda jobs: sum(int(times.sum()) for job in jobs
                          for _, times in batches[job])
  total = size(todo)
  count = total - size(missing)
  with futures.ThreadPoolExecutor() as pool:
    decoded = decode_batches.decode(
        pool, [(manifests[job[0]], *group) for job in missing
               for group in batches[job]], policy, stride, model.patch)

    def written(job, rejects):
      nonlocal count
      for (_, times), clips in zip(batches[job], decoded):
        yield from _records(run, clips, tokenizer, info, rejects)
        count += int(times.sum())
        if report:
          report(count, total)

    for job in missing:
      rejects = []
      shards.write_shard(out, *job, written(job, rejects), latents.LATENTS,
                         rejects)
  if part:
    return None
  counts = {split: m.info["shards"][split] for split, m in manifests.items()}
  return shards.finish(out, shards.collect(out, counts, info))


def statistics(module: vae.VAE, params, manifest: manifest_lib.Manifest,
               clips: int = 256) -> tuple[np.ndarray, np.ndarray]:
  """Mean and standard deviation [C] of the raw latents of a data set."""
  model = pretrained.Model(pretrained.Component(module, params),
                           np.zeros(module.z), np.ones(module.z))
  some = np.random.default_rng(0).permutation(len(manifest))[:clips]
  stride = vae.stride(module)
  sizes = set(map(tuple, manifest_lib.sizes(
      manifest.entries[some])[:, 1:].tolist()))
  run = Encoder(model, shapes(sizes, stride, model.patch), 16)
  batches = decode_batches.split(manifest, np.sort(some))
  count, sums = 0, np.zeros((2, module.z))  # of the latents and their squares
  with futures.ThreadPoolExecutor() as pool:
    for found in decode_batches.decode(
        pool, [(manifest, *b) for b in batches],
                                    sizes_lib.ResizePolicy(), stride, model.patch):
      jobs = [Job(clip[1], []) for clip in found if not isinstance(clip, dict)]
      run(jobs)
      for job in jobs:
        z = job.done[0].reshape(-1, module.z).astype(np.float64)
        count, sums = count + len(z), sums + np.stack([z, z * z]).sum(1)
  if not count:
    raise ValueError(f"no clip of {manifest.root} can be read")
  mean, square = sums / count
  return mean, np.sqrt(np.maximum(square - mean * mean, 0))


def shapes(sizes, stride, patch: sizes_lib.Patch) -> list[tuple[int, int]]:
  """At most MAX_SHAPES padded (height, width) that hold all `sizes`.

  The two shapes whose union adds the least area are merged until few are left.
  """
  found = sorted({sizes_lib.padded_size((1, *s), stride, patch)[1:]
                  for s in sizes})
  area = lambda s: s[0] * s[1]
  union = lambda a, b: (max(a[0], b[0]), max(a[1], b[1]))
  while len(found) > MAX_SHAPES:
    pairs = [(2 * area(union(a, b)) - area(a) - area(b), a, b)
             for i, a in enumerate(found) for b in found[:i]]
    _, a, b = min(pairs)
    found = sorted(set(found) - {a, b} | {union(a, b)})
  return found


@dataclasses.dataclass(frozen=True, eq=False)
class Encoder:
  """Encodes videos of any size by few programs.

  Attributes:
    model: the VAE and its latent statistics.
    shapes: the padded (height, width) in use.
    batch: rows of a program.
  """

  model: pretrained.Model
  shapes: list[tuple[int, int]]
  batch: int

  def __call__(self, jobs: list[Job]) -> None:
    """Puts the latents [t, h, w, C] of each job's video into its `done`."""
    stride, patch = vae.stride(self.model.vae.module), self.model.patch
    classes = {}
    for job in jobs:
      size = sizes_lib.padded_size(job.video.shape[:3], stride, patch)
      shape = min((s for s in self.shapes
                   if s[0] >= size[1] and s[1] >= size[2]),
                  key=lambda s: s[0] * s[1])
      classes.setdefault(shape, []).append((size, job))
    for shape, members in classes.items():
      members.sort(key=lambda m: m[0][0])
      for i in range(0, len(members), self.batch):
        self._rows(shape, members[i:i + self.batch], stride)

  def _rows(self, shape, members, stride):
    """Encodes up to `batch` videos of one padded shape."""
    frames = max(size[0] for size, _ in members)
    video = np.zeros((self.batch, frames, *shape, 3), np.uint8)
    valid = np.full((self.batch, 2), stride[1] * self.model.patch[1], np.int32)
    for row, (size, job) in enumerate(members):
      video[row, :, :size[1], :size[2]] = sizes_lib.pad_to(
          job.video, (frames, *size[1:]))
      valid[row] = size[1:]
    whole = all(size[1:] == shape for size, _ in members)
    sizes = None if whole and len(members) == self.batch else valid
    part, ctx, means = self.model.vae, None, []
    for start in [0, *range(1, frames, stride[0])]:
      chunk = video[:, start:start + (stride[0] if start else 1)]
      mean, ctx = encode_part(part.module, part.params, chunk, ctx, sizes)
      means.append(mean)  # read only when all are under way
    z = np.concatenate([np.asarray(mean) for mean in means], axis=1)
    z = vae.normalise(z, np.asarray(self.model.latent_mean, np.float32),
                      np.asarray(self.model.latent_std, np.float32))
    for row, (size, job) in enumerate(members):
      t, h, w = ((size[0] - 1) // stride[0] + 1, size[1] // stride[1],
                 size[2] // stride[2])
      job.done.append(z[row, :t, :h, :w])


@functools.partial(jax.jit, static_argnums=0)
def encode_part(module, params, video, ctx, size):
  x = jnp.asarray(video, jnp.float32) / 127.5 - 1
  (mean, _), ctx = vae.encode_chunk(module, params, x, ctx, size)
  return mean, ctx


def _records(run: Encoder, found, tokenizer, info: dict, rejects: list):
  """Yields the records of decoded clips and their manifest entries."""
  stride, patch = vae.stride(run.model.vae.module), run.model.patch
  st, clips, jobs = stride[0], [], []
  for clip in found:
    if isinstance(clip, stations.Rejected):
      rejects.append(clip)
      continue
    item, video, times = clip
    size = video.shape[:3]
    grid = sizes_lib.grid_size(sizes_lib.latent_size(size, stride, patch), patch)
    starts, frames, region = choose(
        info["latent_seed"], item.key, len(video), grid, info["suffixes"],
        info["keyframes"], info["regions"])
    last = sizes_lib.pad_to(video, (frames_lib.frame_count(grid[0], st),
                                    *size[1:]))
    whole = Job(video, [])
    suffixes = {c: Job(frames_lib.lead_in(
        last[frames_lib.first_frame(c, st):]), []) for c in starts}
    keyframes = {f: Job(video[f:f + 1], []) for f in frames}
    masked = region and Job(frames_lib.without_region(
        video, frames_lib.region_of_tokens(region, stride, patch)), [])
    clips.append((item, size, times, whole, suffixes, keyframes, region, masked))
    jobs += [whole, *suffixes.values(), *keyframes.values(),
             *([masked] if region else [])]
  run(jobs)
  for item, size, times, whole, suffixes, keyframes, region, masked in clips:
    record = latents.Record(
        z=whole.done[0], captions=item.captions, fps=item.fps, size=size,
        suffixes={c: job.done[0][frames_lib.LEAD_IN_LATENTS:]
                  for c, job in suffixes.items()},
        keyframes={f: job.done[0] for f, job in keyframes.items()},
        region=region, masked=region and masked.done[0])
    yield latents.encode(record), latents.entry(record, tokenizer), times


def choose(seed: int, key: str, frames: int, grid: tuple[int, int, int],
           suffixes: int, keyframes: int, regions: bool):
  """What is stored of a clip besides the whole.

  Returns:
    The latents that suffixes begin at, the frames stored as keyframes, and the
    region (placement.draw_regions) that is blanked, None without one.
  """
  word = hashlib.blake2b(key.encode(), digest_size=8).digest()
  rng = np.random.default_rng([seed, int.from_bytes(word, "little")])
  pick = lambda values, n: sorted(
      rng.choice(values, min(n, len(values)), replace=False).tolist())
  starts, singles = pick(np.arange(1, grid[0]), suffixes), pick(
      np.arange(1, frames), keyframes)
  region = placement.draw_regions(rng, np.array([grid]))[0].tolist()
  return starts, singles, tuple(region) if regions and region[0] >= 0 else None

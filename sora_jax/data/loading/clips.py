"""Reads cached latents as patches and ids, and keeps the latest in memory."""

import dataclasses
import functools

import numpy as np

from sora_jax.data.loading import caption_mix
from sora_jax.data.loading import losses as losses_lib
from sora_jax.data.loading import lru_cache
from sora_jax.data.loading import token_config
from sora_jax.data.store import latents
from sora_jax.data.store import manifest as manifest_lib
from sora_jax.data.store import verify as verify_lib
from sora_jax.geometry import patches
from sora_jax.text import prompts
from sora_jax.text import tokenizer as tokenizer_lib


@dataclasses.dataclass(frozen=True, eq=False)
class Loader:
  """Reads clips as patches and ids, and keeps the latest in memory.

  Attributes:
    manifest: of the latents.
    tokenizer: of the data set.
    text_limit: ids of a prompt.
    text_pad: whether prompts are cleaned and padded to that.
    clips: index -> Clip or None.
    losses: what cannot be read.
    mix: the captions of a clip.
  """

  manifest: manifest_lib.Manifest
  tokenizer: prompts.Tokenizer
  text_limit: int
  text_pad: bool
  clips: lru_cache.LRUCache
  losses: losses_lib.Losses
  mix: caption_mix.CaptionMix

  def clip(self, index: int) -> "Clip | None":
    """Clip `index` of the manifest; None, with its reason in `losses`."""
    return self.clips.get(index, functools.partial(_read, self, index), _bytes)


@dataclasses.dataclass(frozen=True, eq=False)
class Clip:
  """A clip as patches, float16.

  Attributes:
    x: [t, n, P], n tokens of a latent.
    suffixes: first latent c -> [t - c, n, P].
    keyframes: frame -> [n, P].
    masked: [t, n, P] with a region blanked, or None.
    prompts: ids of each caption of the mix, and of the null text last; then the
      same with <continues>.
  """

  x: np.ndarray
  suffixes: dict[int, np.ndarray]
  keyframes: dict[int, np.ndarray]
  masked: np.ndarray | None
  prompts: tuple[tuple[np.ndarray, ...], ...]


def loader(manifest: manifest_lib.Manifest, cfg: token_config.TokenConfig,
           losses: losses_lib.Losses, mix: caption_mix.CaptionMix,
           tokenizer: prompts.Tokenizer | None = None) -> Loader:
  """A loader for a config, which notes what cannot be read in `losses`.

  `tokenizer` is that of the data set by default.

  Raises:
    ValueError: latents that are estimated only, or another tokenizer.
  """
  if manifest.info.get("estimated"):
    raise ValueError(f"{manifest.root} has been planned but not encoded: run "
                     "sora-jax encode")
  return Loader(manifest, tokenizer or tokenizer_lib.of(manifest), cfg.text_limit,
                cfg.text_pad, lru_cache.LRUCache(cfg.cache_bytes), losses,
                mix)


def verify(manifest: manifest_lib.Manifest,
           share: tuple[int, int] = (0, 1)) -> None:
  """Opens the shards of latents, as verify.verify.

  Raises:
    ValueError: one that is missing or not of this manifest.
  """
  verify_lib.verify(
      manifest, lambda data, entry: _check(
          latents.decode(data), entry, manifest.info["channels"]), share)


def _read(load: Loader, index: int) -> Clip | None:
  """A clip of the manifest, or None where it cannot be read."""
  entry = load.manifest.entries[index]
  try:
    record = latents.decode(load.manifest.record(index))
    _check(record, entry, load.manifest.info["channels"])
    suffixes = {c: _patches(load, record.suffixes[c])
                for c in entry["suffix_starts"].tolist() if c >= 0}
    keyframes = {f: _patches(load, record.keyframes[f])[0]
                 for f in entry["keyframes"].tolist() if f >= 0}
    masked = None if record.masked is None else _patches(load, record.masked)
    captions = load.mix.texts(index, record.captions)
  except (ValueError, KeyError, RuntimeError, OSError) as e:
    load.losses.explain(index, load.manifest.root, e)
    return None
  ids = tuple(tuple(np.array(prompts.encode(
      load.tokenizer, c, load.text_limit, load.text_pad, continues), np.int32)
                    for c in (*captions, "")) for continues in (False, True))
  return Clip(_patches(load, record.z), suffixes, keyframes, masked, ids)


def _check(record: latents.Record, entry: np.void, channels: int) -> None:
  """Raises ValueError where a record is not what its entry says."""
  t, h, w = (entry[k].item() for k in "thw")
  wanted = {"latents": (record.z, t), "masked latents": (record.masked, t)}
  wanted |= {f"the suffix from latent {c}": (record.suffixes.get(c), t - c)
             for c in entry["suffix_starts"].tolist() if c >= 0}
  wanted |= {f"the keyframe {f}": (record.keyframes.get(f), 1)
             for f in entry["keyframes"].tolist() if f >= 0}
  for name, (z, length) in wanted.items():
    shape = (length, h, w, channels)
    if z is None and name != "masked latents" or z is not None and (
        z.shape != shape):
      raise ValueError(f"has {name} {None if z is None else z.shape}, its entry in "
                       f"the manifest says {shape}")
  region = tuple(entry["region"].tolist())
  if (record.region or (-1,) * 6) != region:
    raise ValueError(f"has the region {record.region}, its entry in the "
                     f"manifest says {region}")


def _patches(load: Loader, z: np.ndarray) -> np.ndarray:
  """[t, h, w, C] to [t, tokens of a latent, P]."""
  patch = (1, *load.manifest.info["patch"][1:])
  x = patches.patchify(z[None], patch).x[0]
  return np.ascontiguousarray(x.reshape(len(z), -1, x.shape[-1]))


def _bytes(clip: Clip | None) -> int:
  """The memory of a clip."""
  if clip is None:
    return 64
  arrays = [clip.x, *clip.suffixes.values(), *clip.keyframes.values()]
  arrays += [] if clip.masked is None else [clip.masked]
  return sum(a.nbytes for a in arrays) + 2048

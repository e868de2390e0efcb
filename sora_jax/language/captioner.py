"""A trained captioner at work: clips become captions, texts and clips compare.

  captioner = sora_jax.load_captioner()  # of a folder, or that of this package
  captioner.describe(video, fps=8)
  captioner.similarity(["a red ball", "a dog"], [video])
  sora_jax.similarity("a red ball", video)
"""

from collections.abc import Callable, Iterable, Sequence
import dataclasses
import functools
import os

import jax
import numpy as np

from sora_jax import files
from sora_jax import types
from sora_jax.data.store import latents as latents_lib
from sora_jax.encoding import video as video_lib
from sora_jax.formats import find
from sora_jax.formats import pretrained
from sora_jax.geometry import patches
from sora_jax.geometry import sizes
from sora_jax.media import videos as videos_lib
from sora_jax.models import captioner as captioner_lib
from sora_jax.models.vae import vae as vae_lib
from sora_jax.text import tokenizer as tokenizer_lib
from sora_jax.text import words as words_lib

DEFAULT = "worlds/captioner"  # of this package
ROWS = 32  # clips that are captioned together
MULTIPLE = 64  # rows are padded to multiples of so many tokens
SHORT, DESCRIPTIVE = 0, 1  # kinds of captions
LONGEST = 33  # frames that are looked at where a video has too many tokens


@dataclasses.dataclass(frozen=True, repr=False)
class Captioner:
  """A captioner of a model folder.

  Attributes:
    name: of the folder.
    model: with the VAE and the captioner.
    tokenizer: of the captions.
  """

  name: str
  model: pretrained.Model
  tokenizer: tokenizer_lib.Tokenizer

  def __repr__(self) -> str:
    return f"Captioner {self.name}: {self._component!r}"

  @property
  def digest(self) -> str:
    """sha256 over the files of the folder."""
    return self.model.digest

  @property
  def vae_digest(self) -> str:
    """Of the VAE whose latents it reads."""
    return self.model.vae_digest

  def caption(self, records: Sequence[latents_lib.Record]
              ) -> list[tuple[str, str]]:
    """The short and the descriptive caption of each record; as `captions`."""
    return [(short, descriptive) for short, descriptive in captions(
        self._component, self.tokenizer, records, (SHORT, DESCRIPTIVE))]

  def describe(self, video: videos_lib.Like, fps: float) -> str:
    """The descriptive caption of a video uint8 [T, H, W, 3], or another of `Like`.

    An image has one frame. What is larger or longer than what the captioner was
    trained on is looked at smaller, and at fewer of its frames (`looked_at`).

    Raises:
      ValueError: what is no video, or no rate.
    """
    return captions(self._component, self.tokenizer,
                    [self.record(video, fps)])[0][0]

  def looked_at(self, video: np.ndarray) -> tuple[int, int, int]:
    """(T, H, W) at which a video is looked at."""
    module, vae = self._component.module, self.model.vae
    assert vae is not None  # every folder has one
    return fitted(video.shape[:3], vae_lib.stride(vae.module), module.patch,
                  module.most_tokens)

  def similarity(self, texts: Sequence[str], videos: Iterable[videos_lib.Like],
                 fps: float = 8.0) -> np.ndarray:
    """Cosines [texts, videos] float32 of what is said and what is seen.

    Args:
      texts: in words that the captioner knows.
      videos: uint8 [T, H, W, 3] each, of any sizes.
      fps: of the videos.

    Raises:
      ValueError: no text, a text without a word, or what is no video.
    """
    seen = [self.record(video, fps) for video in videos]
    return self.embed_texts(texts) @ self.embed_clips(seen).T

  def embed_clips(self, records: Sequence[latents_lib.Record]) -> np.ndarray:
    """Embeddings [N, E] float32 of length 1; N from 1."""
    if not len(records):
      raise ValueError("there is no video: give one or more")
    component = self._component
    return np.stack(_over_batches(
        component.module, records, lambda tokens: captioner_lib.embed_clips(
            component.module, component.params, tokens)))

  def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
    """Embeddings [N, E] float32 of length 1; N from 1."""
    if isinstance(texts, str) or not len(texts):
      raise ValueError(f"the texts are {texts!r}: give a list of one or more")
    for text in texts:
      if not isinstance(text, str) or not words_lib.split(text):
        raise ValueError(f"{text!r} is no text with a word: say what is shown")
      try:
        files.check_text(text)
      except ValueError as e:
        raise ValueError(f"the text {text[:60]!r} {e}") from e
    module, found = self._component.module, []
    for start in range(0, len(texts), ROWS):
      ids = np.full((ROWS, module.length), tokenizer_lib.PAD, np.int32)
      seg = np.zeros_like(ids)
      for row, text in enumerate(texts[start:start + ROWS]):
        encoded = self.tokenizer.encode(text, module.length)
        ids[row, :len(encoded)] = encoded
        seg[row, :len(encoded)] = 1
      found.append(np.asarray(captioner_lib.embed_texts(
          module, self._component.params, types.Text(ids, seg))))
    return np.concatenate(found)[:len(texts)]

  def record(self, video: videos_lib.Like, fps: float) -> latents_lib.Record:
    """The latents of a video uint8 [T, H, W, 3], as it is looked at."""
    video = np.asarray(videos_lib.opened(video))
    if not (isinstance(fps, (int, float, np.number)) and 0 < fps < float("inf")):
      raise ValueError(f"fps is {fps!r}, it must be a number above 0")
    frames, height, width = self.looked_at(video)
    kept = np.linspace(0, len(video) - 1, frames).round().astype(int)
    if frames > 1:
      fps *= (frames - 1) / (len(video) - 1)
    z = video_lib.latents(self.model, video_lib.cover(video[kept],
                                                      (width, height)))
    return latents_lib.Record(z, (), fps, (frames, height, width))

  @property
  def _component(self) -> pretrained.Component:
    assert self.model.captioner is not None  # `load` sees to it
    return self.model.captioner


def load(name_or_dir: str | os.PathLike = DEFAULT) -> Captioner:
  """The captioner of a model folder, with its VAE.

  Raises:
    ValueError: no such folder, or it has no captioner.
  """
  return _load(find.find(os.fspath(name_or_dir)))


@functools.lru_cache(maxsize=2)
def _load(folder: str) -> Captioner:
  model = pretrained.load(folder, components=("vae", "captioner"))
  if model.captioner is None or not isinstance(model.tokenizer, bytes):
    raise ValueError(f"{folder} has no captioner: train one by "
                     "configs/captioner.py and export it")
  return Captioner(os.path.basename(os.path.normpath(folder)), model,
                   tokenizer_lib.load(model.tokenizer))


def similarity(text: str, video: videos_lib.Like,
               captioner: str | os.PathLike = DEFAULT, fps: float = 8.0) -> float:
  """The cosine of what a text says and a video uint8 [T, H, W, 3] shows.

  Args:
    text: in words that the captioner knows.
    video: of any size.
    captioner: a model folder that has one.
    fps: of the video.
  """
  return float(load(captioner).similarity([text], [video], fps)[0, 0])


def captions(component: pretrained.Component,
             tokenizer: tokenizer_lib.Tokenizer,
             records: Sequence[latents_lib.Record],
             kinds: Sequence[int] = (DESCRIPTIVE,)) -> list[list[str]]:
  """The captions of each record of latents, one of each kind.

  Args:
    component: a models.captioner.Captioner and its parameters.
    tokenizer: of its captions.
    records: normalised latents, of any sizes.
    kinds: of SHORT and DESCRIPTIVE.
  """
  return [[tokenizer.decode(ids) for ids in each] for each in _over_batches(
      component.module, records, lambda tokens: captioner_lib.write(
          component.module, component.params, tokens,
          np.asarray(kinds, np.int32)))]


def fitted(size: tuple[int, ...], stride: tuple[int, int, int],
           patch: tuple[int, int, int], most: int) -> tuple[int, int, int]:
  """(T, H, W) of about `most` tokens or fewer for a video of `size`.

  Frames are left out first, down to LONGEST; then the picture is made smaller,
  down to two tokens a side; then more frames are left out.
  """
  frames, height, width = size
  least = 2 * stride[1] * patch[1]
  count = lambda: int(sizes.token_count((frames, height, width), stride, patch))
  if count() > most:
    frames = min(frames, LONGEST)
  scale = 1.0
  while count() > most and min(height, width) > least:
    scale *= 0.97
    height, width = (max(round(n * scale), least) for n in size[1:])
  while count() > most and frames > stride[0]:
    frames -= stride[0]
  return frames, height, width


def _over_batches(module: captioner_lib.Captioner,
                  records: Sequence[latents_lib.Record],
                  run: Callable[[types.Tokens], jax.Array]) -> list[np.ndarray]:
  """`run` for batches of clips of like length; a result for each record."""
  count = lambda r: int(np.prod(sizes.grid_size(r.z.shape[:3], module.patch)))
  lengths = [count(record) for record in records]
  order = sorted(range(len(records)), key=lengths.__getitem__)
  rows = min(ROWS, len(records))
  found: dict[int, np.ndarray] = {}
  for start in range(0, len(order), ROWS):
    some = order[start:start + ROWS]
    longest = -(-lengths[some[-1]] // MULTIPLE) * MULTIPLE
    out = run(_tokens(module, [records[i] for i in some], rows, longest))
    found.update(zip(some, np.asarray(out)))
  return [found[i] for i in range(len(records))]


def _tokens(module: captioner_lib.Captioner, records, rows: int,
            length: int) -> types.Tokens:
  """Clips as rows of one segment, padded."""
  x = np.zeros((rows, length, module.patch_channels), np.float32)
  pos = np.zeros((rows, length, 3), np.float32)
  seg = np.zeros((rows, length), np.int32)
  for row, record in enumerate(records):
    times = patches.time_positions(len(record.z) // module.patch[0], record.fps,
                                   module.f_ref)
    found = patches.patchify(np.asarray(record.z, np.float32)[None],
                             module.patch, times)
    n = found.x.shape[1]
    x[row, :n], pos[row, :n], seg[row, :n] = found.x[0], found.pos[0], 1
  return types.Tokens(x, pos, seg)

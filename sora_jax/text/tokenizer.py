"""Prompts become ids: a sentencepiece model trained on the captions.

Byte-pair pieces: on a small corpus they end as whole words (a colour is one
piece, world captions have 23), where the unigram model splits them (39 pieces).

Ids: pad 0, end of prompt 1, unknown 2, <continues> 3; no begin of prompt.
Every prompt ends with EOS, and the null text is the empty caption, [EOS].

The control piece <continues> stands in front of a prompt (of the null text too)
when the segment does not begin with a latent of one frame: rotary positions are
relative, so nothing else tells the model whether the first latent it sees
covers one frame or four. It is a control piece and cannot be typed.
"""

from collections.abc import Iterable
import dataclasses
import hashlib
import io
import os
from typing import Protocol

import sentencepiece

from sora_jax import files
from sora_jax.text import open_tokenizer

PAD, EOS, UNK, CONTINUES = 0, 1, 2, 3
VOCAB = 512  # ids of a new tokenizer, at most
BYTES = 2048  # ids from which on a new tokenizer falls back to bytes


@dataclasses.dataclass(frozen=True)
class Tokenizer:
  """A trained tokenizer.

  Attributes:
    model: the bytes of the sentencepiece model.
    processor: the sentencepiece processor of these bytes.
  """

  model: bytes = dataclasses.field(repr=False)
  processor: sentencepiece.SentencePieceProcessor = dataclasses.field(
      repr=False, compare=False)
  pad: int = PAD

  @property
  def vocab_size(self) -> int:
    """The number of ids."""
    return self.processor.vocab_size()

  @property
  def digest(self) -> str:
    """sha256 of the model."""
    return hashlib.sha256(self.model).hexdigest()

  def encode(self, text: str, limit: int, continues: bool = False) -> list[int]:
    """Ids of a prompt, at most `limit`: [<continues>] pieces.. EOS."""
    front = [CONTINUES] if continues else []
    if limit < len(front) + 1:
      raise ValueError(f"a text limit of {limit} holds no prompt; give at least "
                       f"{len(front) + 1}")
    ids = self.processor.encode(text)[:limit - len(front) - 1]
    return front + ids + [EOS]

  def decode(self, ids: Iterable[int]) -> str:
    """The text of ids that EOS ends, as a network writes them.

    A network may have more ids than the tokenizer has pieces; they say nothing.
    """
    ids = [int(i) for i in ids]
    return self.processor.decode([i for i in ids[:ids.index(EOS)]
                                  if i < self.vocab_size])


def train(captions: Iterable[str], path: str | os.PathLike,
          vocab_size: int = VOCAB) -> Tokenizer:
  """Trains a tokenizer on captions and writes it to `path`.

  A corpus that does not allow `vocab_size` pieces gives fewer: size embeddings
  by the config, not by the tokenizer.

  Args:
    captions: in any order; repeated ones count once.
    path: the file to write.
    vocab_size: the most ids, raised to the number of characters if that is
      larger. From BYTES on 256 of them are bytes, of which what the captions
      lack is spelled; it is then never unknown.

  Raises:
    ValueError: no caption at all.
  """
  texts = sorted({" ".join(c.split()) for c in captions} - {""})
  if not texts:
    raise ValueError("no caption to train a tokenizer on: 0 texts")
  spelled = vocab_size >= BYTES
  least = len(set("".join(texts))) + 8 + 256 * spelled
  model = io.BytesIO()
  sentencepiece.SentencePieceTrainer.train(
      sentence_iterator=iter(texts), model_writer=model,
      vocab_size=max(vocab_size, least), hard_vocab_limit=False,
      model_type="bpe", character_coverage=1.0, pad_id=PAD, eos_id=EOS,
      unk_id=UNK, bos_id=-1, control_symbols=["<continues>"],
      normalization_rule_name="nmt_nfkc_cf", max_sentence_length=65536,
      num_threads=1, minloglevel=2, byte_fallback=spelled)
  files.write_bytes(path, model.getvalue())
  return load(model.getvalue())


class DataSet(Protocol):
  """A prepared or encoded data set: manifest.Manifest."""

  @property
  def root(self) -> str:
    """The folder."""
    ...

  @property
  def info(self) -> dict:
    """dataset.json."""
    ...


def of(data: DataSet) -> Tokenizer:
  """The tokenizer that a data set was prepared with.

  Raises:
    ValueError: it is missing, or not the one that dataset.json names.
  """
  path = os.path.join(data.root, "tokenizer.model")
  found = load(path)
  if found.digest != data.info.get("tokenizer", found.digest):
    raise ValueError(f"{path} is not the tokenizer that dataset.json names: "
                     "prepare the data set again")
  return found


def open_folder(folder: str | os.PathLike
                ) -> Tokenizer | open_tokenizer.OpenTokenizer:
  """The tokenizer of a model folder's part tokenizer/, ours or another's.

  Either has `encode(text, limit, continues)`, `vocab_size` and `pad`.

  Raises:
    ValueError: none is there, or a file is damaged; the message names it.
  """
  ours = os.path.join(folder, "tokenizer.model")
  if os.path.isfile(ours):
    return load(ours)
  return open_tokenizer.read(folder)


def load(source: bytes | str | os.PathLike) -> Tokenizer:
  """The tokenizer of a path or of the bytes of a model.

  Raises:
    ValueError: not a tokenizer of ours.
  """
  name = "the tokenizer" if isinstance(source, bytes) else os.fspath(source)
  if not isinstance(source, bytes):
    if not os.path.isfile(source):
      raise ValueError(f"{name}: no such tokenizer")
    with open(source, "rb") as f:
      source = f.read()
  processor = sentencepiece.SentencePieceProcessor()
  try:
    processor.LoadFromSerializedProto(source)
  except RuntimeError as e:
    raise ValueError(f"{name} is not a sentencepiece model") from e
  found = (processor.pad_id(), processor.eos_id(), processor.unk_id(),
           processor.piece_to_id("<continues>"))
  if found != (PAD, EOS, UNK, CONTINUES):
    raise ValueError(f"{name} has pad, eos, unk, <continues> ids {found}, not "
                     f"{(PAD, EOS, UNK, CONTINUES)}: train it with sora-jax")
  return Tokenizer(source, processor)

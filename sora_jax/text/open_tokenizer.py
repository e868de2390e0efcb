"""The tokenizers of open text encoders (T5, UMT5), read from their files.

spiece.model is a sentencepiece model; tokenizer.json is what the `tokenizers`
package writes. Both give the ids that `transformers` gives, which is what the
open models were trained with and differs from sentencepiece in two ways:

  * Where a model can spell an unknown character in bytes, the run of unknown
    characters is one unknown id all the same.
  * A special token typed in a text is that token. The sentinels <extra_id_0>,
    <extra_id_1>, .. stand behind the pieces of spiece.model, the last first.
"""

from collections.abc import Callable
import dataclasses
import itertools
import os
import re
from typing import Any

import sentencepiece

from sora_jax import extras
from sora_jax import files

Find = Callable[[str], int | None]  # a special token to its id
Reading = tuple[Callable[[str], list[int]], int, Find]
SENTINELS = 100  # <extra_id_i> where tokenizer_config.json names no number


@dataclasses.dataclass(frozen=True)
class OpenTokenizer:
  """Somebody else's tokenizer.

  Attributes:
    split: a text to its ids, without the end of the prompt.
    vocab_size: the number of ids, sentinels included.
    eos: the id that ends every prompt.
    pad: the id of padding.
  """

  split: Callable[[str], list[int]] = dataclasses.field(repr=False)
  vocab_size: int
  eos: int
  pad: int

  def encode(self, text: str, limit: int, continues: bool = False) -> list[int]:
    """Ids of a prompt, at most `limit`: pieces.. EOS.

    `continues` is as in tokenizer.Tokenizer and changes nothing here.
    """
    del continues
    if limit < 1:
      raise ValueError(f"a text limit of {limit} holds no prompt; give at least "
                       "1")
    return self.split(text)[:limit - 1] + [self.eos]


def read(folder: str | os.PathLike) -> OpenTokenizer:
  """The tokenizer of a folder, from spiece.model or else tokenizer.json.

  Raises:
    ValueError: neither is there, a file is damaged, a special token is not in
      the vocabulary, or a package is missing; the message names it.
  """
  found = [name for name in FILES if os.path.isfile(os.path.join(folder, name))]
  if not found:
    raise ValueError(f"{folder} has no tokenizer: {' or '.join(FILES)}")
  path, settings = os.path.join(folder, found[0]), _settings(folder)
  split, vocab_size, find = FILES[found[0]](path, settings)
  special = lambda key, usual: _id(find, settings.get(key) or usual, path)
  return OpenTokenizer(split, vocab_size, eos=special("eos_token", "</s>"),
                       pad=special("pad_token", "<pad>"))


def _spiece(path: str, settings: dict[str, Any]) -> Reading:
  """(split, number of ids, token to id) of a sentencepiece model."""
  processor = sentencepiece.SentencePieceProcessor()
  try:
    with open(path, "rb") as f:
      processor.LoadFromSerializedProto(f.read())
  except RuntimeError as e:
    raise ValueError(f"{path} is not a sentencepiece model") from e
  size, unknown = processor.vocab_size(), processor.unk_id()
  sentinels = settings.get("extra_ids", SENTINELS)
  special = {f"<extra_id_{sentinels - 1 - i}>": size + i
             for i in range(sentinels)}
  special |= {processor.id_to_piece(i): i for i in range(size)
              if processor.is_control(i) or processor.is_unknown(i)}
  special |= {token["content"]: int(i) for i, token in
              settings.get("added_tokens_decoder", {}).items()}
  borders = re.compile("(" + "|".join(
      re.escape(token) for token in sorted(special, key=len, reverse=True))
      + ")")

  def split(text: str) -> list[int]:
    ids = []
    for part in borders.split(text):
      if part in special:
        ids.append(special[part])
        continue
      for spelled, run in itertools.groupby(processor.encode(part),
                                            processor.is_byte):
        ids.extend([unknown] if spelled else run)
    return ids

  return split, max(size, *special.values()) + 1, special.get


def _json(path: str, settings: dict[str, Any]) -> Reading:
  """(split, number of ids, token to id) of a file of `tokenizers`."""
  del settings  # all that splits a text is in the file
  try:
    import tokenizers  # pylint: disable=g-import-not-at-top
  except ImportError:
    raise ValueError(f"{path} needs the package tokenizers: "
                     f"{extras.install('text')}") from None
  try:
    tokenizer = tokenizers.Tokenizer.from_file(path)
  except Exception as e:  # the package raises no narrower class
    raise ValueError(f"{path} is not a tokenizer: {e}") from e
  tokenizer.no_truncation()  # what the last caller had is saved with it
  tokenizer.no_padding()
  split = lambda text: tokenizer.encode(text, add_special_tokens=False).ids
  return split, tokenizer.get_vocab_size(), tokenizer.token_to_id


FILES = {"spiece.model": _spiece, "tokenizer.json": _json}


def _settings(folder: str | os.PathLike) -> dict[str, Any]:
  """tokenizer_config.json over special_tokens_map.json; {} without them."""
  found: dict[str, Any] = {}
  for name in ("special_tokens_map.json", "tokenizer_config.json"):
    found |= files.find_json(os.path.join(folder, name)) or {}
  return found


def _id(find: Find, token: str | dict, path: str) -> int:
  """The id of a special token, which may be written with its settings."""
  token = token["content"] if isinstance(token, dict) else token
  found = find(token)
  if found is None:
    raise ValueError(f"{path} has no special token {token!r}")
  return found

"""Pairs of a short and a descriptive text, which the expander is trained on.

A folder of pairs holds pairs.jsonl, ["short", "descriptive"] a line, and
tokenizer.model. A prepared or encoded data set will do as well: its captions are
pairs, and its tokenizer is there.
"""

from collections.abc import Sequence
import dataclasses
import functools
import hashlib
import json
import os

from sora_jax import files
from sora_jax import messages
from sora_jax.data.store import latents
from sora_jax.data.store import manifest as manifest_lib
from sora_jax.data.store import records
from sora_jax.text import tokenizer as tokenizer_lib
from sora_jax.text import words

FILE = "pairs.jsonl"
VOCAB = 2048  # ids of the tokenizer of a folder of pairs, at most


@dataclasses.dataclass(frozen=True)
class Pairs:
  """Pairs of a folder.

  Attributes:
    root: the folder.
    pairs: (short, descriptive) each, at least one.
    info: what dataset.json says, {} in a folder of pairs.
  """

  root: str
  pairs: tuple[tuple[str, str], ...] = dataclasses.field(repr=False)
  info: dict

  def __len__(self) -> int:
    return len(self.pairs)

  @functools.cached_property
  def digest(self) -> str:
    """sha256 of all pairs."""
    return hashlib.sha256(json.dumps(self.pairs).encode()).hexdigest()


def open_pairs(root: str | os.PathLike) -> Pairs:
  """The pairs of a folder: of pairs, or a data set.

  Raises:
    ValueError: none is there, or a line is no pair.
  """
  root = os.fspath(root)
  path = os.path.join(root, FILE)
  if not os.path.isfile(path):
    return _of_data_set(root)
  found = []
  for i, line in enumerate(files.read_text(path).splitlines(), 1):
    try:
      short, long = files.parse_json(line)
      if not (isinstance(short, str) and isinstance(long, str)):
        raise ValueError("holds no two texts")
    except (ValueError, TypeError) as e:
      raise ValueError(f'{path}: line {i} {e}; write ["short", "descriptive"]'
                       ) from e
    found.append((short, long))
  if not found:
    raise ValueError(f"{path} holds no pair")
  return Pairs(root, tuple(found), {})


def write(root: str | os.PathLike, pairs: Sequence[tuple[str, str]],
          vocab: int = VOCAB) -> Pairs:
  """Writes a folder of pairs and its tokenizer."""
  os.makedirs(root, exist_ok=True)
  tokenizer_lib.train((words.spaced(text) for pair in pairs for text in pair),
                      os.path.join(root, "tokenizer.model"), vocab)
  files.write_text(os.path.join(root, FILE), "".join(
      json.dumps(pair, ensure_ascii=False) + "\n" for pair in pairs))
  return Pairs(os.fspath(root), tuple((a, b) for a, b in pairs), {})


def _of_data_set(root: str) -> Pairs:
  """The pairs of captions of a prepared or encoded data set."""
  manifest = manifest_lib.open_manifest(root)
  encoded = manifest.info.get("kind") == "latents"
  captions = (latents.captions_of(manifest.record(i)) if encoded else
              records.read(manifest, i).captions for i in range(len(manifest)))
  found = dict.fromkeys((c[0], c[-1]) for c in captions if len(c) > 1)
  if not found:
    raise ValueError(f"{root}: none of {messages.count(len(manifest), 'clip')} has "
                     "a short and a descriptive caption")
  return Pairs(root, tuple(found), manifest.info)

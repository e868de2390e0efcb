"""Which words a model knows: those of the captions it was trained on.

A model folder lists them in tokenizer/words.txt, the most frequent first. For a
folder without the list the tokenizer answers: it was trained on the captions,
where a frequent word is one piece. Of Chinese and Japanese, which have no
blanks, every character is a word.
"""

import collections
from collections.abc import Callable, Iterable, Sequence
import re
import unicodedata

from sora_jax.text import open_tokenizer
from sora_jax.text import tokenizer as tokenizer_lib

CHARACTER = "[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
WORD = re.compile(rf"{CHARACTER}|(?:(?!{CHARACTER})\w)+")
SHOWN = 24  # words that a message names as known
Tokenizer = tokenizer_lib.Tokenizer | open_tokenizer.OpenTokenizer


def split(text: str) -> list[str]:
  """The words of a text, in small letters."""
  return WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def spaced(text: str) -> str:
  """A text with blanks around every character that is a word.

  Pieces of a tokenizer do not go over blanks: without them a whole Chinese
  caption becomes one piece.
  """
  return re.sub(CHARACTER, r" \g<0> ", text)


def count(captions: Iterable[str]) -> tuple[str, ...]:
  """The words of captions, the most frequent first."""
  found: collections.Counter[str] = collections.Counter()
  for caption in captions:
    found.update(split(caption))
  return tuple(sorted(found, key=lambda word: (-found[word], word)))


def unknown(text: str, listed: Sequence[str],
            tokenizer: Tokenizer) -> list[str]:
  """The words of a text that a model does not know.

  Args:
    text: a prompt.
    listed: the words that the model folder lists, () where it lists none.
    tokenizer: of the model. An open text encoder knows all words.
  """
  if isinstance(tokenizer, open_tokenizer.OpenTokenizer):
    return []
  known = _listed(listed) if listed else _pieces(tokenizer)
  found: list[str] = []
  last = False  # whether the word before is an unknown character
  for word in split(text):
    new = not known(word)
    character = bool(re.fullmatch(CHARACTER, word))
    if new and last and character:
      found[-1] += word
    elif new:
      found.append(word)
    last = new and character
  return list(dict.fromkeys(found))


def examples(listed: Sequence[str], tokenizer: Tokenizer | None) -> list[str]:
  """Words that a model knows, for a message: at most SHOWN.

  Args:
    listed: as in `unknown`.
    tokenizer: of ours, which is looked at where none is listed.
  """
  words = listed or _whole_words(tokenizer)
  telling = [word for word in words
             if len(word) > 2 or re.match(CHARACTER, word)]
  return list(telling[:SHOWN])


def _listed(listed: Sequence[str]) -> Callable[[str], bool]:
  return frozenset(listed).__contains__


def _pieces(tokenizer: tokenizer_lib.Tokenizer) -> Callable[[str], bool]:
  """Whether a word is one piece, or a character one of a piece."""
  processor = tokenizer.processor

  def known(word: str) -> bool:
    if re.fullmatch(CHARACTER, word):
      return processor.piece_to_id(word) != tokenizer_lib.UNK
    return processor.piece_to_id(f"\u2581{word}") != tokenizer_lib.UNK

  return known


def _whole_words(tokenizer: Tokenizer | None) -> list[str]:
  """The pieces that begin a word and are no beginning of another word."""
  if not isinstance(tokenizer, tokenizer_lib.Tokenizer):
    return []
  pieces = [tokenizer.processor.id_to_piece(i)
            for i in range(tokenizer.vocab_size)]
  begun = [p[1:] for p in pieces if p.startswith("\u2581")]
  longer = lambda p: any(q.startswith(p) and q not in (p, p + "s") for q in begun)
  return [p for p in begun if p and not longer(p)]

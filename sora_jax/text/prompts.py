"""Prompts become ids: the one way there, for training and for sampling.

A model of ours takes the caption as it is, and <continues> in front of it where
the clip does not begin with a latent of one frame. Open models (`padded`) were
trained on cleaned prompts that are padded to the limit, and know no <continues>.
"""

from collections.abc import Sequence
import html
import importlib.util
import sys

import numpy as np

from sora_jax.text import open_tokenizer
from sora_jax.text import tokenizer as tokenizer_lib

Tokenizer = tokenizer_lib.Tokenizer | open_tokenizer.OpenTokenizer


def clean(prompt: str) -> str:
  """A prompt as Wan takes it: broken text mended, one space between words.

  Like the reference, it mends text (mojibake, curly quotes) only where the
  package ftfy, of the extra text, is installed.
  """
  if importlib.util.find_spec("ftfy"):
    import ftfy  # pylint: disable=g-import-not-at-top
    prompt = ftfy.fix_text(prompt)
  return " ".join(html.unescape(html.unescape(prompt)).split())


def encode(tokenizer: Tokenizer, prompt: str, limit: int, padded: bool,
           continues: bool = False) -> list[int]:
  """Ids of a prompt, at most `limit`, the end of the prompt included.

  Args:
    tokenizer: of the model.
    prompt: the text.
    limit: the most ids.
    padded: whether the model is an open one, which takes cleaned prompts.
    continues: whether the clip begins inside a video; open models ignore it.

  Raises:
    ValueError: a limit that holds no prompt.
  """
  if padded:
    return tokenizer.encode(clean(prompt), limit)
  return tokenizer.encode(prompt, limit, continues)


def length(tokenizer: Tokenizer, prompt: str, padded: bool,
           continues: bool = False) -> int:
  """The ids of a prompt where no limit cuts it, as `encode`."""
  return len(encode(tokenizer, prompt, sys.maxsize, padded, continues))


def encode_rows(tokenizer: Tokenizer, prompts: Sequence[str], limit: int,
                padded: bool, continues: bool = False
                ) -> tuple[np.ndarray, np.ndarray]:
  """(ids, seg), both int32 [B, limit]: a prompt a row; seg is 0 in padding."""
  ids = np.full((len(prompts), limit), tokenizer.pad, np.int32)
  seg = np.zeros((len(prompts), limit), np.int32)
  for i, prompt in enumerate(prompts):
    row = encode(tokenizer, prompt, limit, padded, continues)
    ids[i, :len(row)], seg[i, :len(row)] = row, 1
  return ids, seg

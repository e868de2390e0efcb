"""A trained expander at work: a contracts.Expander on this machine."""

import dataclasses
import functools
import os

import jax

from sora_jax import types
from sora_jax.formats import find
from sora_jax.formats import pretrained
from sora_jax.language import answers
from sora_jax.models import expander as expander_lib
from sora_jax.text import prompts
from sora_jax.text import tokenizer as tokenizer_lib
from sora_jax.text import words

DEFAULT = "worlds/expander"  # of this package
TEMPERATURE = 0.5  # of what is drawn: texts differ, and keep what is asked


@dataclasses.dataclass(frozen=True, repr=False)
class Local:
  """An expander of a model folder.

  Attributes:
    name: of the folder.
    component: the network and its parameters.
    tokenizer: of prompts and texts.
  """

  name: str
  component: pretrained.Component
  tokenizer: tokenizer_lib.Tokenizer

  def expand(self, prompt: str, seed: int = 0, seen: str = "") -> str:
    """A longer text of a prompt, drawn by the seed.

    Args:
      prompt: what the user wrote.
      seed: another seed gives another text.
      seen: is not looked at: it was trained on prompts alone.

    Raises:
      ValueError: a prompt that is longer than what it was trained on, or has
        emoji, which it was not.
    """
    del seen
    if odd := answers.sign(prompt):
      raise ValueError(f"{self.name} reads words alone, and the prompt has {odd!r}")
    module = self.component.module
    prompt = words.spaced(prompt)
    count = prompts.length(self.tokenizer, prompt, False)
    if count > module.prompt_length:
      raise ValueError(f"the prompt has {count} ids, and {self.name} reads at most "
                       f"{module.prompt_length}")
    rows = prompts.encode_rows(self.tokenizer, [prompt], module.prompt_length,
                               False)
    ids = expander_lib.write(module, self.component.params, types.Text(*rows),
                             jax.random.key(seed), TEMPERATURE)
    return self.tokenizer.decode(ids[0])


def load(name_or_dir: str | os.PathLike = DEFAULT) -> Local:
  """The expander of a model folder.

  Raises:
    ValueError: no such folder, or it has no expander.
  """
  return _load(os.fspath(name_or_dir))


@functools.lru_cache(maxsize=2)
def _load(name: str) -> Local:
  folder = find.find(name)
  model = pretrained.load(folder, components=("expander",))
  if model.expander is None or not isinstance(model.tokenizer, bytes):
    raise ValueError(f"{folder} has no expander: train one by configs/expander.py "
                     "and export it")
  return Local(name, model.expander, tokenizer_lib.load(model.tokenizer))

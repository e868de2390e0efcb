"""A model by its name: of this package, a folder, or a repository."""

import os

from sora_jax.formats import hub

WEIGHTS = os.path.join(os.path.dirname(os.path.dirname(__file__)), "weights")


def find(name_or_dir: str) -> str:
  """The folder of a model: itself, the name of one of ours, or a repository.

  Raises:
    ValueError: no such model.
  """
  for folder in (name_or_dir, os.path.join(WEIGHTS, name_or_dir)):
    if os.path.isdir(folder):
      return folder
  if hub.is_repo(name_or_dir):
    return hub.fetch(name_or_dir)
  names = sorted(os.listdir(WEIGHTS)) if os.path.isdir(WEIGHTS) else []
  raise ValueError(f"there is no model '{name_or_dir}': give a model folder, "
                   "a repository ORG/NAME of Hugging Face" + (
                       f", or the name of a model of this package: "
                       f"{', '.join(names)}" if names else ""))

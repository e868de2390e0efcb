"""A model by its name: of this package, a folder, or a repository."""

import logging
import os

from sora_jax import extras
from sora_jax import files
from sora_jax.formats import hub

WEIGHTS = os.path.join(os.path.dirname(os.path.dirname(__file__)), "weights")


def find(name_or_dir: str) -> str:
  """The folder of a model: itself, the name of one of ours, or a repository.

  A repository is hf:ORG/NAME. ORG/NAME will do where there is no folder ORG, so
  that nobody who mistypes the name of a folder is given a stranger's model, and
  only with the extra `hub`. A line says so before anything is fetched.

  Raises:
    ValueError: no such model.
  """
  files.refuse_address(name_or_dir, "model ")
  for folder in (name_or_dir, os.path.join(WEIGHTS, name_or_dir)):
    if os.path.isdir(folder):
      return folder
  repo = name_or_dir.removeprefix(hub.PREFIX)
  named = repo != name_or_dir
  if named and not hub.is_repo(repo):
    raise ValueError(f"{name_or_dir} is no repository: write hf:ORG/NAME")
  if named or hub.is_repo(repo) and hub.installed() and not os.path.exists(
      repo.split("/")[0]):
    logging.warning("looking for %s at Hugging Face", repo)
    return hub.fetch(repo)
  names = sorted(os.path.relpath(at, WEIGHTS) for at, _, names in os.walk(WEIGHTS)
                 if "model_index.json" in names)
  raise ValueError(f"there is no model '{name_or_dir}': give a model folder, "
                   "a repository hf:ORG/NAME of Hugging Face ("
                   f"{extras.install('hub')})" + (
                       f", or the name of a model of this package: "
                       f"{', '.join(names)}" if names else ""))

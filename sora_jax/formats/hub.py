"""Model folders of Hugging Face, by the id of their repository.

The one place that touches the network, and only where a repository is named.
What is fetched stays in the cache of huggingface_hub, so a second call, or one
with HF_HUB_OFFLINE=1, reads it from disk.
"""

import importlib.util
import re

from sora_jax import extras

# What `pretrained` reads; no Python, no pickle.
FILES = ["model_index.json", "*/*.json", "*/*.safetensors", "*/*.model"]
PREFIX = "hf:"  # of a name that can be no folder
REPO = re.compile(r"[\w-]+(\.[\w-]+)*/[\w-]+(\.[\w-]+)*")


def is_repo(name: str) -> bool:
  """Whether a name has the form of a repository id, ORG/NAME."""
  return REPO.fullmatch(name) is not None


def installed() -> bool:
  """Whether the extra `hub` is."""
  try:
    return importlib.util.find_spec("huggingface_hub") is not None
  except ValueError:  # it is loaded as nothing
    return False


def fetch(repo: str) -> str:
  """The folder of a repository, downloaded unless it is in the cache.

  Raises:
    ValueError: the package is missing, or there is no such repository, or it
      cannot be reached.
  """
  try:
    import huggingface_hub  # pylint: disable=g-import-not-at-top
  except ImportError:
    raise ValueError(
        f"to fetch {repo} from Hugging Face: "
        f"{extras.install('hub')}") from None
  try:
    return huggingface_hub.snapshot_download(repo, allow_patterns=FILES)
  except Exception as e:  # of many kinds: HTTP, network, cache
    raise ValueError(f"{repo} cannot be fetched from Hugging Face: "
                     f"{str(e).splitlines()[0]}") from e

"""Model folders of Hugging Face, by the id of their repository.

The one place that touches the network, and only where a repository is named.
What is fetched stays in the cache of huggingface_hub, so a second call, or one
with HF_HUB_OFFLINE=1, reads it from disk.
"""

import re

# What `pretrained` reads; no Python, no pickle.
FILES = ["model_index.json", "*/*.json", "*/*.safetensors", "*/*.model"]
REPO = re.compile(r"[\w-]+(\.[\w-]+)*/[\w-]+(\.[\w-]+)*")


def is_repo(name: str) -> bool:
  """Whether a name has the form of a repository id, ORG/NAME."""
  return REPO.fullmatch(name) is not None


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
        f"there is no folder {repo}; to fetch it from Hugging Face install the "
        "extra hub: pip install 'sora_jax[hub]'") from None
  try:
    return huggingface_hub.snapshot_download(repo, allow_patterns=FILES)
  except Exception as e:  # of many kinds: HTTP, network, cache
    raise ValueError(f"there is no folder {repo}, and from Hugging Face it "
                     f"cannot be fetched: {str(e).splitlines()[0]}") from e

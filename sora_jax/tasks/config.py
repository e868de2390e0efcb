"""Reads configs: a file of the user's, and what an older run has saved.

A config file has get_config(variant) and returns an ml_collections ConfigDict.
A path that is not found in the working directory is looked up in the checkout
that the package lies in, and in the copies that setup.py installed.
"""

from collections.abc import Iterator
import json
import os
import site
import sys
from typing import Any

from ml_collections import config_dict
from ml_collections import config_flags

from sora_jax.data.loading import conditioning
from sora_jax.tasks import task

# Old name of a config key -> its name now. A config that has the old one is
# refused with the new one; what a run has saved is read under the new one.
RENAMED_KEYS = {
    "compressor": "vae_config",
    "data.masks": "data.conditioning",
    "data.block": "data.chunk",
    "objective.critic_width": "objective.discriminator_width",
    "objective.critic_limit": "objective.discriminator_limit",
}

# Key that a config did not always have -> what runs did before it was there.
ADDED_KEYS = {"optimizer.moments": "float32", "optimizer.offload": False}
ADDED_KEYS_OF: dict[str, dict[str, Any]] = {  # of one kind
    "dit": {"data.captions": []}}


def load(name: str) -> config_dict.ConfigDict:
  """The config FILE:VARIANT, such as configs/dit.py:tiny.

  Raises:
    ValueError: no such file or variant, the file cannot be run, or it gives no
      config of a kind that there is, or has a key that was renamed.
  """
  path = resolve(name)
  file = path.split(":", 1)[0]
  try:
    cfg = config_flags.config_flags.ConfigFileFlagParser("config").parse(path)
  except Exception as e:  # whatever a file of the user's raises
    error: BaseException = e
    if isinstance(e, (TypeError, ValueError)):
      error = e.__context__ or e  # these are raised anew, with their traceback
    kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
    raise ValueError(f"{file}: {kind}{error}") from error
  if not isinstance(cfg, config_dict.ConfigDict):
    raise ValueError(f"{file}: get_config gives {type(cfg).__name__}, it must "
                     "give a ConfigDict")
  refuse_unknown(cfg, file)
  return cfg


def refuse_unknown(cfg: config_dict.ConfigDict, name: str = "config") -> None:
  """Refuses a config of no kind that there is, or with a renamed key.

  Raises:
    ValueError: it is one; the message begins with `name`.
  """
  if cfg.get("kind") not in task.TASKS:
    raise ValueError(f"{name}: kind is {cfg.get('kind')!r}, it must be one of "
                     f"{', '.join(task.TASKS)}")
  for key, _ in flatten(cfg):
    if key in RENAMED_KEYS:
      raise ValueError(f"{name}: the config key {key} is called "
                       f"{RENAMED_KEYS[key]} now")


def resolve(name: str) -> str:
  """FILE:VARIANT with the path of a file that is there.

  Raises:
    ValueError: it is neither here nor among those that came with the package.
  """
  path, *variant = name.split(":", 1)
  if not os.path.exists(path):
    tried = [os.path.join(root, path) for root in roots()]
    found = [at for at in tried if os.path.isfile(at)]
    if not found:
      raise ValueError(f"there is no config file {path}, here or in "
                       f"{' or '.join(map(os.path.dirname, tried))}")
    path = found[0]
  return ":".join([path, *variant])


def roots() -> list[str]:
  """The folders that configs/ of this package may lie in."""
  above = os.path.dirname(os.path.dirname(os.path.dirname(
      os.path.abspath(__file__))))
  # A checkout, with or without an editable install; site-packages is none.
  checkout = [above] if os.path.isfile(os.path.join(above, "setup.py")) else []
  # pip puts them there, with --user, and with --target.
  shares = [sys.prefix, site.getuserbase(), above]
  return checkout + [os.path.join(at, "share", "sora_jax") for at in shares]


def flatten(cfg: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
  """Yields ("section.key", value) of a config or a dict."""
  for key, value in cfg.items():
    name = f"{prefix}{key}"
    if isinstance(value, (dict, config_dict.ConfigDict)):
      yield from flatten(value, name + ".")
    else:
      yield name, value


def section(cfg: Any) -> dict[str, Any]:
  """A section of a config as keyword arguments."""
  return dict(cfg.items())


def to_json(cfg: config_dict.ConfigDict) -> dict:
  """The config as plain JSON values."""
  return json.loads(cfg.to_json_best_effort())


def with_new_names(saved: dict) -> dict:
  """The config that a run has saved, with the keys of today."""
  found = json.loads(json.dumps(saved))
  for old, new in RENAMED_KEYS.items():
    (*path, last), (*new_path, new_last) = old.split("."), new.split(".")
    at, to = _at(found, path), _at(found, new_path)
    if isinstance(at, dict) and isinstance(to, dict) and last in at:
      to.setdefault(new_last, at.pop(last))
  added = ADDED_KEYS | ADDED_KEYS_OF.get(found.get("kind"), {})
  for name, value in added.items():
    *path, last = name.split(".")
    at = _at(found, path)
    if isinstance(at, dict):
      at.setdefault(last, value)
  data = found.get("data")
  if isinstance(data, dict) and data.get("conditioning"):
    data["conditioning"] = conditioning.with_new_names(data["conditioning"])
  return found


def _at(tree: Any, path: list[str]) -> Any:
  """What lies at a path of keys; None if it does not."""
  for key in path:
    tree = tree.get(key) if isinstance(tree, dict) else None
  return tree

"""Reads a `--config=FILE:VARIANT` flag with its `--config.key=value` overrides.

The config is locked: an unknown key is an error that names the nearest one, and
the old name of a key one that names the new one.
"""

import re

from absl import flags
from ml_collections import config_flags

from sora_jax import messages
from sora_jax.cli import options
from sora_jax.tasks import config as config_lib

WHAT = ("FILE:VARIANT of the config, such as configs/dit.py:tiny; "
        "--config.key=value changes a key.")


def define(values: flags.FlagValues, argv: list[str]) -> list[str]:
  """Defines --config on `values` and returns argv with its path resolved.

  Raises:
    ValueError: no such config file, variant or key.
  """
  if options.asked(argv):
    flags.DEFINE_string("config", None, WHAT, flag_values=values)
    return argv
  prefix = "--config="
  argv = [re.sub(r"^--?(no)?config\.[^=]*", lambda m: m[0][:2] + m[0][2:].replace(
      "-", "_"), a) for a in argv]
  argv = [prefix + config_lib.resolve(a.removeprefix(prefix))
          if a.startswith(prefix) else a for a in argv]
  named = [a for a in argv if a.startswith(prefix)]
  if not named:
    raise ValueError("--config=FILE:VARIANT is needed, such as "
                     "--config=configs/dit.py:tiny")
  _check_overrides(named[-1].removeprefix(prefix), argv)
  config_flags.DEFINE_config_file("config", None, WHAT, flag_values=values,
                                  sys_argv=argv)
  return argv


def _check_overrides(name: str, argv: list[str]) -> None:
  """Names the nearest key for every unknown one; the kind is the file's."""
  cfg = config_lib.load(name)
  keys = [k for k, _ in config_lib.flatten(cfg)]
  for arg, following in zip(argv, [*argv[1:], ""]):
    match = re.match(r"--?(?:no)?config\.([^=]+)(?:=(.*))?", arg)
    if match and match[1] == "kind":
      value = following if match[2] is None else match[2]
      if value != cfg.kind:
        raise ValueError(f"--config.kind={value}: {name} is of kind "
                         f"{cfg.kind}; name a config of another kind instead")
    elif match and match[1] in config_lib.RENAMED_KEYS:
      raise ValueError(f"the config key {match[1]} is called "
                       f"{config_lib.RENAMED_KEYS[match[1]]} now")
    elif match and match[1] not in keys:
      raise ValueError(f"there is no config key '{match[1]}' in {name}, "
                       + _instead(match[1], keys))


def _instead(key: str, keys: list[str]) -> str:
  """The key that was meant, or all keys beside an unknown one."""
  if near := messages.nearest(key, keys):
    return f"the nearest is '{near}'"
  section = key.rpartition(".")[0]
  beside = [k for k in keys if k.rpartition(".")[0] == section]
  return f"there are {', '.join(beside or keys)}"

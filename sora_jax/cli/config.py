"""Reads a `--config=FILE:VARIANT` flag with its `--config.key=value` overrides.

A config file has get_config(variant) and returns an ml_collections ConfigDict,
which is locked: an unknown key is an error that names the nearest one. A path
that is not found in the working directory is looked up in the copy that
setup.py installed.
"""

import difflib
import json
import os
import re
import sys

from absl import flags
from ml_collections import config_dict
from ml_collections import config_flags

from sora_jax.cli import options

WHAT = ("FILE:VARIANT of the config, such as configs/dit.py:tiny; "
        "--config.key=value changes a key.")
KINDS = ("vae", "dit")


def define(values: flags.FlagValues, argv: list[str]) -> list[str]:
  """Defines --config on `values` and returns argv with its path resolved.

  Raises:
    ValueError: no such config file, variant or key.
  """
  if options.asked(argv):
    flags.DEFINE_string("config", None, WHAT, flag_values=values)
    return argv
  argv = [_resolve(a) for a in argv]
  given = [a for a in argv if a.startswith("--config=")]
  if not given:
    raise ValueError("--config=FILE:VARIANT is needed, such as "
                     "--config=configs/dit.py:tiny")
  _check_overrides(given[-1].removeprefix("--config="), argv)
  config_flags.DEFINE_config_file("config", None, WHAT, flag_values=values,
                                  sys_argv=argv)
  return argv


def load(name: str) -> config_dict.ConfigDict:
  """The config FILE:VARIANT.

  Raises:
    ValueError: no such file or variant, the file cannot be run, or it gives no
      config of a kind that there is.
  """
  path = _resolve(f"--config={name}").removeprefix("--config=")
  file = path.split(":", 1)[0]
  try:
    cfg = config_flags.config_flags.ConfigFileFlagParser("config").parse(path)
  except Exception as e:  # whatever a file of the user's raises
    if isinstance(e, (TypeError, ValueError)):
      e = e.__context__ or e  # these are raised anew, with their traceback
    kind = "" if isinstance(e, ValueError) else f"{type(e).__name__}: "
    raise ValueError(f"{file}: {kind}{e}") from e
  if not isinstance(cfg, config_dict.ConfigDict):
    raise ValueError(f"{file}: get_config gives {type(cfg).__name__}, it must "
                     "give a ConfigDict")
  if cfg.get("kind") not in KINDS:
    raise ValueError(f"{file}: kind is {cfg.get('kind')!r}, it must be one of "
                     f"{', '.join(KINDS)}")
  return cfg


def to_json(cfg: config_dict.ConfigDict) -> dict:
  """The resolved config as plain JSON values."""
  return json.loads(cfg.to_json_best_effort())


def _resolve(arg: str) -> str:
  if not arg.startswith("--config="):
    return arg
  path, *variant = arg.removeprefix("--config=").split(":", 1)
  installed = os.path.join(sys.prefix, "share", "sora_jax", path)
  if not os.path.exists(path):
    if not os.path.exists(installed):
      raise ValueError(f"there is no config file {path}, here or in "
                       f"{os.path.dirname(installed)}")
    path = installed
  return "--config=" + ":".join([path, *variant])


def _check_overrides(config: str, argv: list[str]) -> None:
  """Names the nearest key for every unknown one; the kind is the file's."""
  cfg = load(config)
  keys = [k for k, _ in _flatten(cfg)]
  for arg, following in zip(argv, [*argv[1:], ""]):
    match = re.match(r"--?(?:no)?config\.([^=]+)(?:=(.*))?", arg)
    if match and match[1] == "kind":
      value = following if match[2] is None else match[2]
      if value != cfg.kind:
        raise ValueError(f"--config.kind={value}: {config} is of kind "
                         f"{cfg.kind}; name a config of another kind instead")
    elif match and match[1] not in keys:
      near = difflib.get_close_matches(match[1], keys, 1, cutoff=0)
      raise ValueError(f"there is no config key '{match[1]}' in {config}, the "
                       f"nearest is '{near[0]}'")


def _flatten(cfg, prefix=""):
  for key, value in cfg.items():
    name = f"{prefix}{key}"
    if isinstance(value, config_dict.ConfigDict):
      yield from _flatten(value, name + ".")
    else:
      yield name, value

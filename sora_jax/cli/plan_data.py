"""`sora-jax plan-data`: what a config makes of a data set, before training.

  sora-jax plan-data --config=configs/dit.py:tiny --data=data/latents

Prints the lengths of the clips, the fill of every shape, what is reduced, cut
or dropped and why, and how many steps an epoch has. A data set that is not
encoded yet can be planned too, given the stride of the VAE that will encode it.
"""

from absl import flags

from sora_jax import files
from sora_jax import messages
from sora_jax.cli import config as config_lib
from sora_jax.cli import options
from sora_jax.data.store import manifest as manifest_lib
from sora_jax.tasks import check
from sora_jax.tasks import task as task_lib


def run(argv: list[str]) -> int:
  """Runs the verb."""
  f = options.Flags()
  argv = config_lib.define(f, argv)
  text = lambda *a: flags.DEFINE_string(*a, flag_values=f)
  whole = lambda *a: flags.DEFINE_integer(*a, flag_values=f, lower_bound=0)
  text("data", None, "The data set, made by `prepare` or `encode`.")
  text("stride", None, "TxHxW of the VAE that will encode, such as 4x16x16, for "
       "a data set that is not encoded.")
  whole("square", 0, "Plan as `encode --square`: cut all clips to squares of so "
        "many pixels. 0 keeps their shapes.")
  whole("tokens", 0, "Choose shapes of so many tokens a step for this data set. "
        "0 takes the config's shapes.")
  whole("shards", 0, "Devices that share the rows of a batch. 0 takes the "
        "config's data.shards.")
  text("json", None, "Also write the numbers to this file.")
  f.read(argv)
  if not f.data:
    raise ValueError("--data=DIR is needed")
  cfg = f.config
  check.check(cfg)
  manifest = manifest_lib.open_manifest(f.data)
  describe = task_lib.find(cfg.kind).describe
  found, lines = describe(cfg, manifest, task_lib.DataOptions(
      f.stride and parse_stride(f.stride), f.square, f.tokens, f.shards)
                          ) if describe else ({"clips": len(manifest)}, [])
  rejected = manifest.info.get("rejected", 0)
  print("\n".join([f"{f.data}: {messages.count(len(manifest), 'clip', ',')}; "
                   f"{rejected:,} rejected when it was made (rejects.jsonl)", *lines]))
  if f.json:
    files.write_json(f.json, found)
  return 0


def parse_stride(text: str) -> tuple[int, int, int]:
  """'4x16x16' to (4, 16, 16).

  Raises:
    ValueError: it is not three numbers from 1.
  """
  try:
    t, h, w = (int(x) for x in text.split("x"))
  except ValueError as e:
    raise ValueError(f"--stride={text}: give three numbers, such as "
                     "4x16x16") from e
  if min(t, h, w) < 1:
    raise ValueError(f"--stride={text}: each must be at least 1")
  return t, h, w

"""`sora-jax export`: the averaged weights of a run become a model folder."""

from absl import flags
import jax
import numpy as np

from sora_jax.cli import parts
from sora_jax.data import shards
from sora_jax.data import tokenizer
from sora_jax.models import pretrained
from sora_jax.training import cache
from sora_jax.training import checkpoint

DTYPES = {"float16": np.float16, "float32": np.float32}


def run(argv: list[str]) -> int:
  """Runs the verb."""
  f = flags.FlagValues()
  text = lambda *a: flags.DEFINE_string(*a, flag_values=f)
  text("workdir", None, "The folder of the run.")
  text("out", None, "The model folder to write.")
  text("data", None, "The data set of the run; by default where it was.")
  text("vae", None, "The VAE of the run; by default where it was.")
  flags.DEFINE_enum("dtype", "float16", DTYPES, "Of the weights.",
                    flag_values=f)
  f(argv)
  for name in ("workdir", "out"):
    if not f[name].value:
      raise ValueError(f"--{name}=DIR is needed")
  params, cfg, step = checkpoint.load_ema(f.workdir)
  data = f.data or cfg["sources"]["data"]
  if cfg["kind"] == "vae":
    module = parts.vae_of(cfg)
    mean, std = cache.statistics(module, params["vae"],
                                 shards.open_manifest(data))
    model = parts.vae_model(cfg, params, mean, std)
  else:
    model = parts.dit_model(
        cfg, pretrained.load(f.vae or cfg["sources"]["vae"],
                             parts=("vae",)), params,
        tokenizer.of(shards.open_manifest(data)).model)
  digest = pretrained.save(f.out, model, DTYPES[f.dtype])
  count = sum(x.size for x in jax.tree.leaves(params))
  print(f"{f.out}: step {step}, {count:,} parameters, {f.dtype}, digest "
        f"{digest[:16]}")
  return 0

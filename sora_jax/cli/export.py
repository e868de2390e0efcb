"""`sora-jax export`: a run, or a model of ours, becomes a model folder.

Of a run the averaged weights are taken. The folder is in the layout of the
`diffusers` package, whose classes run its transformer, VAE and scheduler.
"""

import dataclasses

from absl import flags
import jax
import numpy as np

from sora_jax.cli import options
from sora_jax.data.store import manifest
from sora_jax.encoding import statistics
from sora_jax.formats import find
from sora_jax.formats import pretrained
from sora_jax.tasks import build
from sora_jax.text import tokenizer
from sora_jax.training import checkpoint

DTYPES = {"float16": np.float16, "float32": np.float32}


def run(argv: list[str]) -> int:
  """Runs the verb."""
  f = options.Flags()
  text = lambda *a: flags.DEFINE_string(*a, flag_values=f)
  text("workdir", None, "The folder of a run.")
  text("model", None, "A model of this package or a model folder, instead of a "
       "run.")
  text("out", None, "The model folder to write.")
  text("data", None, "The data set of the run; by default where it was.")
  text("vae", None, "The VAE of the run; by default where it was. With --model "
       "the VAE to put in its place, of the same encoder.")
  flags.DEFINE_enum("dtype", "float16", DTYPES, "Of the weights.",
                    flag_values=f)
  f.read(argv)
  if not f.out:
    raise ValueError("--out=DIR is needed")
  if bool(f.workdir) == bool(f.model):
    raise ValueError("--workdir=DIR or --model=DIR is needed, and not both")
  if f.model:
    model, what = pretrained.load(find.find(f.model)), f.model
    if f.vae:
      model = with_vae(model, f.vae)
  else:
    model, step = of_run(f.workdir, f.data, f.vae)
    what = f"step {step}"
  digest = pretrained.save(f.out, model, DTYPES[f.dtype])
  count = sum(x.size for part in pretrained.COMPONENTS if getattr(model, part)
              for x in jax.tree.leaves(getattr(model, part).params))
  print(f"{f.out}: {what}, {count:,} parameters, {f.dtype}, digest "
        f"{digest[:16]}")
  return 0


def of_run(workdir: str, data: str | None = None, vae: str | None = None):
  """The model of a run, of its averaged weights, and the step.

  Args:
    workdir: of the run.
    data: the data set, if it is no longer where it was.
    vae: the model folder whose VAE made the latents, likewise.
  """
  params, cfg, step = checkpoint.load_ema(workdir)
  data = data or cfg["sources"]["data"]
  if cfg["kind"] == "vae":
    module = build.vae_of(cfg)
    if cfg["objective"].get("decoder_only"):  # the latents stay what they were
      first = pretrained.load(find.find(cfg["init_from"]), components=("vae",))
      mean, std = first.latent_mean, first.latent_std
    else:
      mean, std = statistics.statistics(module, params["vae"],
                                   manifest.open_manifest(data))
    return build.vae_model(cfg, params, mean, std), step
  compressor = pretrained.load(find.find(vae or cfg["sources"]["vae"]),
                               components=("vae",))
  source = (tokenizer.of(manifest.open_manifest(data)).model
           if "text_encoder" in cfg else pretrained.load(
               find.find(cfg["init_from"]), components=()).tokenizer)
  return build.dit_model(cfg, compressor, params, source), step


def with_vae(model: pretrained.Model, folder: str) -> pretrained.Model:
  """A model with the VAE of another folder, which makes the same latents.

  Raises:
    ValueError: its latents would not be those that the model was trained on.
  """
  other = pretrained.load(find.find(folder), components=("vae",))
  old, new = ([m.latent_mean, m.latent_std, *(
      m.vae.params[name] for name in ("encoder", "quant_conv"))]
              for m in (model, other))
  same = jax.tree.structure(old) == jax.tree.structure(new) and all(
      np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, (old, new))))
  if not same:
    raise ValueError(f"--vae={folder} makes other latents than the VAE of the "
                     "model: train the transformer on latents of its own")
  return dataclasses.replace(model, vae=other.vae)

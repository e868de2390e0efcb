"""`sora-jax export`: a run, or a model of ours, becomes a model folder.

The averaged weights of a run are written. The folder has the layout of the
`diffusers` package, whose classes run its transformer, VAE and scheduler.
"""

from absl import flags
import numpy as np

from sora_jax import messages
from sora_jax.cli import options
from sora_jax.formats import find
from sora_jax.formats import pretrained
from sora_jax.formats import writing
from sora_jax.tasks import export

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
      model = export.with_vae(model, f.vae)
  else:
    model, step = export.model_of_run(f.workdir, f.data, f.vae)
    what = f"step {step}"
  digest = writing.save(f.out, model, DTYPES[f.dtype])
  count = sum(getattr(model, part).count for part in pretrained.COMPONENTS
              if getattr(model, part))
  print(f"{f.out}: {what}, {count:,} parameters, {f.dtype}, digest "
        f"{digest[:16]}")
  if model.words:
    print(f"{f.out}: knows "
          f"{messages.count(len(model.words), 'word', ',')} (tokenizer/words.txt)")
  return 0

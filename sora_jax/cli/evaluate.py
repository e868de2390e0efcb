"""`sora-jax evaluate`: scores a model against a truth that is known.

  --suite=worlds   does it draw what held-out prompts say (evaluation/worldcheck)
  --suite=vae      what survives its VAE (evaluation/reconstruction)
  --suite=prompting  does it do what images and videos prompt it to
                   (evaluation/promptcheck)
"""

import functools
import pathlib

from absl import flags

from sora_jax import worlds
from sora_jax.cli import options
from sora_jax.cli import sampling
from sora_jax.encoding import video
from sora_jax.evaluation import cases
from sora_jax.evaluation import prompting
from sora_jax.evaluation import prompting_modes
from sora_jax.evaluation import vae
from sora_jax.evaluation import worlds as worlds_lib
from sora_jax.formats import find
from sora_jax.formats import pretrained
from sora_jax.formats import sampling_defaults
from sora_jax.generation import pipeline

SIZES = "64x64,96x56,56x96,128x72"


def run(argv: list[str]) -> int:
  """Runs the verb: argv is its name and its flags."""
  f = options.Flags()
  text = lambda *a: flags.DEFINE_string(*a, flag_values=f)
  whole = lambda *a, **k: flags.DEFINE_integer(*a, flag_values=f, **k)
  number = lambda *a, **k: flags.DEFINE_float(*a, flag_values=f, **k)
  names = lambda *a: flags.DEFINE_list(*a, flag_values=f)
  text("model", "tiny", "A model of this package, or a model folder.")
  flags.DEFINE_enum("suite", "worlds", ["worlds", "vae", "prompting"],
                    "What is scored.", flag_values=f)
  text("out", None, "Folder for results.json, tables.md and contact sheets.")
  whole("count", 200, "How many held-out clips of the worlds.", lower_bound=1)
  whole("seed", 0, "Which clips.", lower_bound=0)
  names("sizes", SIZES, "WxH of the videos, each any.")
  whole("frames", 17, "Frames of a video.", lower_bound=2)
  number("fps", 8.0, "Frames per second.", lower_bound=1)
  names("worlds", "balls,occluder", "Which worlds.")
  names("objects", "1,2,3", "Which numbers of objects.")
  names("backgrounds", "plain,textured", "Which backgrounds.")
  whole("steps", None, "Evaluations of the transformer.", lower_bound=1)
  number("guidance", None, "Scale of classifier-free guidance; 1 is none.")
  flags.DEFINE_enum("method", None, sampling_defaults.METHODS, "The solver.",
                    flag_values=f)
  whole("batch", 8, "Videos drawn at a time.", lower_bound=1)
  names("modes", ",".join(prompting_modes.MODES), "What --suite=prompting asks for.")
  text("real", None, "A folder of real clips for --suite=vae.")
  f.read(argv)
  if not f.out:
    raise ValueError("--out=DIR is needed: the folder for the results")
  for name in ("sizes", "worlds", "objects", "backgrounds", "modes"):
    if not f[name].value:
      raise ValueError(f"--{name}= names none: leave it out for all")
  sizes = [sampling.parse_size(size) for size in f.sizes]
  unknown = [w for w in f.worlds if w not in worlds.WORLDS]
  unknown += [b for b in f.backgrounds if b not in cases.BACKGROUNDS]
  unknown += [o for o in f.objects if o not in map(str, cases.OBJECTS)]
  if unknown:
    raise ValueError(
        f"'{unknown[0]}' cannot be evaluated: --worlds has "
        f"{', '.join(worlds.WORLDS)}, --backgrounds "
        f"{', '.join(cases.BACKGROUNDS)}, --objects 1, 2, 3")
  todo = cases.draw(f.count, f.seed, sizes, f.frames, f.fps, f.worlds,
                    [int(n) for n in f.objects], f.backgrounds)
  out = pathlib.Path(f.out)
  how = {k: f[k].value for k in ("steps", "guidance", "method")}
  if f.suite == "worlds":
    model = pipeline.load(f.model)
    out.mkdir(parents=True, exist_ok=True)
    worlds_lib.evaluate(model, model.model.digest, todo, out, seed=f.seed,
                        batch=f.batch, **how)
  elif f.suite == "prompting":
    if odd := [m for m in f.modes if m not in prompting_modes.MODES]:
      raise ValueError(f"'{odd[0]}' cannot be evaluated: --modes has "
                       f"{', '.join(prompting_modes.MODES)}")
    model = pipeline.load(f.model)
    out.mkdir(parents=True, exist_ok=True)
    prompting.evaluate(model, model.model.digest, todo, out, seed=f.seed,
                       modes=f.modes, **how)
  else:
    model = pretrained.load(find.find(f.model), parts=("vae",))
    out.mkdir(parents=True, exist_ok=True)
    vae.evaluate(
        functools.partial(video.reconstruct, model.vae), model.digest, todo, out,
        seed=f.seed, real=f.real)
  print((out / "tables.md").read_text(encoding="utf-8"))
  print(f"{out}: results.json, tables.md and contact sheets")
  return 0

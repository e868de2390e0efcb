"""`sora-jax evaluate`: scores a model against a truth that is known.

  --suite=worlds   does it draw what held-out prompts say (evaluation/worlds.py)
  --suite=vae      what survives its VAE (evaluation/vae.py)
  --suite=prompting  does it do what images and videos prompt it to
                   (evaluation/prompting.py)
  --suite=emergence  does what the report says emerges emerge, in worlds with
                   exact truth (evaluation/emergence)
"""

import pathlib

from absl import flags

from sora_jax import worlds
from sora_jax.cli import options
from sora_jax.cli import sampling
from sora_jax.evaluation import cases
from sora_jax.evaluation import prompting_modes
from sora_jax.evaluation import suites
from sora_jax.media import limits

SIZES = "64x64,96x56,56x96,128x72"
MOST = 1_000_000  # clips


def run(argv: list[str]) -> int:
  """Runs the verb: argv is its name and its flags."""
  f = options.Flags()
  text = lambda *a: flags.DEFINE_string(*a, flag_values=f)
  whole = lambda *a, **k: flags.DEFINE_integer(*a, flag_values=f, **k)
  number = lambda *a, **k: flags.DEFINE_float(*a, flag_values=f, **k)
  names = lambda *a: flags.DEFINE_list(*a, flag_values=f)
  text("model", "tiny", "A model of this package, or a model folder.")
  flags.DEFINE_enum("suite", "worlds", list(suites.SUITES), "What is scored.",
                    flag_values=f)
  text("out", None, "Folder for results.json, tables.md and contact sheets.")
  whole("count", 200, "How many held-out clips of the worlds, in all; of "
        "--suite=emergence of each world; of --real at most so many.",
        lower_bound=1, upper_bound=MOST)
  whole("seed", 0, "Which clips.", lower_bound=0)
  names("sizes", SIZES, "WxH of the videos in pixels, each any.")
  whole("frames", 17, "Frames of a video.", lower_bound=2)
  number("fps", 8.0, "Frames per second.", lower_bound=1,
         upper_bound=limits.FPS[1])
  names("worlds", ",".join(worlds.DEFAULT), "Which worlds.")
  known = _options()
  for name, values in known.items():
    names(_plural(name), ",".join(values),
          f"Values of the option '{name}' of worlds.")
  sampling.method_flags(f)
  whole("batch", 8, "Videos drawn at a time.", lower_bound=1)
  names("modes", ",".join(prompting_modes.MODES),
        "What --suite=prompting asks for.")
  text("real", None, "For --suite=vae: a folder of real clips, or a data set of "
       "`prepare`, of which the clips are scored that are held out.")
  flags.DEFINE_enum("split", None, ["val", "test", "train", "all"], "Of the data "
                    "set in --real. By default val, and test without a val.",
                    flag_values=f)
  f.read(argv)
  if not f.out:
    raise ValueError("--out=DIR is needed: the folder for the results")
  for name, needed in (("real", f.suite == "vae"), ("split", f.real)):
    if f[name].value and not needed:
      raise ValueError(f"--{name}={f[name].value} is for --suite=vae --real=DIR")
  _check(f, "sizes")
  sizes = [sampling.parse_size(size, "sizes") for size in f.sizes]
  _check(f, "worlds", worlds.WORLDS)
  _check(f, "modes", prompting_modes.MODES)
  if f["modes"].present and f.suite != "prompting":
    raise ValueError(f"--modes={','.join(f.modes)} is for --suite=prompting")
  only = {}
  for name, values in known.items():
    flag = _plural(name)
    _check(f, flag, values)
    if f[flag].present:
      only[name] = [values[text] for text in f[flag].value]
  suite = suites.SUITES[f.suite]
  # A suite may draw its own cases.
  draw = getattr(suite, "draw", cases.draw)
  request = cases.Request(
      draw(f.count, f.seed, sizes, f.frames, f.fps, f.worlds, only),
      pathlib.Path(f.out), f.seed, f.batch,
      {k: f[k].value for k in ("steps", "guidance", "method")}, f.modes, f.real,
      f.worlds, f.split or "", f.count)
  model = suite.load(f.model)
  request.out.mkdir(parents=True, exist_ok=True)
  suite.evaluate(model, request)
  print((request.out / "tables.md").read_text(encoding="utf-8"))
  print(f"{f.out}: results.json, tables.md and contact sheets")
  return 0


def _options() -> dict[str, dict]:
  """The options of all worlds, {name: {text: value}}."""
  found: dict[str, dict] = {}
  for world in worlds.WORLDS.values():
    for name, values in world.OPTIONS.items():
      found.setdefault(name, {}).update({str(v): v for v in values})
  return found


def _plural(name: str) -> str:
  """The flag of an option, which takes several values."""
  return name if name.endswith("s") else f"{name}s"


def _check(f: options.Flags, name: str, known=None) -> None:
  """Refuses a list without names, or with one that is not known."""
  if not f[name].value:
    raise ValueError(f"--{name}= names none: leave it out for all")
  for value in f[name].value:
    if known is not None and value not in known:
      raise ValueError(f"'{value}' cannot be evaluated: --{name} has "
                       f"{', '.join(known)}")

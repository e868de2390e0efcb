"""What the verbs that make videos share: their flags and inputs.

A verb makes its flags from a method of Requests (`define`), reads its inputs,
calls the method and gives the request to drawing.py.
"""

from collections.abc import Callable
import inspect
import math
import os
import re

from absl import flags
import jax
import jax.numpy as jnp

from sora_jax import mesh as mesh_lib
from sora_jax import messages
from sora_jax.cli import expanding
from sora_jax.cli import options
from sora_jax.formats import sampling_defaults
from sora_jax.generation import arguments
from sora_jax.generation import pipeline
from sora_jax.generation import requests
from sora_jax.generation import sampler
from sora_jax.media import limits

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
ENDINGS = (".mp4", ".gif", ".webp", ".png")


def define(verb: Callable[..., requests.Request]) -> flags.FlagValues:
  """The flags that mean the same in every verb, and those of `verb`.

  Args:
    verb: a method of Requests. An argument that is a number or one of several
      names becomes a flag of its name and default; its line in the docstring
      is the help.
  """
  f = options.Flags()
  text = lambda *a: flags.DEFINE_string(*a, flag_values=f)
  own, helps = inspect.signature(verb).parameters, _argument_lines(verb)
  prompt = own["prompt"].default
  text("prompt", "" if prompt is inspect.Parameter.empty else prompt,
       helps["prompt"])
  text("out", None, "FILE.mp4, .gif, .webp or .png (a contact sheet, or the "
       "image of a single frame).")
  text("size", None, "WxH in pixels, any; by default that of the first input, "
       "or what the model states, as for every flag without a default.")
  text("negative", "", "A prompt to stay away from.")
  text("model", "tiny", "A model of this package, a model folder, or a "
       "repository hf:ORG/NAME of Hugging Face.")
  flags.DEFINE_enum("dtype", "float32", DTYPES, "The type of the computation "
                    "and of the weights.", flag_values=f)
  method_flags(f)
  whole = lambda *a, **k: flags.DEFINE_integer(*a, flag_values=f, **k)
  whole("seed", 0, "The seed of the noise.", lower_bound=0,
        upper_bound=sampler.SEEDS)
  whole("window", None, "How many frames are seen at once of a longer video, "
        "which is drawn in overlapping windows.", lower_bound=1)
  whole("count", 1, "How many videos, with seeds from --seed on.",
        lower_bound=1)
  flags.DEFINE_bool("grid", False, "Shows the --count videos side by side in "
                    "one file.", flag_values=f)
  whole("fsdp", 1, "Devices that the weights are spread over.", lower_bound=1)
  flags.DEFINE_float("fps", None, "Frames per second that the motion is made "
                     "for; by default those of the video that is given.",
                     flag_values=f)
  expanding.define(f)
  for name, argument in own.items():
    if name not in f:
      _flag_of(f, name, argument, helps.get(name, ""))
  return f


def method_flags(f: flags.FlagValues) -> None:
  """Defines --method, --steps and --guidance."""
  flags.DEFINE_enum(
      "method", None, sampling_defaults.METHODS, "The stepper that goes from "
      "noise to the video; folder is the scheduler that the model folder names.",
      flag_values=f)
  flags.DEFINE_integer(
      "steps", None, "Evaluations of the transformer, at most. heun makes two a "
      "step and one in the last, so that an even number leaves one out.",
      lower_bound=1, flag_values=f)
  flags.DEFINE_float("guidance", None, "The scale of classifier-free guidance; "
                     "1 is none.", flag_values=f)


def _flag_of(f: flags.FlagValues, name: str, argument: inspect.Parameter,
             what: str) -> None:
  """Defines the flag of an argument, if it is a number or a choice."""
  kind = arguments.kind(argument)
  if isinstance(kind, tuple):
    flags.DEFINE_enum(name, argument.default, kind, what, flag_values=f)
  elif kind is int:
    flags.DEFINE_integer(name, argument.default, what, flag_values=f)
  elif kind is float:
    flags.DEFINE_float(name, argument.default, what, flag_values=f)


def _argument_lines(verb: Callable[..., requests.Request]) -> dict[str, str]:
  """The lines of the arguments in a docstring."""
  text = (inspect.getdoc(verb) or "").partition("Args:\n")[2]
  lines = re.findall(r"^  (\w+): (.*(?:\n {4,}.*)*)", text, re.MULTILINE)
  return {name: what[0].upper() + " ".join(what[1:].split())
          for name, what in lines}


def parse(f: flags.FlagValues, argv: list[str], *inputs: str) -> list[str]:
  """Reads the command line: its inputs, of which `inputs` are the names.

  A name in brackets may be left out.

  Raises:
    ValueError: more or fewer inputs, or no --out to write to.
  """
  rest = f(argv)[1:]
  least = sum(not name.startswith("[") for name in inputs)
  if not least <= len(rest) <= len(inputs):
    asked = " ".join([f"sora-jax {argv[0]}", *inputs])
    given = (f"{messages.count(len(rest), 'input')} given ({' '.join(rest)})"
             if rest else "no input is given")
    raise ValueError(f"{given}: write {asked} --FLAG=VALUE ..")
  if f.fps is not None:
    limits.check_fps(f.fps, "--fps")
  if f.guidance is not None and not math.isfinite(f.guidance):
    raise ValueError(f"--guidance={f.guidance:g} is no number to multiply by")
  expanding.check(f)
  return rest


def ending(f: flags.FlagValues) -> None:
  """Raises ValueError where --out cannot be written."""
  if f.expand == expanding.SHOW:
    return
  if not f.out:
    raise ValueError(f"--out=FILE is needed, which ends in {', '.join(ENDINGS)}")
  if os.path.splitext(f.out)[1].lower() not in ENDINGS:
    raise ValueError(f"--out={f.out}: name a file that ends in "
                     f"{', '.join(ENDINGS)}")
  if os.path.isdir(f.out):
    raise ValueError(f"--out={f.out} is a folder: name a file")
  folder = os.path.dirname(f.out) or "."
  if not os.path.isdir(folder):
    raise ValueError(f"--out={f.out}: there is no folder {folder}")
  if not os.access(folder, os.W_OK):
    raise PermissionError(f"--out={f.out}: {folder} cannot be written")


def read_inputs(f: flags.FlagValues, argv: list[str], *inputs: str
                ) -> tuple[list[str], tuple[int, int] | None]:
  """The inputs of a verb that writes one --out, and --size as (W, H) or None.

  Raises:
    ValueError: as `parse`, or an --out or --size that is none.
  """
  paths = parse(f, argv, *inputs)
  ending(f)
  return paths, parse_size(f.size)


def load(f: flags.FlagValues) -> pipeline.Pipeline:
  """The model of the flags."""
  if f.fsdp > len(jax.devices()):
    raise ValueError(f"--fsdp={f.fsdp}: this machine has "
                     + messages.count(len(jax.devices()), "device"))
  mesh = mesh_lib.make_mesh(fsdp=f.fsdp, devices=jax.devices()[:f.fsdp])
  return pipeline.load(f.model, DTYPES[f.dtype], mesh)


def parse_size(text: str | None, flag: str = "size") -> tuple[int, int] | None:
  """'128x72' to (128, 72), None to None; `flag` is what a mistake names."""
  if text is None:
    return None
  match = re.fullmatch(r"(\d+)[xX](\d+)", text)
  if not match:
    raise ValueError(f"--{flag}={text}: give WxH in pixels, such as 128x72")
  return int(match[1]), int(match[2])

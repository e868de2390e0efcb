"""What the verbs that make videos share: their flags, and how they write.

A verb reads its flags and inputs, makes a canvas, and `make` draws it for every
seed, writes the files with their provenance and prints what it made.
"""

import math
import os
import re
import shlex
import sys
import time

from absl import flags
import jax
import jax.numpy as jnp
import numpy as np

from sora_jax import mesh as mesh_lib
from sora_jax.cli import options
from sora_jax.formats import sampling_defaults
from sora_jax.generation import canvas as canvas_lib
from sora_jax.generation import pipeline
from sora_jax.media import limits
from sora_jax.media import video_io

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
ENDINGS = (".mp4", ".gif", ".webp", ".png")
SEEDS = 2**62


def define() -> flags.FlagValues:
  """The flags that mean the same in every verb."""
  f = options.Flags()
  text = lambda *a: flags.DEFINE_string(*a, flag_values=f)
  text("prompt", "", "What to show.")
  text("out", None, "FILE.mp4, .gif, .webp or .png (a contact sheet, or the "
       "image of a single frame).")
  text("size", None, "WxH in pixels, any; by default that of the first input, "
       "or what the model states, as for every flag without a default.")
  text("negative", "", "A prompt to stay away from.")
  text("model", "tiny", "A model of this package, a model folder, or a "
       "repository ORG/NAME of Hugging Face.")
  flags.DEFINE_enum("dtype", "float32", DTYPES, "Of the computation and the "
                    "weights.", flag_values=f)
  flags.DEFINE_enum("method", None, sampling_defaults.METHODS, "The solver.",
                    flag_values=f)
  whole = lambda *a, **k: flags.DEFINE_integer(*a, flag_values=f, **k)
  whole("seed", 0, "Seed of the noise.", lower_bound=0, upper_bound=SEEDS)
  whole("steps", None, "Evaluations of the transformer.", lower_bound=1)
  whole("window", None, "Frames that are seen at once of a longer video, which "
        "is drawn in overlapping windows.", lower_bound=1)
  whole("count", 1, "How many videos, with seeds from --seed on.",
        lower_bound=1)
  flags.DEFINE_bool("grid", False, "Show the --count videos side by side in one "
                    "file.", flag_values=f)
  whole("fsdp", 1, "Devices that the weights are spread over.", lower_bound=1)
  number = lambda *a: flags.DEFINE_float(*a, flag_values=f)
  number("fps", None, "Frames per second that the motion is made for; by "
         "default those of the video that is given.")
  number("guidance", None, "Scale of classifier-free guidance; 1 is none.")
  return f


def frames_flag(f: flags.FlagValues, default: int | None, what: str) -> None:
  """Defines --frames."""
  flags.DEFINE_integer("frames", default, what, flag_values=f)


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
    raise ValueError(f"{len(rest)} inputs are given ({' '.join(rest)}): write "
                     f"{asked} --FLAG=VALUE ..")
  if f.fps is not None:
    check_fps(f.fps, "--fps")
  if f.guidance is not None and not math.isfinite(f.guidance):
    raise ValueError(f"--guidance={f.guidance:g} is no number to multiply by")
  return rest


def check_fps(fps: float, where: str) -> None:
  """Raises ValueError for a frame rate that no video of ours has."""
  low, high = limits.FPS
  if not low <= fps <= high:  # nor is NaN
    raise ValueError(f"{where}={fps:g} must be {low:g} to {high:g}")


def ending(f: flags.FlagValues) -> None:
  """Raises ValueError where --out cannot be written."""
  if not f.out or os.path.splitext(f.out)[1].lower() not in ENDINGS:
    raise ValueError(f"--out={f.out}: name a file that ends in "
                     f"{', '.join(ENDINGS)}")
  folder = os.path.dirname(f.out) or "."
  if not os.path.isdir(folder):
    raise ValueError(f"--out={f.out}: there is no folder {folder}")
  if not os.access(folder, os.W_OK):
    raise PermissionError(f"--out={f.out}: {folder} cannot be written")


def begin(f: flags.FlagValues, argv: list[str], *inputs: str):
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
    raise ValueError(f"--fsdp={f.fsdp}: there are {len(jax.devices())} devices")
  mesh = mesh_lib.make_mesh(fsdp=f.fsdp, devices=jax.devices()[:f.fsdp])
  return pipeline.load(f.model, DTYPES[f.dtype], mesh)


def read(path: str, f: flags.FlagValues, model) -> tuple[np.ndarray, float]:
  """A video and its fps; that of the model if it is an image.

  --fps is how fast it is played from now on: no frame is left out.
  """
  video, fps = video_io.read(path)
  if f.fps is not None:
    return video, f.fps
  return video, model.defaults.fps if len(video) == 1 else fps


def told(f: flags.FlagValues, path: str) -> tuple[str, int]:
  """Prompt and seed: of the flags, or else those that a file was made by."""
  said = video_io.metadata(path)
  prompt, seed = said.get("prompt", ""), said.get("seed", f.seed)
  if f["prompt"].present or not isinstance(prompt, str):
    prompt = f.prompt
  if f["seed"].present or not isinstance(seed, int) or not 0 <= seed <= SEEDS:
    seed = f.seed
  return prompt, seed


def make(f: flags.FlagValues, argv: list[str], model: pipeline.Pipeline,
         canvas: canvas_lib.Canvas | canvas_lib.Crossfade,
         prompt: str | tuple[str, str] | None = None,
         seed: int | None = None) -> None:
  """Draws a canvas for every seed, and writes and prints what was made."""
  prompt = f.prompt if prompt is None else prompt
  first = f.seed if seed is None else seed
  stem, end = os.path.splitext(f.out)
  drawn = []
  for seed in range(first, first + f.count):
    path = f.out if f.count == 1 or f.grid else f"{stem}-{seed}{end}"
    result = draw(f, model, canvas, prompt, seed, path)
    if f.grid:
      drawn.append(result)
    else:
      write(path, argv, model, canvas, result.frames(), prompt, seed)
  if f.grid:
    write(f.out, argv, model, canvas, side_by_side(drawn), prompt, first)


def draw(f, model, canvas, prompt, seed, path):
  """Draws a canvas as the flags say."""
  return model.draw(
      canvas, prompt, seed, negative=f.negative, steps=f.steps,
      guidance=f.guidance, method=f.method, window=f.window,
      report=Progress(f"sampling {path}"))


def side_by_side(results):
  """The frames of several results, tiled in about a square."""
  columns = math.ceil(math.sqrt(len(results)))
  rows = -(-len(results) // columns)
  for frames in zip(*(r.frames() for r in results)):
    blank = [np.full_like(frames[0], 255)] * (rows * columns - len(frames))
    tiles = [*frames, *blank]
    yield np.concatenate([np.concatenate(tiles[i:i + columns], 1) for i in
                          range(0, len(tiles), columns)])


def write(path, argv, model, canvas, frames, prompt, seed) -> None:
  """Writes frames with their provenance, and says so."""
  start = time.monotonic()
  # Where a file lies changes nothing in it.
  command = [a for i, a in enumerate(argv) if not re.match(r"--?out(=|$)", a)
             and argv[i - 1] not in ("--out", "-out")]
  shape, count = None, 0

  def counted():
    nonlocal shape, count
    for frame in frames:
      shape, count = frame.shape, count + 1
      yield frame

  said = prompt if isinstance(prompt, str) else " ".join(filter(None, prompt))
  video_io.write(path, counted(), canvas.fps, metadata={
      "ai_generated": True, "generator": "sora_jax", "prompt": said,
      "model": model.model.digest, "seed": seed,
      "command": shlex.join(["sora-jax", *command])})
  print(f"{path}: {count} frames of {shape[1]}x{shape[0]} at {canvas.fps:g} fps, "
        f"seed {seed}, decoded in {time.monotonic() - start:.1f} s")


def parse_size(text: str | None) -> tuple[int, int] | None:
  """'128x72' to (128, 72), None to None."""
  if text is None:
    return None
  match = re.fullmatch(r"(\d+)[xX](\d+)", text)
  if not match:
    raise ValueError(f"--size={text}: give WxH in pixels, such as 128x72")
  return int(match[1]), int(match[2])


class Progress:
  """A line with the step and the time left, where someone is watching."""

  def __init__(self, what: str):
    self.what, self.start = what, time.monotonic()

  def __call__(self, step: int, steps: int) -> None:
    if not sys.stderr.isatty():
      return
    left = (time.monotonic() - self.start) / step * (steps - step)
    end = "\n" if step == steps else ""
    print(f"\r{self.what}: step {step}/{steps}, {left:.0f} s left ", end=end,
          file=sys.stderr, flush=True)

"""`sora-jax generate`: a prompt becomes a video or an image file."""

import os
import re
import sys
import time

from absl import flags
import jax
import jax.numpy as jnp

from sora_jax import mesh as mesh_lib
from sora_jax.data import video_io
from sora_jax.generation import pipeline
from sora_jax.generation import settings

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
ENDINGS = (".mp4", ".gif", ".webp", ".png")


def run(argv: list[str]) -> int:
  """Runs the verb."""
  f = flags.FlagValues()
  text = lambda *a: flags.DEFINE_string(*a, flag_values=f)
  text("prompt", None, "What to show.")
  text("out", None, "FILE.mp4, .gif, .webp or .png (a contact sheet, or the "
       "image if --frames=1).")
  text("size", None, "WxH in pixels, any; by default what the model states, as "
       "for every flag without a default.")
  text("negative", "", "A prompt to stay away from.")
  text("model", "tiny", "A model of this package, a model folder, or a "
       "repository ORG/NAME of Hugging Face.")
  text("image", None, "A file whose first frame begins the video.")
  flags.DEFINE_enum("dtype", "float32", DTYPES, "Of the computation and the "
                    "weights.", flag_values=f)
  flags.DEFINE_enum("method", None, settings.METHODS, "The solver.",
                    flag_values=f)
  whole = lambda *a, **k: flags.DEFINE_integer(*a, flag_values=f, **k)
  whole("frames", None, "Number of frames; 1 makes an image.")
  whole("seed", 0, "Seed of the noise.", lower_bound=0)
  whole("steps", None, "Evaluations of the transformer.", lower_bound=1)
  whole("count", 1, "How many videos, with seeds from --seed on.",
        lower_bound=1)
  whole("fsdp", 1, "Devices that the weights are spread over.", lower_bound=1)
  number = lambda *a: flags.DEFINE_float(*a, flag_values=f)
  number("fps", None, "Frames per second that the motion is made for.")
  number("guidance", None, "Scale of classifier-free guidance; 1 is none.")
  f(argv)
  if not f.prompt or not f.prompt.strip():
    raise ValueError("--prompt is empty: say what to show")
  if not f.out or not f.out.lower().endswith(ENDINGS):
    raise ValueError(f"--out={f.out}: name a file that ends in "
                     f"{', '.join(ENDINGS)}")
  size = f.size and parse_size(f.size)
  image = f.image and video_io.read(f.image, 1)[0][0]
  if f.fsdp > len(jax.devices()):
    raise ValueError(f"--fsdp={f.fsdp}: there are {len(jax.devices())} devices")
  mesh = mesh_lib.make_mesh(fsdp=f.fsdp, devices=jax.devices()[:f.fsdp])
  model = pipeline.load(f.model, DTYPES[f.dtype], mesh)
  fps = model.settings["fps"] if f.fps is None else f.fps
  for i in range(f.count):
    seed = f.seed + i
    stem, ending = os.path.splitext(f.out)
    path = f.out if f.count == 1 else f"{stem}-{seed}{ending}"
    video = model.generate(
        f.prompt, size, f.frames, fps, seed, f.negative, f.steps, f.guidance,
        f.method, Progress(f"sampling {path}"), image)
    video_io.write(path, video, fps, metadata={
        "ai_generated": True, "generator": "sora_jax",
        "model": model.model.digest, "prompt": f.prompt, "seed": seed})
    print(f"{path}: {len(video)} frames of {video.shape[2]}x{video.shape[1]} at "
          f"{fps:g} fps, seed {seed}")
  return 0


def parse_size(text: str) -> tuple[int, int]:
  """'128x72' to (128, 72)."""
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

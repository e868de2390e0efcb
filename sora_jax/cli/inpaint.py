"""`sora-jax inpaint VIDEO --region=x,y,w,h[,t0,t1]`: a region drawn anew."""

from typing import Any

from absl import flags

from sora_jax.cli import drawing
from sora_jax.cli import sampling
from sora_jax.generation import requests


def run(argv: list[str]) -> int:
  """Runs the verb."""
  f = sampling.define(requests.Requests.inpaint)
  flags.DEFINE_string("region", None, "x,y,w,h in pixels of the result, or "
                      "x,y,w,h,t0,t1 with its frames, t1 not included.",
                      flag_values=f)
  (path,), size = sampling.read_inputs(f, argv, "VIDEO")
  region = parse_region(f.region)
  model = sampling.load(f)
  request = model.requests.inpaint(path, region, f.prompt, size, f.fps)
  canvas: Any = request.canvas
  x, y, w, h, t0, t1 = canvas.region
  print(f"drawing {w}x{h} at {x},{y}, frames {t0} to {t1 - 1}")
  drawing.draw_files(f, argv, model, request)
  return 0


def parse_region(text: str | None) -> tuple[int, ...]:
  """'8,8,32,16' to (8, 8, 32, 16)."""
  try:
    region = tuple(int(n) for n in (text or "").split(","))
  except ValueError:
    region = ()
  if text is None:
    raise ValueError("--region=x,y,w,h or --region=x,y,w,h,t0,t1 is needed: what "
                     "to draw anew, in pixels and frames")
  if len(region) not in (4, 6):
    raise ValueError(f"--region={text}: give x,y,w,h or x,y,w,h,t0,t1")
  return region

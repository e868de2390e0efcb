"""How much of a video survives the VAE: PSNR, SSIM and the parsed facts.

PSNR = 10 log10(255^2 / MSE). SSIM is Wang et al. 2004, "Image quality
assessment: from error visibility to structural similarity": a Gaussian window
of 11 x 11 with sigma 1.5, K1 = 0.01, K2 = 0.03, only where the whole window
fits; here the mean over frames and the three colour channels.
"""

from collections.abc import Callable, Sequence
import math
import os
import pathlib

import numpy as np
import tqdm

from sora_jax import files
from sora_jax.evaluation import cases
from sora_jax.evaluation import statistics
from sora_jax.media import video_io
from sora_jax.worlds import parse

WINDOW, SIGMA, K1, K2, PEAK = 11, 1.5, 0.01, 0.03, 255.0
MAX_DB = 100.0  # PSNR of equal videos, so that means stay finite
VIDEOS = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".gif")
MAX_FRAMES = 33  # of a real clip

Reconstruct = Callable[[np.ndarray], np.ndarray]  # uint8 [T, H, W, 3] to same


def psnr(x: np.ndarray, y: np.ndarray, mask: np.ndarray | None = None) -> float:
  """Peak signal-to-noise ratio in dB of two uint8 videos [T, H, W, 3].

  Args:
    x: one video.
    y: the other.
    mask: bool [T, H, W], the pixels that count; all by default.

  Returns:
    dB, at most 100 (equal videos); NaN when no pixel counts.
  """
  _same_shape(x, y)
  error = (x.astype(np.float64) - y.astype(np.float64)) ** 2
  if mask is not None:
    error = error[mask]
  if not error.size:
    return math.nan
  mse = float(error.mean())
  return min(10 * math.log10(PEAK ** 2 / mse), MAX_DB) if mse else MAX_DB


def ssim(x: np.ndarray, y: np.ndarray) -> float:
  """Mean structural similarity in [-1, 1] of two uint8 videos [T, H, W, 3].

  Raises:
    ValueError: unequal shapes, or frames smaller than the 11 x 11 window.
  """
  _same_shape(x, y)
  if min(x.shape[1:3]) < WINDOW:
    raise ValueError(f"SSIM needs frames of at least {WINDOW}x{WINDOW} pixels, "
                     f"these have {x.shape[2]}x{x.shape[1]}")
  return float(np.mean([_ssim_frame(a, b) for a, b in zip(x, y, strict=True)]))


def _ssim_frame(x: np.ndarray, y: np.ndarray) -> float:
  x, y = x.astype(np.float64), y.astype(np.float64)
  c1, c2 = (K1 * PEAK) ** 2, (K2 * PEAK) ** 2
  mx, my = _blur(x), _blur(y)
  vx, vy = _blur(x * x) - mx * mx, _blur(y * y) - my * my
  vxy = _blur(x * y) - mx * my
  return float(np.mean((2 * mx * my + c1) * (2 * vxy + c2) /
                       ((mx * mx + my * my + c1) * (vx + vy + c2))))


def _blur(x: np.ndarray) -> np.ndarray:
  """Gaussian window of [H, W, 3] where it fits: [H - 10, W - 10, 3]."""
  taps = np.exp(-(np.arange(WINDOW) - WINDOW // 2) ** 2 / (2 * SIGMA ** 2))
  taps /= taps.sum()
  for axis in (0, 1):
    n = x.shape[axis] - WINDOW + 1
    x = sum(w * np.take(x, range(i, i + n), axis) for i, w in enumerate(taps))
  return x


def _same_shape(x: np.ndarray, y: np.ndarray) -> None:
  if x.shape != y.shape or x.ndim != 4:
    raise ValueError(f"two videos [T, H, W, 3] of one shape are needed, these "
                     f"are {x.shape} and {y.shape}")


def evaluate(reconstruct: Reconstruct, digest: str,
             todo: Sequence[cases.Case], out: pathlib.Path, *, seed: int,
             real: str | None = None) -> dict:
  """Runs the suite and writes results.json, tables.md and contact sheets.

  Args:
    reconstruct: the VAE there and back.
    digest: of the model, written beside the scores.
    todo: clips of the worlds, from `cases.draw`.
    out: the folder for the results.
    seed: of the clips.
    real: a folder of real clips, if any.

  Returns:
    What results.json holds.
  """
  result = {"suite": "vae", "model_digest": digest, "seed": seed,
            "count": len(todo),
            "metrics": world_report(reconstruct, todo, out / "worlds.png")}
  if real:
    result["real"] = folder_report(reconstruct, real, out / "real.png")
  files.write_json(out / "results.json", result)
  files.write_text(out / "tables.md", tables(result))
  return result


def tables(result: dict) -> str:
  """The scores as Markdown."""
  text = [f"# VAE on {result['count']} held-out clips, seed {result['seed']}, "
          f"model {result['model_digest'][:12]}\n"]
  header = ("metric", "value", "interval", "n")
  for title, scores in (("Worlds", result["metrics"]),
                        ("Real clips", result.get("real", {}))):
    scores = {**scores, **{f"kept {name}": m for name, m in scores.get(
        "kept_by_attribute", {}).items()}}
    rows = []
    for name, m in scores.items():
      if isinstance(m, dict) and "value" in m:
        form = _FORMS.get(name, statistics.percent)
        rows.append((name, form(m["value"]),
                     f"{form(m['low'])} to {form(m['high'])}", m["n"]))
    if rows:
      text += [f"## {title}\n", statistics.markdown(header, rows)]
  return "\n".join(text)


_DB = lambda v: "-" if v is None else f"{v:.2f} dB"
_FORMS = {"psnr": _DB, "psnr_objects": _DB,
          "ssim": lambda v: "-" if v is None else f"{v:.4f}"}


def world_report(reconstruct: Reconstruct, todo: Sequence[cases.Case],
                 sheet: pathlib.Path) -> dict:
  """Held-out world clips through the VAE.

  Args:
    reconstruct: uint8 [T, H, W, 3] through the VAE and back.
    todo: the clips.
    sheet: PNG of some clips, each above its reconstruction.

  Returns:
    {psnr, psnr_objects, ssim, truth, through, kept}: means in dB and SSIM with
    their intervals; `psnr_objects` counts the pixels in the boxes of objects.
    truth and through are the shares of attributes that the parser reads right
    in the truth and in its reconstruction, kept the share of those right in
    the truth that are still right; `through` and `kept` also by attribute.
  """
  rows, shown = [], []
  for case in tqdm.tqdm(todo, desc="worlds", unit="clip"):
    truth = case.render()
    out = reconstruct(truth)
    before, after = (parse.score(case.facts, parse.parse(v, case.fps))
                     for v in (truth, out))
    rows.append({
        "psnr": psnr(truth, out), "ssim": ssim(truth, out),
        "psnr_objects": psnr(truth, out, _inside(case)),
        "answers": [(k, before[k], after[k]) for k in before]})
    shown.append((truth, out, case.prompt))
  answers = [a for row in rows for a in row["answers"]]
  names = sorted({name for name, _, _ in answers})
  kept = lambda some: statistics.share(b for _, a, b in some if a)
  result = {k: statistics.mean([r[k] for r in rows if not math.isnan(r[k])])
            for k in ("psnr", "psnr_objects", "ssim")}
  result |= {
      "truth": statistics.share(a for _, a, _ in answers),
      "through": statistics.share(b for _, _, b in answers),
      "kept": kept(answers),
      "kept_by_attribute": {
          n: kept([a for a in answers if a[0] == n]) for n in names}}
  _sheet(sheet, shown)
  return result


def folder_report(reconstruct: Reconstruct, folder: str | os.PathLike,
                  sheet: pathlib.Path) -> dict:
  """Real clips through the VAE: {psnr, ssim} with their intervals.

  Raises:
    ValueError: a folder without a video.
  """
  paths = sorted(p for p in pathlib.Path(folder).rglob("*")
                 if p.suffix.lower() in VIDEOS)
  if not paths:
    raise ValueError(f"{folder} holds no video ({', '.join(VIDEOS)})")
  rows, shown = [], []
  for path in tqdm.tqdm(paths, desc="real clips", unit="clip"):
    truth, _ = video_io.read(path, max_frames=MAX_FRAMES)
    out = reconstruct(truth)
    rows.append({"file": str(path.relative_to(folder)),
                 "psnr": psnr(truth, out), "ssim": ssim(truth, out)})
    shown.append((truth, out, rows[-1]["file"]))
  _sheet(sheet, shown)
  return {"psnr": statistics.mean([r["psnr"] for r in rows]),
          "ssim": statistics.mean([r["ssim"] for r in rows]), "clips": rows}


def _inside(case: cases.Case) -> np.ndarray:
  """bool [T, H, W]: the boxes of the objects, less what the wall hides whole."""
  (width, height), facts = case.cell.size, case.facts
  mask = np.zeros((case.frames, height, width), bool)
  boxes = parse.boxes(facts, case.cell.size, case.frames, case.fps)
  for frame, row in zip(mask, boxes, strict=True):
    for x0, y0, x1, y1 in row:
      frame[y0:y1, x0:x1] = True
  if facts.wall:
    axis = "xy".index(facts.wall.axis)
    scale = case.cell.size[axis] / facts.aspect[axis]
    hidden = slice(math.ceil(facts.wall.low * scale),
                   math.floor(facts.wall.high * scale))
    mask[(..., hidden) if axis == 0 else (slice(None), hidden)] = False
  return mask


def _sheet(path: pathlib.Path, shown, most: int = 12) -> None:
  """Truth above reconstruction, for clips spread over all."""
  shown = shown[::-(-len(shown) // most)]
  videos = [np.concatenate([truth, out], axis=1) for truth, out, _ in shown]
  statistics.sheet(path, videos, [caption for *_, caption in shown], frames=5)

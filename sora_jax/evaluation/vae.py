"""The suite of the VAE: PSNR, SSIM and the facts that survive it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
import dataclasses
import functools
import math
import pathlib
from typing import Any

import numpy as np
import tqdm

from sora_jax.encoding import video as video_lib
from sora_jax.evaluation import cases
from sora_jax.evaluation import quality
from sora_jax.evaluation import real
from sora_jax.evaluation import report
from sora_jax.evaluation import sheets
from sora_jax.evaluation import statistics
from sora_jax.formats import find
from sora_jax.formats import pretrained
from sora_jax.worlds import facts as facts_lib
from sora_jax.worlds import parse

Reconstruct = Callable[[np.ndarray], np.ndarray]  # uint8 [T, H, W, 3] to same


@dataclasses.dataclass(frozen=True)
class Codec:
  """A VAE there and back, and the digest of the model that it is of."""

  reconstruct: Reconstruct
  digest: str


def load(name: str) -> Codec:
  """The VAE of a model of this package or of a model folder."""
  model = pretrained.load(find.find(name), components=("vae",))
  assert model.vae is not None
  return Codec(functools.partial(video_lib.reconstruct, model.vae),
               model.digest)


def evaluate(model: Codec, request: cases.Request) -> dict[str, Any]:
  """Writes results.json, tables.md and contact sheets.

  Args:
    model: the VAE.
    request: cases, out, seed, real, split and count.

  Returns:
    What results.json holds.
  """
  todo, out = request.cases, request.out
  result = {"suite": "vae", "model_digest": model.digest, "seed": request.seed,
            "count": len(todo),
            "metrics": world_report(model.reconstruct, todo,
                                    out / "worlds.png")}
  if request.real:
    result["real"] = real_report(
        model.reconstruct, real.find(request.real, request.split, request.count,
                                     request.seed), out / "real.png")
  report.write(out, result, tables(result))
  return result


def tables(result: dict[str, Any]) -> str:
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
        form = _FORMS.get(name, report.percent)
        rows.append((name, form(m["value"]),
                     f"{form(m['low'])} to {form(m['high'])}", m["n"]))
    if rows:
      about = [f"{scores['about']}\n"] if "about" in scores else []
      text += [f"## {title}\n", *about, report.markdown(header, rows)]
  return "\n".join(text)


_DB = lambda v: "-" if v is None else f"{v:.2f} dB"
_FORMS = {"psnr": _DB, "psnr_objects": _DB,
          "ssim": lambda v: "-" if v is None else f"{v:.4f}"}


def world_report(reconstruct: Reconstruct, todo: Sequence[cases.Case],
                 sheet: pathlib.Path) -> dict[str, Any]:
  """Held-out world clips through the VAE.

  Args:
    reconstruct: uint8 [T, H, W, 3] through the VAE and back.
    todo: the clips.
    sheet: PNG of some clips, each above its reconstruction.

  Returns:
    {psnr, psnr_objects, ssim, truth, through, kept}: means in dB and SSIM with
    their intervals; `psnr_objects` counts the pixels in the boxes of objects,
    in worlds that have such.
    truth and through are the shares of attributes that the parser reads right
    in the truth and in its reconstruction, kept the share of those right in
    the truth that are still right; `through` and `kept` also by attribute.
  """
  rows: list[dict[str, Any]] = []
  shown = []
  for case in tqdm.tqdm(todo, desc="worlds", unit="clip"):
    truth = case.render()
    out = reconstruct(truth)
    before, after = (case.score(case.parse(v)) for v in (truth, out))
    inside = (parse.mask(case.facts) if isinstance(case.facts, facts_lib.Facts)
              else np.zeros(truth.shape[:3], bool))
    rows.append({
        "psnr": quality.psnr(truth, out), "ssim": quality.ssim(truth, out),
        "psnr_objects": quality.psnr(truth, out, inside),
        "answers": [(k, before[k], after[k]) for k in before
                    if isinstance(before[k], bool | np.bool_)]})
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


def real_report(reconstruct: Reconstruct, found: real.RealClips,
                sheet: pathlib.Path) -> dict[str, Any]:
  """Real clips through the VAE: {psnr, ssim} with their intervals."""
  rows: list[dict[str, Any]] = []
  shown = []
  for i, name in enumerate(tqdm.tqdm(found.names, desc="real clips",
                                     unit="clip")):
    truth = found.read(i)
    out = reconstruct(truth)
    rows.append({"file": name, "psnr": quality.psnr(truth, out),
                 "ssim": quality.ssim(truth, out)})
    shown.append((truth, out, name))
  _sheet(sheet, shown)
  return {"about": found.about,
          "psnr": statistics.mean([r["psnr"] for r in rows]),
          "ssim": statistics.mean([r["ssim"] for r in rows]), "clips": rows}


def _sheet(path: pathlib.Path, shown, most: int = 12) -> None:
  """Truth above reconstruction, for clips spread over all."""
  shown = shown[::-(-len(shown) // most)]
  videos = [np.concatenate([truth, out], axis=1) for truth, out, _ in shown]
  sheets.sheet(path, videos, [caption for *_, caption in shown], frames=5)

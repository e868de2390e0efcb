"""report.html: what a prepared data set holds, on one page without scripts.

Every text that comes from the data is escaped, and the page's own policy
forbids scripts and anything from elsewhere.
"""

import base64
import collections
import html
import io
import os
import re

import numpy as np
import PIL.Image

from sora_jax import files
from sora_jax.data.store import manifest as manifest_lib
from sora_jax.data.store import records
from sora_jax.media import video_io

PICTURES = 48  # of kept clips; half as many of rejected ones
BARS = 14  # of a histogram
SIDE = 128
ASPECTS = {"9:21": 9 / 21, "9:16": 9 / 16, "2:3": 2 / 3, "3:4": 3 / 4, "1:1": 1,
           "4:3": 4 / 3, "3:2": 3 / 2, "16:9": 16 / 9, "21:9": 21 / 9}
HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<style>
body {{ font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; color: #222;
  max-width: 1100px; padding: 0 1em }}
h1 {{ font-size: 1.5em }} h2 {{ font-size: 1.1em; margin: 1.6em 0 .5em }}
table {{ border-collapse: collapse }}
td, th {{ padding: .15em .9em .15em 0; text-align: left; vertical-align: top }}
td.n {{ text-align: right; font-variant-numeric: tabular-nums }}
.charts {{ display: grid; gap: 1.2em 2.5em; align-items: start;
  grid-template-columns: repeat(auto-fill, minmax(320px, 1fr)) }}
.bar {{ background: #4a7ab5; height: .8em; min-width: 1px }}
.charts td:nth-child(2) {{ width: 60% }}
.clips {{ display: grid; gap: 1em;
  grid-template-columns: repeat(auto-fill, minmax(140px, 1fr)) }}
figure {{ margin: 0; font-size: 12px; overflow-wrap: anywhere }}
figure img {{ display: block; margin-bottom: .3em }}
small {{ color: #777 }}
</style></head><body>
"""


def write(out, info: dict, clips: list[dict], rejects: list[dict]) -> None:
  """Writes OUT/report.html.

  Args:
    out: the data set, or what a dry run leaves.
    info: of dataset.json; with "shards" if shards are written.
    clips, rejects: of the survey.
  """
  text = render(info, _columns(out, info, clips), _pictures(out, info, clips),
                rejects)
  files.write_bytes(os.path.join(out, "report.html"), text.encode())


def render(info: dict, columns: dict, pictures: list, rejects: list) -> str:
  """The page.

  Args:
    info: of dataset.json.
    columns: of the kept clips: frames, height, width, fps, words.
    pictures: (JPEG in base64, title, text) ..
    rejects: dicts with key and reason, some with a thumb.
  """
  source = info["source"]
  source = source if isinstance(source, str) else " + ".join(source)
  title = html.escape(f"Data set: {source}")
  done = "shards" in info
  parts = [HEAD.format(title=title), f"<h1>{title}</h1>",
           "" if done else "<p>A dry run: no shards are written.</p>",
           _table(_facts(info, columns)),
           '<h2>What it holds</h2><div class="charts">',
           *(_chart(name, bars) for name, bars in _histograms(columns)),
           "</div>"]
  if pictures:
    parts += ['<h2>Some of the clips</h2><div class="clips">',
              *(_picture(*p) for p in pictures), "</div>"]
  if rejects:
    kinds = collections.Counter(re.sub(r"[\d.e+-]*\d", "N", re.sub(
        r"(duplicate of|looks like) .*", r"\1 another", r["reason"]))
                                for r in rejects)
    parts += [f"<h2>Left out: {len(rejects)}</h2>",
              _table([(k, n) for k, n in kinds.most_common(40)]),
              "<p><small>rejects.jsonl lists each of them.</small></p>",
              '<div class="clips">',
              *(_picture(r["thumb"], r["key"], r["reason"]) for r in [
                  r for r in rejects if "thumb" in r][:PICTURES // 2]),
              "</div>"]
  return "\n".join([*parts, "</body></html>\n"])


def _facts(info: dict, columns: dict) -> list[tuple]:
  """(what, number) .. at the head of the page."""
  seconds = columns["frames"] / columns["fps"]
  video = columns["frames"] > 1
  found = [("items of the source", info["items"])]
  found += [(f"clips, {k}", n) for k, n in info["clips"].items()]
  found += [("of these, images", int((~video).sum())),
            ("hours of video", f"{seconds[video].sum() / 3600:.3g}"),
            ("left out", info["rejected"])]
  found += [(f"re-coded: {k}", n) for k, n in info.get("recoded", {}).items()]
  found += [(name, info[key]) for key, name in (
      ("captions_cut", "captions cut at their limit"),
      ("left_out_by_weight", "left out by a weight below 1")) if key in info]
  found += [(f"files ignored, ending {k}", n)
            for k, n in info.get("ignored", {}).items()]
  return found


def _columns(out, info: dict, clips: list[dict]) -> dict:
  """The manifest's columns, of all splits; a dry run's are the survey's."""
  names = ("frames", "height", "width", "fps", "words")
  if "shards" not in info:
    clips = [c for c in clips if "frames" in c]
    return {k: np.array([c[k] for c in clips], float) for k in names}
  rows = np.concatenate([np.load(os.path.join(out, f"{s}.npy"),
                                 allow_pickle=False) for s in info["shards"]])
  return {k: rows[k].astype(float) for k in names}


def _histograms(columns: dict):
  """(name, [(label, count) ..]) of each histogram."""
  height, width = columns["height"], columns["width"]
  video = columns["frames"] > 1
  names, ratios = list(ASPECTS), np.log(list(ASPECTS.values()))
  nearest = np.abs(np.log(width / height)[:, None] - ratios).argmin(1)
  counts = np.bincount(nearest, minlength=len(names)) if len(nearest) else []
  yield "size", _common(f"{w:.0f}x{h:.0f}" for w, h in zip(width, height))
  yield "aspect (nearest)", [(n, int(c)) for n, c in zip(names, counts) if c]
  yield "length of videos (seconds)", _bins(
      (columns["frames"] / columns["fps"])[video])
  yield "frames a second of videos", _common(
      f"{f:.4g}" for f in columns["fps"][video])
  yield "words of the first caption", _bins(columns["words"], whole=True)


def _common(values) -> list[tuple[str, int]]:
  """The most common values, and how many are others."""
  counts = collections.Counter(values)
  bars = counts.most_common(BARS)
  rest = sum(counts.values()) - sum(n for _, n in bars)
  return bars + [(f"{len(counts) - len(bars)} others", rest)] * (rest > 0)


def _bins(values: np.ndarray, whole: bool = False) -> list[tuple[str, int]]:
  """Counts of values between edges 1, 2, 5 times a power of ten apart."""
  if not len(values):
    return []
  low, high = float(values.min()), float(values.max())
  step = 10.0 ** np.floor(np.log10(max((high - low) / BARS, 1e-3)))
  step *= next(m for m in (1, 2, 5, 10) if (high - low) / (m * step) <= BARS)
  step = max(step, 1) if whole else step
  first = np.floor(low / step)
  index = (np.floor(values / step) - first).astype(int)
  return [(f"{(first + i) * step:.4g}" + ("" if whole and step == 1 else
                                          f" - {(first + i + 1) * step:.4g}"),
           int(n)) for i, n in enumerate(np.bincount(index))]


def _pictures(out, info: dict, clips: list[dict]) -> list[tuple]:
  """Thumbnails of the survey, else of clips read back from the shards."""
  found = [c for c in clips if "thumb" in c][:PICTURES]
  if found or "train" not in info.get("shards", {}):
    return [(c["thumb"], c["caption"], f"{c['key']}, {_about(c)}")
            for c in found]
  manifest = manifest_lib.Manifest(out, "train", np.load(
      os.path.join(out, "train.npy"), allow_pickle=False), info)
  pictures = []
  for i in np.unique(np.linspace(0, len(manifest) - 1, PICTURES // 2).astype(
      int)):
    item = records.read(manifest, int(i))
    video, _ = video_io.read(item.data, 1, item.frames // 2)
    buffer = io.BytesIO()
    image = PIL.Image.fromarray(video[0])
    image.thumbnail((SIDE, SIDE))
    image.save(buffer, "JPEG", quality=75)
    about = f"{item.key}, {_about(manifest.entries[i])}"
    pictures.append((base64.b64encode(buffer.getvalue()).decode(),
                     item.captions[0], about))
  return pictures


def _about(clip) -> str:
  """'160x90, 33 frames at 25 a second'."""
  size = f"{clip['width']}x{clip['height']}"
  if clip["frames"] == 1:
    return f"{size}, image"
  return f"{size}, {clip['frames']} frames at {clip['fps']:.4g} a second"


def _picture(jpeg: str, title: str, text: str) -> str:
  return (f'<figure><img alt="" src="data:image/jpeg;base64,'
          f'{html.escape(jpeg)}">{html.escape(title[:120])}<br>'
          f"<small>{html.escape(text[:200])}</small></figure>")


def _table(rows) -> str:
  cells = "".join(f'<tr><td>{html.escape(str(k))}</td><td class="n">'
                  f"{html.escape(str(v))}</td></tr>\n" for k, v in rows)
  return f"<table>{cells}</table>"


def _chart(name: str, bars) -> str:
  most = max((n for _, n in bars), default=1)
  rows = "".join(
      f'<tr><td>{html.escape(label)}</td><td><div class="bar" style="width:'
      f'{100 * n / most:.1f}%"></div></td><td class="n">{n}</td></tr>\n'
      for label, n in bars)
  return f"<div><b>{html.escape(name)}</b><table>{rows}</table></div>"

"""report.html: what a prepared data set holds, on one page without scripts.

Every text that comes from the data is escaped, and the page's own policy
forbids scripts and anything from elsewhere.
"""

import base64
import collections
from collections.abc import Iterable, Sequence
import html
import io
import os
import re
from typing import Any

import numpy as np
import PIL.Image

from sora_jax import files
from sora_jax import stations
from sora_jax.data.prepare import histograms
from sora_jax.data.store import manifest as manifest_lib
from sora_jax.data.store import records
from sora_jax.media import video_io

PICTURES = 48  # of kept clips; half as many of rejected ones
SIDE = 128
Columns = dict[str, np.ndarray]  # of the manifest, [N] each
Pictures = list[tuple[str, str, str]]  # (JPEG in base64, title, text) ..
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


def write(out: str, info: dict[str, Any], clips: Sequence[stations.KeptClip],
          rejects: Sequence[stations.Rejected]) -> None:
  """Writes OUT/report.html.

  Args:
    out: the data set, or what a dry run leaves.
    info: of dataset.json; with "shards" if shards are written.
    clips: what is kept.
    rejects: what the scan and the filters left out.
  """
  scanned = [c.scanned for c in clips if c.scanned]
  files.write_text(os.path.join(out, "report.html"), render(
      info, _columns(out, info, scanned), _pictures(out, info, scanned),
      rejects))


def render(info: dict[str, Any], columns: Columns, pictures: Pictures,
           rejects: Sequence[stations.Rejected]) -> str:
  """The page.

  Args:
    info: of dataset.json.
    columns: of the kept clips: frames, height, width, fps, words.
    pictures: of some clips.
    rejects: what was left out.
  """
  source = info["source"]
  source = source if isinstance(source, str) else " + ".join(source)
  title = html.escape(f"Data set: {source}")
  done = "shards" in info
  parts = [HEAD.format(title=title), f"<h1>{title}</h1>",
           "" if done else "<p>A dry run: no shards are written.</p>",
           _table(_facts(info, columns)),
           '<h2>What it holds</h2><div class="charts">',
           *(_chart(name, bars) for name, bars in histograms.histograms(columns)),
           "</div>"]
  if repeated := info.get("repeated"):
    parts += ["<h2>Captions that several files share: "
              f"{100 * repeated['share']:.3g} % of the files</h2>",
              _table(repeated["captions"])]
  if pictures:
    parts += ['<h2>Some of the clips</h2><div class="clips">',
              *(_picture(*p) for p in pictures), "</div>"]
  if rejects:
    kinds = collections.Counter(re.sub(r"[\d.e+-]*\d", "N", re.sub(
        r"(duplicate of|looks like) .*", r"\1 another", r.reason))
                                for r in rejects)
    parts += [f"<h2>Left out: {len(rejects)}</h2>",
              _table([(k, n) for k, n in kinds.most_common(40)]),
              "<p><small>rejects.jsonl lists each of them.</small></p>",
              '<div class="clips">',
              *(_picture(r.thumb or "", r.key or "", r.reason) for r in [
                  r for r in rejects if r.thumb][:PICTURES // 2]),
              "</div>"]
  return "\n".join([*parts, "</body></html>\n"])


def _facts(info: dict[str, Any], columns: Columns) -> list[tuple[str, Any]]:
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


def _columns(out: str, info: dict[str, Any],
             scanned: Sequence[stations.ScannedClip]) -> Columns:
  """The manifest's columns, of all splits; a dry run's are the scan's."""
  names = ("frames", "height", "width", "fps", "words")
  if "shards" not in info:
    return {k: np.array([getattr(c, k) for c in scanned], float) for k in names}
  rows = np.concatenate([np.load(os.path.join(out, f"{s}.npy"),
                                 allow_pickle=False) for s in info["shards"]])
  return {k: rows[k].astype(float) for k in names}


def _pictures(out: str, info: dict[str, Any],
              scanned: Sequence[stations.ScannedClip]) -> Pictures:
  """Thumbnails of the scan, else of clips read back from the shards."""
  found = [c for c in scanned if c.thumb][:PICTURES]
  if found or "train" not in info.get("shards", {}):
    return [(c.thumb or "", c.caption or "", f"{c.key}, {_about(c)}")
            for c in found]
  manifest = manifest_lib.Manifest(out, "train", np.load(
      os.path.join(out, "train.npy"), allow_pickle=False), info)
  pictures: Pictures = []
  for i in np.unique(np.linspace(0, len(manifest) - 1, PICTURES // 2).astype(
      int)):
    item = records.read(manifest, int(i))
    video, _ = video_io.read(item.data, 1, item.frames // 2)
    pictures.append((thumbnail(video[0]), item.captions[0],
                     f"{item.key}, {_about(item)}"))
  return pictures


def thumbnail(frame: np.ndarray) -> str:
  """A frame uint8 [H, W, 3] as a small JPEG in base64."""
  buffer = io.BytesIO()
  image = PIL.Image.fromarray(frame)
  image.thumbnail((SIDE, SIDE))
  image.save(buffer, "JPEG", quality=75)
  return base64.b64encode(buffer.getvalue()).decode()


def _about(clip: stations.ScannedClip | stations.Item) -> str:
  """'160x90, 33 frames at 25 a second'."""
  size = f"{clip.width}x{clip.height}"
  if clip.frames == 1:
    return f"{size}, image"
  return f"{size}, {clip.frames} frames at {clip.fps:.4g} a second"


def _picture(jpeg: str, title: str, text: str) -> str:
  return (f'<figure><img alt="" src="data:image/jpeg;base64,'
          f'{html.escape(jpeg)}">{html.escape(title[:120])}<br>'
          f"<small>{html.escape(text[:200])}</small></figure>")


def _table(rows: Iterable[tuple[str, Any]]) -> str:
  cells = "".join(f'<tr><td>{html.escape(str(k))}</td><td class="n">'
                  f"{html.escape(str(v))}</td></tr>\n" for k, v in rows)
  return f"<table>{cells}</table>"


def _chart(name: str, bars: histograms.Bars) -> str:
  most = max((n for _, n in bars), default=1)
  rows = "".join(
      f'<tr><td>{html.escape(label)}</td><td><div class="bar" style="width:'
      f'{100 * n / most:.1f}%"></div></td><td class="n">{n}</td></tr>\n'
      for label, n in bars)
  return f"<div><b>{html.escape(name)}</b><table>{rows}</table></div>"

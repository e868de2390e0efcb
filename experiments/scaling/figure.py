"""Figures by PIL alone: points over logarithmic axes, and a sheet of samples."""

from collections.abc import Sequence
import dataclasses
import pathlib

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SIZE = (760, 480)
BOX = (80, 20, 590, 430)  # left, top, right, bottom of the axes
COLOURS = ("#1b6ca8", "#d1495b", "#3a7d44", "#edae49", "#6a4c93", "#00798c",
           "#8d6b48")


@dataclasses.dataclass(frozen=True)
class Series:
  """Points of one kind.

  Attributes:
    name: in the legend.
    points: (x, y) ..
    colour: of COLOURS, or a name.
    hollow: whether they are rings.
    bars: (low, high) of each point, or ().
  """

  name: str
  points: Sequence[tuple[float, float]]
  colour: str = "black"
  hollow: bool = False
  bars: Sequence[tuple[float, float]] = ()


def plot(path: pathlib.Path, series: Sequence[Series], title: str, across: str,
         up: str, log_y: bool = True) -> None:
  """Writes a figure of points over a logarithmic axis across.

  Args:
    path: the PNG.
    series: what is drawn.
    title, across, up: words of the figure and its axes.
    log_y: whether the axis up is logarithmic too.
  """
  image = Image.new("RGB", SIZE, "white")
  draw = ImageDraw.Draw(image)
  font = ImageFont.load_default(12)
  every = [p for one in series for p in one.points]
  ends = [b for one in series for bar in one.bars for b in bar]
  scale = np.log10 if log_y else np.asarray
  x = np.log10([p[0] for p in every])
  y = scale([*(p[1] for p in every), *ends])
  x0, x1, y0, y1 = x.min() - 0.1, x.max() + 0.1, y.min(), y.max()
  pad = 0.06 * max(y1 - y0, 1e-6)
  y0, y1 = y0 - pad, y1 + pad
  left, top, right, bottom = BOX
  at = lambda px, py: (left + (np.log10(px) - x0) / (x1 - x0) * (right - left),
                       bottom - (scale(py) - y0) / (y1 - y0) * (bottom - top))
  draw.rectangle(BOX, outline="black")
  for value in ticks(10 ** x0, 10 ** x1):
    px = at(value, every[0][1])[0]
    draw.line((px, bottom, px, bottom + 4), fill="black")
    draw.text((px - 12, bottom + 6), f"{value:.0e}".replace("e+", "e"),
              fill="black", font=font)
  for part in np.linspace(y0, y1, 7)[1:-1]:
    value = 10 ** part if log_y else part
    py = at(every[0][0], value)[1]
    draw.line((left - 4, py, left, py), fill="black")
    draw.text((left - 44, py - 7), f"{value:.3g}", fill="black", font=font)
  draw.text((left, 3), title, fill="black", font=font)
  draw.text(((left + right) / 2 - 60, bottom + 26), across, fill="black", font=font)
  draw.text((4, 3), up, fill="black", font=font)
  for i, one in enumerate(series):
    spots = [at(*p) for p in one.points]
    for (px, _), bar in zip(spots, one.bars):
      a, b = (at(one.points[0][0], max(v, 1e-9))[1] for v in bar)
      draw.line((px, a, px, b), fill=one.colour, width=2)
    for px, py in spots:
      draw.ellipse((px - 4, py - 4, px + 4, py + 4), outline=one.colour, width=2,
                   fill=None if one.hollow else one.colour)
    draw.rectangle((right + 12, top + 18 * i + 4, right + 22, top + 18 * i + 14),
                   outline=one.colour, fill=None if one.hollow else one.colour)
    draw.text((right + 28, top + 18 * i), one.name, fill="black", font=font)
  image.save(path)


def ticks(low: float, high: float) -> list[float]:
  """Powers of ten within two numbers."""
  return [float(10 ** k) for k in range(int(np.ceil(np.log10(low))),
                                        int(np.floor(np.log10(high))) + 1)]


def columns(path: pathlib.Path, sheets: Sequence[tuple[str, pathlib.Path]],
            prompts: Sequence[str], scale: int = 1) -> None:
  """Writes sheets side by side, each below its title, the prompts at the left.

  Args:
    path: the PNG.
    sheets: (title, PNG of as many lines as there are prompts) ..
    prompts: of the lines.
    scale: of the pixels.
  """
  font = ImageFont.load_default(12)
  images = [Image.open(p).convert("RGB") for _, p in sheets]
  images = [i.resize((i.width * scale, i.height * scale), Image.Resampling.NEAREST)
            for i in images]
  margin, head, gap = 250, 20, 12
  out = Image.new("RGB", (margin + sum(i.width + gap for i in images),
                          head + max(i.height for i in images)), "white")
  draw = ImageDraw.Draw(out)
  row = images[0].height / max(len(prompts), 1)
  for k, prompt in enumerate(prompts):
    words, text = prompt.split(), ""
    for word in words:
      last = text.rsplit("\n", 1)[-1]
      text += ("\n" if font.getlength(f"{last} {word}") > margin - 12 else " "
               if text else "") + word
    draw.text((4, head + k * row + 2), text, fill="black", font=font)
  x = margin
  for (title, _), image in zip(sheets, images):
    draw.text((x, 3), title, fill="black", font=font)
    out.paste(image, (x, head))
    x += image.width + gap
  out.save(path)

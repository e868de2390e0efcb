"""Makes docs/gallery.md: one strip for each way of prompting.

  python experiments/prompting/gallery.py --out=docs [--model=tiny] \
      [--work=DIR]

Every strip is made by the commands that stand beside it, from nothing but the
model; --work is where the videos go.
"""

import argparse
import pathlib
import shlex
import tempfile

import numpy as np
from PIL import Image

from sora_jax import main as program
from sora_jax.evaluation import sheets
from sora_jax.media import video_io

BALL = '--prompt="a large red ball moves to the right on a plain black background"'
STRIPS = [
    ("From text",
     ['generate --prompt="a red ball moves to the right" --out=right.mp4',
      'generate --prompt="a blue square moves up" --size=56x96 --out=tall.mp4',
      'generate --prompt="a large yellow disc moves down" --size=128x72 '
      "--out=wide.mp4",
      'generate --prompt="a green triangle moves to the left" --out=left.mp4',
      'generate --prompt="a purple ball passes behind a wall, moving right" '
      "--out=wall.mp4"],
     ["right.mp4", "tall.mp4", "wide.mp4", "left.mp4", "wall.mp4"]),
    ("Several seeds", [f"generate {BALL} --count=4 --grid --out=seeds.mp4"],
     ["seeds.mp4"]),
    ("Animate an image",
     ['generate --prompt="a large red ball on a plain black background" '
      "--frames=1 --seed=4 --out=ball.png",
      f"animate ball.png {BALL} --out=animated.mp4"], ["animated.mp4"]),
    ("An image at another time",
     [f"animate ball.png {BALL} --at=8 --out=middle.mp4"], ["middle.mp4"]),
    ("Extend forward",
     [f"generate {BALL} --seed=3 --out=ball.mp4",
      f"extend ball.mp4 {BALL} --frames=16 --out=forward.mp4"],
     ["ball.mp4", "forward.mp4"]),
    ("Extend backward: other beginnings, one ending",
     [f"extend ball.mp4 {BALL} --direction=backward --frames=12 --count=4 "
      "--out=backward.mp4"], [f"backward-{i}.mp4" for i in range(4)]),
    ("Loop a video", [f"loop ball.mp4 {BALL} --frames=8 --out=loop.mp4"],
     ["loop.mp4"]),
    ("Loop from text",
     ['loop --prompt="a large blue square on a plain navy background" '
      "--frames=24 --out=endless.mp4"], ["endless.mp4"]),
    ("Edit", ['edit ball.mp4 --prompt="a large green ball moves to the right on '
              'a plain black background" --out=green.mp4'],
     ["ball.mp4", "green.mp4"]),
    ("Connect", ['generate --prompt="a small yellow square moves down on a plain '
                 'navy background" --size=96x56 --seed=6 --out=square.mp4',
                 "connect ball.mp4 square.mp4 --frames=16 --out=connected.mp4"],
     ["connected.mp4"]),
    ("Draw a box anew",
     ['inpaint ball.mp4 --region=0,0,64,32 --prompt="a small yellow square '
      'moves right on a plain black background" --out=inpainted.mp4'],
     ["ball.mp4", "inpainted.mp4"]),
    ("Upscale a prototype",
     ["upscale ball.mp4 --size=128x128 --out=large.mp4"],
     ["ball.mp4", "large.mp4"]),
    ("A minute",
     [f"generate {BALL} --fps=16 --frames=961 --window=49 --out=minute.mp4"],
     ["minute.mp4"]),
]
# What is wrong in a strip.
FAULTS = {"Loop a video": "A second ball comes in while the first leaves: "
                          "[why](videos.md#loops)."}


def run(command: str, work: pathlib.Path, model: str) -> None:
  """Runs a command of the gallery in the folder `work`."""
  argv = [str(work / a) if a.endswith((".mp4", ".png")) and "=" not in a else
          a.replace("--out=", f"--out={work}/") for a in shlex.split(command)]
  if program.main([*argv, f"--model={model}"]):
    raise SystemExit(f"sora-jax {command} failed")


def strip(paths) -> np.ndarray:
  """The videos as rows of nine frames, about 64 pixels high."""
  rows = []
  for path in paths:
    video, _ = video_io.read(str(path))
    height = 64 * max(video.shape[1] // 128, 1)
    size = (max(round(video.shape[2] * height / video.shape[1]), 1), height)
    video = np.stack([np.asarray(Image.fromarray(f).resize(size))
                      for f in video])
    rows.append(sheets.strip(video, f"{len(video)} frames", frames=9))
  width = max(r.shape[1] for r in rows)
  return np.concatenate([np.pad(r, ((0, 0), (0, width - r.shape[1]), (0, 0)),
                                constant_values=255) for r in rows])


def main():
  """Runs everything and writes the page."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--out", default="docs")
  parser.add_argument("--model", default="tiny")
  parser.add_argument("--work", default="")
  args = parser.parse_args()
  work = pathlib.Path(args.work or tempfile.mkdtemp())
  work.mkdir(parents=True, exist_ok=True)
  out = pathlib.Path(args.out)
  (out / "gallery").mkdir(parents=True, exist_ok=True)
  text = ["# Gallery", "", "Made by `python experiments/prompting/gallery.py` "
          "with the weights in this repository: the", "commands beside each "
          "strip, one after the other, and nothing else.", ""]
  for title, commands, files in STRIPS:
    for command in commands:
      run(command, work, args.model)
    name = title.split(":")[0].lower().replace(" ", "_").replace(",", "")
    Image.fromarray(strip([work / f for f in files])).save(
        out / "gallery" / f"{name}.png")
    text += [f"## {title}", "", *(f"    sora-jax {c}" for c in commands), "",
             f"![{title}](gallery/{name}.png)", ""]
    text += [FAULTS[title], ""] if title in FAULTS else []
  (out / "gallery.md").write_text("\n".join(text), encoding="utf-8")
  print(f"{out}/gallery.md")


if __name__ == "__main__":
  main()

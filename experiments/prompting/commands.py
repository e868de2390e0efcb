"""The commands of the README's section "Make videos" draw what they say.

  python experiments/prompting/commands.py > experiments/prompting/commands.txt

They run one after the other in an empty folder, but for the minute (gallery.md
shows it). For each file the things in every frame are counted, which are patches
of one saturated colour, and how far the middle of all of them goes between two
frames. It holds if 95 % of the frames of each file have as many things as its
command tells, and no middle goes further than a sixth of the picture.
"""

import collections
import contextlib
import os
import pathlib
import shlex
import sys
import tempfile

import numpy as np
from scipy import ndimage

from sora_jax import main as program
from sora_jax.media import clips

README = pathlib.Path(__file__).parents[2] / "README.md"
SPREAD = 100  # levels between the channels of a saturated pixel
LEAST = 1 / 400  # of the picture: the smallest thing
RIGHT = 0.95  # share of the frames
FAR = 1 / 6  # of the picture's side, between two frames
# Things in a frame where it is not one; None where videos are dissolved.
THINGS = {"drawn.mp4": 2, "both.mp4": None}


def commands() -> list[list[str]]:
  """The command lines of the section, without that of the minute."""
  section = README.read_text("utf-8").split("## Make videos")[1].split("\n## ")[0]
  lines = [line.split(" ", 5)[5] for line in section.splitlines()
           if line.startswith("    sora-jax ")]
  return [shlex.split(line) for line in lines if "--frames=961" not in line]


def things(frame: np.ndarray) -> list[tuple[float, float]]:
  """Where the things of a frame uint8 [H, W, 3] are, (y, x) in its sides."""
  high, low = frame.max(-1).astype(int), frame.min(-1).astype(int)
  bits = frame > ((high + low) / 2)[..., None]  # yellow is (1, 1, 0)
  colours = np.where(high - low > SPREAD, bits @ (1, 2, 4), 0)
  found = []
  for colour in np.unique(colours[colours > 0]):
    labels, count = ndimage.label(colours == colour)
    sizes = collections.Counter(labels[labels > 0].tolist())
    large = [i for i in range(1, count + 1) if sizes[i] >= LEAST * labels.size]
    found += [tuple(np.array(c) / labels.shape)
              for c in ndimage.center_of_mass(labels > 0, labels, large)]
  return found


def judged(path: pathlib.Path, wanted: int | None) -> tuple[str, bool]:
  """A line on a file, and whether it holds."""
  found = [things(frame) for frame in clips.read(path)[0]]
  if wanted is None:
    return f"{path.name:14} {len(found):3} frames, dissolved", True
  share = np.mean([len(places) == wanted for places in found])
  middles = [np.mean(places, 0) for places in found if places]
  jump = max((np.abs(a - b).max() for a, b in zip(middles, middles[1:])),
             default=0.0)
  return (f"{path.name:14} {len(found):3} frames, {share:4.0%} with {wanted} "
          f"thing{'s' * (wanted > 1)}, farthest step {jump:.2f}",
          share >= RIGHT and jump <= FAR)


def main() -> int:
  held = True
  with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    for argv in commands():
      before = set(os.listdir())
      with contextlib.redirect_stdout(sys.stderr):
        code = program.main(argv)
      if code:
        raise SystemExit(f"sora-jax {shlex.join(argv)} failed")
      for name in sorted(set(os.listdir()) - before):
        line, right = judged(pathlib.Path(name), THINGS.get(name, 1))
        print(line if right else f"{line}: WRONG", flush=True)
        held &= right
  print("held" if held else "DID NOT HOLD")
  return 0 if held else 1


if __name__ == "__main__":
  sys.exit(main())

"""Do the worlds say, draw and read what is true?

  python experiments/emergence/worlds.py [--worlds=..] [--count=500] [--sheets=DIR]

Of every world: `count` clips of mixed sizes, aspects and lengths are drawn and
parsed, and each fact that is read right counts (claim: 99 % or more); 21 captions
of each clip, short in English and Chinese and descriptive, are read back (claim:
every one tells a part of what is true, and every descriptive one all of it);
clips of 64x64x17 are rendered by one process (claim: 200 a second or more of its
time for flat worlds); what cannot be drawn is refused in one line. --sheets
writes one contact sheet a world.
"""

import argparse
import collections
import dataclasses
import pathlib
import time

import numpy as np

from sora_jax import worlds
from sora_jax.evaluation import sheets

SIZES = ((64, 64), (96, 56), (56, 96), (48, 48), (48, 112), (112, 48), (72, 72),
         (128, 72), (160, 96))
FRAMES = (1, 13, 17, 17, 25, 33, 49)
RARE = (((256, 256), 17), ((64, 64), 240))  # one clip in forty each
FPS = 8.0
TIMES = 7  # captions of each kind and clip
RENDERED = 100
# The flat worlds' captions may leave these out.
OPTIONAL = {"wall.colour", "background.axis"}
REFUSED = (((64, 32), 17, {}), ((200, 64), 17, {}), ((64, 64), 4, {}),
           ((64, 64), 17, {"setting": "sea"}), ((64, 64), 17, {"hidden": 16}),
           ((64, 64), 17, {"bites": 9}), ((64, 64), 17, {"objects": 9}))


def clip(name: str, index: int):
  """The facts of one of the clips."""
  rng = np.random.default_rng(index)
  size, frames = SIZES[rng.integers(len(SIZES))], int(rng.choice(FRAMES))
  if index % 40 in (7, 27):
    size, frames = RARE[index % 40 == 27]
  world = worlds.WORLDS[name]
  return world.sample(worlds.key(index, name), getattr(world, "SIZE", size),
                      frames, FPS, held_out=frames > 1 and index % 5 == 0)


def captions(name: str, facts, index: int) -> list[str]:
  """What is wrong with the captions of a clip; nothing if all is right."""
  world, wrong = worlds.WORLDS[name], []
  told = world.told(facts)
  for turn in range(TIMES):
    texts = [world.describe(facts, worlds.key(index, name, f"{turn}"), language)
             for language in ("en", "zh")]
    for text in (texts[0][0], texts[1][0], texts[0][1]):
      read = world.read(text)
      whole = text != texts[0][1] or told.keys() - read.keys() <= OPTIONAL
      if not read.items() <= told.items() or not whole:
        wrong.append(text)
  return wrong


def refusals(name: str) -> list[str]:
  """What a world says of facts that it cannot draw."""
  said = []
  for size, frames, asked in REFUSED:
    try:
      worlds.WORLDS[name].sample(worlds.key(0, name), size, frames, FPS, **asked)
    except ValueError as e:
      said.append(str(e))
    except TypeError:  # an option of another world
      pass
  return said


def speed(name: str) -> float:
  """Clips of 64x64x17 a second of this process's time."""
  world = worlds.WORLDS[name]
  size = getattr(world, "SIZE", (64, 64))
  some = [world.sample(worlds.key(i, name), size, 17, FPS)
          for i in range(RENDERED)]
  worlds.render_many(name, some[:8])
  begin = time.process_time()
  worlds.render_many(name, some)
  return RENDERED / (time.process_time() - begin)


def sheet(name: str, folder: pathlib.Path) -> None:
  """Twelve clips with their captions."""
  world = worlds.WORLDS[name]
  some = [world.sample(worlds.key(900 + i, name),
                       getattr(world, "SIZE", SIZES[i % 6]), 17, FPS)
          for i in range(12)]
  some.sort(key=lambda f: f.size[0])
  texts = [world.describe(f, worlds.key(i, name, "caption"))[1]
           for i, f in enumerate(some)]
  sheets.sheet(folder / f"{name}.png", [world.render(f) for f in some], texts,
               scale=2)


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--worlds", default=",".join(worlds.WORLDS))
  parser.add_argument("--count", type=int, default=500)
  parser.add_argument("--sheets", type=pathlib.Path)
  args = parser.parse_args()
  for name in args.worlds.split(","):
    world, right = worlds.WORLDS[name], collections.defaultdict(list)
    wrong, unparsed = [], 0
    for i in range(args.count):
      facts = clip(name, i)
      observed = world.parse(world.render(facts), facts.fps)
      unparsed += bool(worlds.unparsed(observed))
      for fact, value in world.score(facts, observed).items():
        right[fact].append(float(value))
      wrong += captions(name, facts, i)
    total = [v for values in right.values() for v in values]
    print(f"{name}: {args.count} clips, {unparsed} without an object")
    print(f"  parsed right: {100 * np.mean(total):.2f} % of {len(total)} facts: "
          + ", ".join(f"{fact} {100 * np.mean(v):.1f}" for fact, v in right.items()))
    print(f"  captions read back: {3 * TIMES * args.count - len(wrong)} of "
          f"{3 * TIMES * args.count}" + "".join(f"\n    {t}" for t in wrong[:3]))
    print(f"  rendered: {speed(name):.0f} clips of 64x64x17 a second")
    for line in refusals(name):
      print(f"  refused: {line}")
    fields = [f.name for f in dataclasses.fields(type(facts))]
    print(f"  facts: {', '.join(fields)}", flush=True)
    if args.sheets:
      args.sheets.mkdir(parents=True, exist_ok=True)
      sheet(name, args.sheets)


if __name__ == "__main__":
  main()

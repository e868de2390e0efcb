"""Captions of world clips, scored as facts.

  python experiments/language/captioner.py --model=MODEL > captioner.txt

For each set of fresh clips: precision and recall of the facts that `read` finds
in the descriptive caption, invented things a caption, and captions that are
exact, with 95 % intervals over clips. The ceiling is the parser of the world on
the same clip through the VAE; the floor the true caption of another clip of the
same world. Then text-video retrieval among 100, and how often the true caption
is nearer to its clip than the same with one fact changed.
"""

import argparse
import dataclasses
import sys
import time

import numpy as np

from sora_jax import worlds
from sora_jax.encoding import video as video_lib
from sora_jax.evaluation import caption_facts
from sora_jax.evaluation import statistics
from sora_jax.language import captioner as captioner_lib

SETS = {
    "trained sizes": dict(sizes=((48, 48), (64, 64), (96, 56), (56, 96))),
    "held-out pairs": dict(sizes=((64, 64),), held_out=True),
    "other sizes": dict(sizes=((72, 72), (104, 64), (64, 112))),
    "images": dict(sizes=((64, 64),), frames=1),
    "through the VAE": dict(sizes=((64, 64),), through=True),
}
KINDS = {"colour": ("colour", "objects", "solids", "balls", "hat", "body", "legs",
                    "mouth", "food", "hitter", "cover"),
         "shape": ("shape", "kind", "form", "thing"),
         "direction": ("direction", "goes", "leaves", "fills", "side"),
         "event": ("motion", "meet", "breaks", "bites", "move")}


@dataclasses.dataclass(frozen=True)
class Clip:
  """A clip, its facts and its captions."""

  world: str
  facts: object
  video: np.ndarray
  short: str
  descriptive: str


def draw(names, count, seed, sizes, frames=17, held_out=False):
  """Clips of each world in turn; those that cannot be drawn are left out."""
  found = []
  for i in range(count):
    name = names[i % len(names)]
    world, rng = worlds.WORLDS[name], np.random.default_rng([seed, i])
    size = getattr(world, "SIZE", sizes[i // len(names) % len(sizes)])
    facts = world.sample(rng, size, frames, 8.0, held_out=held_out)
    found.append(Clip(name, facts, world.render(facts),
                      *world.describe(facts, rng)))
  return found


def table(rows, head):
  print(head)
  print("-" * len(head))
  for row in rows:
    print(row)
  print(flush=True)


def line(name, counts):
  """One row: shares with intervals over clips."""
  total = sum(counts, caption_facts.Counts())
  values = {}
  for key, (a, b) in {"precision": ("right", "told"),
                      "recall": ("right", "true")}.items():
    pairs = np.array([[getattr(c, a), getattr(c, b)] for c in counts])
    rng = np.random.default_rng(0)
    drawn = pairs[rng.integers(len(pairs), size=(1000, len(pairs)))].sum(1)
    low, high = np.percentile(drawn[:, 0] / np.maximum(drawn[:, 1], 1),
                              (2.5, 97.5))
    values[key] = (f"{100 * getattr(total, key):5.1f} ({100 * low:.0f}.."
                   f"{100 * high:.0f})")
  return (f"{name:<18} {total.captions:>5} {values['precision']:>16} "
          f"{values['recall']:>16} {total.invented / total.captions:>9.3f} "
          f"{total.exact / total.captions:>7.1%} "
          f"{total.unreadable / total.captions:>7.1%}")


HEAD = (f"{'':<18} {'n':>5} {'precision %':>16} {'recall %':>16} {'invented':>9} "
        f"{'exact':>7} {'unread':>7}")


def main(argv):
  parser = argparse.ArgumentParser()
  parser.add_argument("--model", required=True)
  parser.add_argument("--count", type=int, default=330)
  parser.add_argument("--seed", type=int, default=4711)
  args = parser.parse_args(argv)
  names = [n for n in worlds.WORLDS if not worlds.missing(n)]
  captioner = captioner_lib.load(args.model)
  told = lambda clip: worlds.WORLDS[clip.world].told(clip.facts)
  print(f"$ python experiments/language/captioner.py --model={args.model} "
        f"--count={args.count} --seed={args.seed}\n{captioner!r}\n")
  for title, options in SETS.items():
    options = dict(options)
    through = options.pop("through", False)
    some = [n for n in names if options.get("frames", 17) > 1
            or not worlds.WORLDS[n].SHORTEST]
    clips = draw(some, args.count, args.seed, **options)
    seen = [video_lib.reconstruct(captioner.model.vae, c.video) if through
            else c.video for c in clips]
    records = [captioner.record(video, 8.0) for video in seen]
    captioner.caption(records)  # compiles
    start = time.monotonic()
    found = [text for _, text in captioner.caption(records)]
    seconds = time.monotonic() - start
    counts = [caption_facts.compare(c.world, told(c), text)
              for c, text in zip(clips, found)]
    rows = [line("all", counts)]
    rows += [line(name, some) for name in names if (some := [
        n for c, n in zip(clips, counts) if c.world == name])]
    for kind, ends in KINDS.items():
      of = [caption_facts.compare(c.world, told(c), text, ends)
            for c, text in zip(clips, found)]
      rows.append(line(f"  {kind}", of))
    other = clips[len(some):] + clips[:len(some)]
    rows.append(line("floor: another's", [
        caption_facts.compare(c.world, told(c), o.descriptive)
        for c, o in zip(clips, other)]))
    table(rows, f"{title:<18} " + HEAD[19:])
    print(f"{2 * len(clips) / seconds:.1f} captions/s, short and descriptive, "
          "from latents\n")
    if title == "trained sizes":
      ceiling = [np.mean([float(v) for v in worlds.WORLDS[c.world].score(
          c.facts, worlds.WORLDS[c.world].parse(video_lib.reconstruct(
              captioner.model.vae, c.video), 8.0)).values()]) for c in clips]
      low, high = statistics.bootstrap(ceiling)
      print(f"ceiling, facts that the parsers see through the VAE: "
            f"{np.mean(ceiling):.1%} ({low:.1%} .. {high:.1%}), n = "
            f"{len(clips)}\n")
      compare(captioner, clips, records)


def compare(captioner, clips, records):
  """Retrieval among 100, and captions with one fact changed."""
  seen = captioner.embed_clips(records)
  for kind in ("short", "descriptive"):
    said = captioner.embed_texts([getattr(c, kind) for c in clips])
    s = said[:100] @ seen[:100].T
    print(f"retrieval among {len(s)}, {kind}: text to clip "
          f"{np.mean(s.argmax(1) == np.arange(len(s))):.1%}, clip to text "
          f"{np.mean(s.argmax(0) == np.arange(len(s))):.1%} (chance "
          f"{1 / len(s):.1%})")
  right = []
  for i, clip in enumerate(clips):
    world = worlds.WORLDS[clip.world]
    changed = world.what_if(clip.facts, np.random.default_rng([9, i]))
    pair = [world.describe(facts, np.random.default_rng([8, i]))[1]
            for facts in (clip.facts, changed)]
    if pair[0] != pair[1]:
      a, b = captioner.embed_texts(pair) @ seen[i]
      right.append(a > b)
  low, high = statistics.wilson(sum(right), len(right))
  print(f"true caption nearer than the same with one fact changed: "
        f"{np.mean(right):.1%} ({low:.1%} .. {high:.1%}), n = {len(right)}\n",
        flush=True)


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))

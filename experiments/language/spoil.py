"""No claim: spoils the captions of a world data set as alt-texts are.

  sora-jax prepare world:balls,occluder,figures,bite --out=DIR --count=80 \
      --size=48x48 --frames=1:1,9:3,17:1 --shard=16 --held_out=.1
  python experiments/language/spoil.py --data=DIR > experiments/language/spoil.txt

Of all facts of a clip 40 % are missing from its caption and 15 % are told wrong;
10 % of the clips have such a caption of another clip, 5 % an empty one. Facts are
those that the world reads. The captions become the origin `spoilt` of the data
set, and of its --latents; the same seed gives the same. Printed are the shares of
facts that are right, wrong and missing.
"""

import argparse
import collections
import dataclasses
import json
import re

import numpy as np

from sora_jax import contracts
from sora_jax import worlds
from sora_jax.data.sources import world as world_lib
from sora_jax.data.store import captions
from sora_jax.data.store import captions_carry
from sora_jax.data.store import captions_writer
from sora_jax.data.store import manifest as manifest_lib
from sora_jax.data.store import records
from sora_jax.evaluation import caption_facts
from sora_jax.text import tokenizer

MISSING, WRONG = 0.4, 0.15  # of the facts
OTHER, EMPTY = 0.1, 0.05  # of the clips
TRIES = 60  # words that are tried to be left out
ORIGIN = "spoilt"


@dataclasses.dataclass(frozen=True)
class Clip:
  """A clip of a world: the name of the world, its facts and its key."""

  world: str
  facts: contracts.Facts
  key: str


def told(name: str, text: str) -> set[caption_facts.Atom]:
  """The facts that a text tells; none where the world cannot read it."""
  try:
    return caption_facts.atoms(worlds.WORLDS[name].read(text))
  except ValueError:
    return set()


def spoil(clip: Clip, rng: np.random.Generator) -> str:
  """A caption of a clip with facts missing and wrong."""
  world = worlds.WORLDS[clip.world]
  true = caption_facts.atoms(world.told(clip.facts))
  return leave_out(clip.world, wrong(clip, true, rng), MISSING * len(true), rng)


def wrong(clip: Clip, true: set[caption_facts.Atom],
          rng: np.random.Generator) -> str:
  """The descriptive caption of a clip in which some facts are others.

  As many facts will be wrong on average as WRONG asks for, after others have
  been left out.
  """
  world, facts = worlds.WORLDS[clip.world], clip.facts
  most, before = WRONG / (1 - MISSING) * len(true), 0
  text = world.describe(facts, rng)[1]
  for _ in range(4):
    other = world.what_if(facts, rng)
    changed = world.describe(other, rng)[1]
    count = len(told(clip.world, changed) - true)
    if count <= before:
      continue
    if rng.random() > (most - before) / (count - before):
      break
    facts, text, before = other, changed, count
  return text


def leave_out(name: str, text: str, most: float, rng: np.random.Generator) -> str:
  """The text without words, so that it tells `most` facts less on average.

  What is left tells nothing that the whole text does not.
  """
  facts = told(name, text)
  whole, removed = facts, 0
  for _ in range(TRIES):
    words = text.split()
    if not words or not facts:
      break
    first = int(rng.integers(len(words)))
    last = first + int(rng.choice([1, 1, 1, 2, 3, 4, 6, 8]))
    shorter = " ".join(words[:first] + words[last:])
    left = told(name, shorter)
    if not left < facts or len(facts - left) > max(2, most - removed + 1):
      continue
    now = len(whole - left)
    if now > most and rng.random() > (most - removed) / (now - removed):
      break
    text, facts, removed = shorter, left, now
    if removed >= most:
      break
  return re.sub(r" +([,.])", r"\1", text)


def clips_of(manifest: manifest_lib.Manifest) -> list[list[Clip]]:
  """The clips of every shard, drawn again and compared with the records."""
  source = manifest.info["source"]
  if not isinstance(source, str) or not source.startswith("world:"):
    raise ValueError(f"{manifest.root} is of {source}: give a set of world:NAME")
  drawn = world_lib.read_worlds(
      source.removeprefix("world:"), world_lib.WorldOptions(**{
          k: tuples(v) for k, v in manifest.info["options"].items()}))
  found: list[list[Clip]] = [[] for _ in captions.records_of(manifest)]
  for i in range(len(manifest)):
    item = records.read(manifest, i)
    index = int(item.key.rpartition("-")[2])
    name, facts = drawn.draw(index, held_out=manifest.split == "val")
    if json.loads(worlds.to_json(facts)) != json.loads(item.facts):
      raise ValueError(f"{manifest.root}: {item.key} was drawn by another version")
    found[int(manifest.entries["shard"][i])].append(Clip(name, facts, item.key))
  return found


def tuples(value):
  """A value of JSON with tuples for lists."""
  return tuple(map(tuples, value)) if isinstance(value, list) else value


def captions_of(clips: list[Clip], seed: int) -> list[str]:
  """The spoilt captions of clips, each by its key and the seed."""
  found = []
  for clip in clips:
    rng = worlds.key(seed, clip.key, "spoilt")
    u = rng.random()
    if u < EMPTY:
      found.append("")
      continue
    shown = clips[int(rng.integers(len(clips)))] if u < EMPTY + OTHER else clip
    found.append(spoil(shown, rng))
  return found


def count(clip: Clip, text: str) -> collections.Counter:
  """Facts of a clip in a caption."""
  true = caption_facts.atoms(worlds.WORLDS[clip.world].told(clip.facts))
  said = told(clip.world, text)
  return collections.Counter(clips=1, facts=len(true), right=len(true & said),
                             wrong=len(said - true), words=len(text.split()))


def main() -> None:
  """Spoils a data set."""
  parser = argparse.ArgumentParser()
  parser.add_argument("--data", required=True)
  parser.add_argument("--latents", default="")
  parser.add_argument("--seed", type=int, default=0)
  parser.add_argument("--show", type=int, default=12)
  args = parser.parse_args()
  manifests = captions.open_splits(args.data)
  words = tokenizer.of(next(iter(manifests.values())))
  captions_writer.start(manifests, ORIGIN, f"seed {args.seed}")
  before, after = (collections.defaultdict(collections.Counter) for _ in range(2))
  shown = 0
  for manifest in manifests.values():
    for shard, clips in enumerate(clips_of(manifest)):
      texts = captions_of(clips, args.seed)
      captions_writer.write_shard(manifest, ORIGIN, shard,
                                  [(text,) for text in texts], words)
      for clip, text in zip(clips, texts):
        own = worlds.WORLDS[clip.world].describe(clip.facts, worlds.key(
            args.seed, clip.key, "clean"))[1]
        for name in (clip.world, "all"):
          before[name] += count(clip, own)
          after[name] += count(clip, text)
        if shown < args.show:
          shown += 1
          print(f"{clip.key}\n  clean:  {own}\n  spoilt: {text}")
  captions_writer.finish(manifests, ORIGIN, f"seed {args.seed}")
  print(f"\n{'world':10} {'clips':>6} {'clean: right':>12}   spoilt: right  wrong  "
        "missing  words")
  for name in sorted(after, key=lambda n: (n == "all", n)):
    a, b = after[name], before[name]
    share = lambda n: f"{100 * n / a['facts']:6.1f}"  # noqa: B023
    print(f"{name:10} {a['clips']:6} {share(b['right']):>12}   "
          f"{share(a['right']):>13} {share(a['wrong'])}   "
          f"{share(a['facts'] - a['right'] - a['wrong'])} "
          f"{a['words'] / a['clips']:6.1f}")
  if args.latents:
    captions_carry.carry(args.data, args.latents)


if __name__ == "__main__":
  main()

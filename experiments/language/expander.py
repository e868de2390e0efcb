"""What the local expander makes of 500 short prompts, read back by the worlds.

  python experiments/language/expander.py --model=models/expander

Half of the prompts tell facts that are held out of its training, half are Chinese.
Claims: after the check all asked facts are kept and none is contradicted; 99 % of
what is added is what the world can show; English and Chinese prompts of the same
facts lead to the same facts in 98 %; a prompt takes at most a second.
"""

import argparse
import collections
import time

import numpy as np

from sora_jax import worlds
from sora_jax.language import expand
from sora_jax.language import keeps
from sora_jax.language import local
from sora_jax.language import pairs

FIRST = 10**6  # of the seeds; training draws from 0 on
DOMAIN = 150  # clips of a world from which it is known what it can tell


def prompts(count: int) -> list[tuple[str, str, str, str]]:
  """(world, English, Chinese, descriptive) of `count` clips."""
  found = []
  for i in range(count):
    # Drawing a clip of orbit takes long; its few are in the training's manner.
    name = [n for n in pairs.WORLDS if n != "orbit"][i % (len(pairs.WORLDS) - 1)]
    facts = pairs.facts_of(name, FIRST, i, held_out=i % 2 == 1)
    words = lambda language, name=name, i=i: worlds.key(FIRST + i, name, language)
    world = worlds.WORLDS[name]
    english, long = world.describe(facts, words("en"), "en")
    found.append((name, english, world.describe(facts, words("zh"), "zh")[0], long))
  return found


def domain(name: str) -> set[tuple[str, object]]:
  """(kind of fact, value) that a world can tell."""
  world, found = worlds.WORLDS[name], set()
  for i in range(DOMAIN):
    told = world.told(pairs.facts_of(name, 2 * FIRST, i, held_out=i % 2 == 1))
    found |= {(_kind(k), v) for k, v in told.items()}
  return found


def _kind(fact: str) -> str:
  """The name of a fact without the colour of its object."""
  return fact if fact.startswith(("background", "wall")) else fact.split(".")[-1]


def main() -> None:
  """Prints the numbers."""
  parser = argparse.ArgumentParser()
  parser.add_argument("--model", required=True, help="a model folder")
  parser.add_argument("--count", type=int, default=250, help="clips, two prompts each")
  args = parser.parse_args()
  model = local.load(args.model)
  model.expand("a red ball")  # compiles
  domains = {n: domain(n) for n in pairs.WORLDS if n != "orbit"}
  sums: collections.Counter = collections.Counter()
  seconds, words, faults = [], [], collections.Counter()
  for i, (name, english, chinese, _) in enumerate(prompts(args.count)):
    held, texts = "held out" if i % 2 else "trained", []
    for prompt in (english, chinese):
      start = time.monotonic()
      found = expand.expand(model, prompt, seed=i)
      seconds.append(time.monotonic() - start)
      sums["prompts"] += 1
      sums["first try faithful"] += found.tries == 1 and not found.note
      sums[f"expanded, {held}"] += not found.note
      sums[f"prompts, {held}"] += 1
      if found.note:
        faults[found.note.partition("faithful: ")[2] or found.note] += 1
        texts.append("")
        continue
      texts.append(found.text)
      words.append(len(found.text.split()))
      asked = worlds.WORLDS[name].read(prompt)
      told = worlds.WORLDS[name].read(found.text)
      sums["asked facts"] += len(asked)
      sums["kept"] += sum(told.get(k) == v for k, v in asked.items())
      sums["contradicted"] += sum(k in told and told[k] != v
                                  for k, v in asked.items())
      added = {k: v for k, v in told.items() if k not in asked}
      sums["added facts"] += len(added)
      sums["legal"] += sum((_kind(k), v) in domains[name] for k, v in added.items())
    if all(texts):
      a, b = (worlds.WORLDS[name].read(text) for text in texts)
      asked = worlds.WORLDS[name].read(english).keys() & worlds.WORLDS[name].read(
          chinese).keys()
      sums["pairs"] += 1
      sums["agree"] += all(a.get(k) == b.get(k) for k in asked)
  print(f"{args.model}: {model.component!r}")
  for line, part, whole in (
      ("prompts expanded, of trained facts", "expanded, trained",
       "prompts, trained"),
      ("prompts expanded, of held-out facts", "expanded, held out",
       "prompts, held out"),
      ("faithful at the first try", "first try faithful", "prompts"),
      ("asked facts kept, where expanded", "kept", "asked facts"),
      ("asked facts contradicted", "contradicted", "asked facts"),
      ("added facts that the world can tell", "legal", "added facts"),
      ("English and Chinese agree", "agree", "pairs")):
    a, b = sums[part], sums[whole]
    print(f"{line:38} {a} of {b} ({100 * a / max(b, 1):.1f} %)")
  print(f"words                                  {np.mean(words or [0]):.1f}")
  print(f"seconds, median and the slowest of 100 {np.median(seconds):.2f} "
        f"{np.percentile(seconds, 99):.2f}")
  for fault, count in faults.most_common(8):
    print(f"  the prompt itself, {count} times: {fault}")
  print(f"the check finds a fault in true captions: "
        f"{sum(bool(keeps.fault(e, d)) for _, e, _, d in prompts(56))} of 56")


if __name__ == "__main__":
  main()

"""No claim: how many facts the captions of a world data set tell, by origin.

  python experiments/language/set_facts.py --data=DIR --latents=DIR

For each origin of the latents, and the captions in the records: of all facts of
the clips the share that the descriptive captions tell right (recall), of all that
they tell the share that is right (precision), things told that are not there
(invented, a caption), and captions that tell all facts and no other (exact).
`spoil.py` makes an origin whose captions are as alt-texts; `caption --data` one of
a captioner.
"""

import argparse

import numpy as np
import spoil

from sora_jax import worlds
from sora_jax.data.store import captions
from sora_jax.data.store import captions_carry
from sora_jax.data.store import latents
from sora_jax.evaluation import caption_facts


def main() -> None:
  """Prints a table, a line an origin and split."""
  parser = argparse.ArgumentParser()
  parser.add_argument("--data", required=True)
  parser.add_argument("--latents", required=True)
  args = parser.parse_args()
  sources = captions.open_splits(args.data)
  targets = captions.open_splits(args.latents)
  places = captions_carry.sources_of(sources, targets)
  print(f"{'origin':30} {'split':5} {'clips':>6} {'recall':>7} {'precision':>9} "
        f"{'invented':>8} {'exact':>6}")
  for split, target in targets.items():
    clips = [clip for some in spoil.clips_of(sources[split]) for clip in some]
    _, first = np.unique(np.stack([target.entries["shard"], target.entries[
        "record"]]), axis=1, return_index=True)
    for origin in (captions.ORIGINAL, *captions.origins(args.latents)):
      store = (None if origin == captions.ORIGINAL else
               captions.open_captions(target, origin))
      total = caption_facts.Counts()
      for index, source in zip(first.tolist(), places[split].tolist()):
        clip = clips[source]
        texts = (store.find(index) if store else
                 latents.captions_of(target.record(index)))
        true = worlds.WORLDS[clip.world].told(clip.facts)
        total += caption_facts.compare(clip.world, true, texts[-1] if texts else "")
      n = max(total.captions, 1)
      print(f"{origin:30} {split:5} {n:6} {total.recall:7.1%} "
            f"{total.precision:9.1%} {total.invented / n:8.2f} {total.exact / n:6.1%}")


if __name__ == "__main__":
  main()

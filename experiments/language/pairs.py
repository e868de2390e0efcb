"""Writes the pairs that the expander of the worlds is trained on, and a tokenizer.

  python experiments/language/pairs.py --out=data/pairs
"""

import argparse
import time

from sora_jax.data.store import pairs as pairs_lib
from sora_jax.language import pairs


def main() -> None:
  """Draws and writes."""
  parser = argparse.ArgumentParser()
  parser.add_argument("--out", required=True)
  parser.add_argument("--count", type=int, default=2500, help="clips of each world")
  args, start = parser.parse_args(), time.monotonic()
  found = list(dict.fromkeys(pairs.draw(pairs.WORLDS, args.count)))
  pairs_lib.write(args.out, found)
  print(f"{args.out}: {len(found)} pairs of {', '.join(pairs.WORLDS)} in "
        f"{time.monotonic() - start:.0f} s")


if __name__ == "__main__":
  main()

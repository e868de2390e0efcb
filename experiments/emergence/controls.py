"""Can the rows of the suite of emergence fail? Asked without any model.

  python experiments/emergence/controls.py [--worlds=..] [--count=30] [--seed=0]

`count` held-out clips a world are drawn. The truth must be right in 95 % or more
of every row that is a share, and each control (evaluation/emergence/controls.py:
a still video, cardboard, an object that is forgotten behind the wall, paint that
un-paints, shuffled frames of the game, ..) in 10 % or less of the row that it
was made for. Intervals are 95 %, by the bootstrap over clips. The script ends
with what did not hold.
"""

import argparse
import time

from sora_jax import worlds
from sora_jax.evaluation import cases
from sora_jax.evaluation import statistics
from sora_jax.evaluation.emergence import clips
from sora_jax.evaluation.emergence import judge

LEAST, MOST = 0.95, 0.10


def values(todo, name: str) -> list[dict]:
  """What the rows say of the truth (name "") or of a control, by case."""
  return [clips.verdict(case, clips.control(case, name))["values"]
          for case in todo]


def line(some: list, unit: str) -> str:
  """A mean with its interval and n."""
  m = statistics.mean([float(v) for v in some if v is not None])
  if not m["n"]:
    return "not asked"
  k = 1 if unit else 100
  return (f"{k * m['value']:.1f}{' ' + unit if unit else ' %'} "
          f"[{k * m['low']:.1f}, {k * m['high']:.1f}] n={m['n']}")


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--worlds", default=",".join(worlds.WORLDS))
  parser.add_argument("--count", type=int, default=30)
  parser.add_argument("--seed", type=int, default=0)
  args = parser.parse_args()
  wrong, rows_seen = [], 0
  for name in args.worlds.split(","):
    begin, world = time.process_time(), worlds.WORLDS[name]
    todo = cases.draw(args.count, args.seed, [(64, 64)], names=[name])
    truth = values(todo, "")
    known: dict[str, list] = {}
    print(f"{name}: {len(todo)} clips")
    for row in judge.rows(world):
      rows_seen += 1
      some = [v[row.name] for v in truth]
      print(f"  {row.ability}: {row.name}: truth {line(some, row.unit)}")
      asked = [float(v) for v in some if v is not None]
      if not row.unit and (not asked or sum(asked) / len(asked) < LEAST):
        wrong.append(f"{name}, {row.name}: truth {line(some, '')}")
      for control in row.controls:
        if control not in known:
          known[control] = values(todo, control)
        some = [v[row.name] for v in known[control]]
        print(f"    {control}: {line(some, '')}", flush=True)
        asked = [float(v) for v in some if v is not None]
        if asked and sum(asked) / len(asked) > MOST:
          wrong.append(f"{name}, {row.name}: {control} {line(some, '')}")
    print(f"  {time.process_time() - begin:.0f} s of CPU")
  print(f"{rows_seen} rows; " + ("each truth is right and each control fails"
                                 if not wrong else "what does not hold:"))
  for text in wrong:
    print(f"  {text}")


if __name__ == "__main__":
  main()

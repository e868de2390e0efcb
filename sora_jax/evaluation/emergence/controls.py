"""Videos that no model made and that must fail: the floors of the rows.

Each is made from the true clip and keeps as much of it as it can.

  still      the first frame, again and again
  stops      the frames that are given, and then the last of them
  undone     the clip at twice its speed, and then backwards
  shuffled   its frames in another order
  noise      pixels of any colour
  a law      the clip with the law broken (the world's `twin`): `rigidity` is
             cardboard, `permanence` forgets behind the wall, `unpainting`
             un-paints
"""

from typing import Any

import numpy as np

from sora_jax import contracts

NAMES = ("still", "stops", "undone", "shuffled", "noise")


def given(frames: int) -> int:
  """How many frames are given of a clip that is to go on, 4 k + 1 and less than
  half, so that whatever a law would change comes after them."""
  return max(1 + 4 * ((frames // 2 - 1) // 4), 1)


def video(world: contracts.World, facts: Any, name: str,
          seed: int = 0) -> np.ndarray:
  """A control of a clip, uint8 [T, H, W, 3].

  Args:
    world: of the facts.
    facts: of the clip.
    name: a law of the world, or one of NAMES.
    seed: of the order of frames and of the noise.

  Raises:
    ValueError: an unknown control.
  """
  if name in world.LAWS:
    return world.render(world.twin(facts, name))
  truth = world.render(facts)
  frames, rng = len(truth), np.random.default_rng(seed)
  if name == "noise":
    return rng.integers(0, 256, truth.shape, np.uint8)
  orders = {"still": np.zeros(frames, int),
            "stops": np.minimum(np.arange(frames), given(frames) - 1),
            "undone": frames - 1 - np.abs(
                frames - 1 - 2 * np.arange(frames)),
            "shuffled": rng.permutation(frames)}
  if name not in orders:
    raise ValueError(f"there is no control {name!r}; there are "
                     f"{', '.join((*NAMES, *world.LAWS))}")
  return truth[orders[name]]

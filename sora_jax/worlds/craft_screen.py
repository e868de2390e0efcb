"""The screen of Craftax-Classic: 9 x 9 cells of 16 pixels, drawn and read.

Seven rows show the map around the player, two what the player has. The textures
are the package's own, and what is drawn by day equals what its renderer draws.
At night the package lays noise from its own random numbers over the picture;
here the noise comes from the frame's number.
"""

from collections.abc import Sequence
import functools
from typing import Any

import numpy as np

from sora_jax.worlds import craft_game as game

CELL = 16
SIZE = (144, 144)  # (W, H)
STATS = ("health", "hunger", "thirst", "energy")
# Where what the player has is drawn: (row, column) below the map.
PLACES = {"health": (0, 0), "hunger": (0, 1), "thirst": (0, 2), "energy": (0, 3),
          "sapling": (0, 4), "wood": (0, 5), "stone": (0, 6), "coal": (0, 7),
          "iron": (0, 8), "diamond": (1, 0), "wood_pickaxe": (1, 1),
          "stone_pickaxe": (1, 2), "iron_pickaxe": (1, 3), "wood_sword": (1, 4),
          "stone_sword": (1, 5), "iron_sword": (1, 6)}
GREY = np.array([0.299, 0.587, 0.114], np.float32)
NIGHT = np.array([0, 16, 64], np.float32)


@functools.cache
def textures() -> dict[str, np.ndarray]:
  """What cells look like by day, float32.

  Returns:
    blocks [17, 16, 16, 3]; players and mobs [n, 16, 16, 4] with their share of
    each pixel; slots [16, 10, 16, 16, 3], what the player has by PLACES and
    number; dark [112, 144], how far the noise of the night goes.
  """
  # The package's own cache would be written into its folder.
  import jax  # pylint: disable=import-outside-toplevel
  lib = game.package("constants")
  with jax.default_device(jax.local_devices(backend="cpu")[0]):
    raw = lib.load_all_textures_given_size(CELL)
    made = {k: np.asarray(v, np.float32) for k, v in raw.items()
            if not isinstance(v, list)}
    players = np.stack([np.asarray(p, np.float32)
                        for p in raw["player_textures"][:4]])
  players[..., 3] /= 255
  mobs = [np.concatenate([made[f"{k}_texture"], made[f"{k}_texture_alpha"][
      ..., :1]], -1) for k in ("zombie", "cow", "skeleton")]
  arrow = np.concatenate([made["arrow_texture"],
                          made["arrow_texture_alpha"][..., :1]], -1)
  turned = {"up": arrow, "down": arrow[::-1], "left": arrow.transpose(1, 0, 2),
            "right": arrow[::-1].transpose(1, 0, 2)}
  mobs += [turned[k.split()[1]] for k in game.MOBS[3:]]
  return {"blocks": made["block_textures"], "players": players,
          "mobs": np.stack(mobs), "slots": _slots(made),
          "dark": made["night_noise_intensity_texture"][..., 0]}


def _slots(made):
  """Every slot with every number, [16, 10, 16, 16, 3]."""
  slots = np.zeros((len(PLACES), 10, CELL, CELL, 3), np.float32)
  small = int(0.8 * CELL)
  a = (CELL - small) // 2 - 1
  digit = int(0.6 * CELL)
  b = CELL - digit - 1
  blocks = {"wood": 6, "stone": 4, "coal": 8, "iron": 9, "diamond": 10}
  for i, name in enumerate(PLACES):
    icon = (made["smaller_block_textures"][blocks[name]] if name in blocks
            else made[f"{name}_texture"])
    for n in range(10):
      cell = slots[i, n]
      if n:
        cell[a:a + small, a:a + small] = icon
      part = cell[b:b + digit, b:b + digit]
      part *= 1 - made["number_textures_alpha"][n]
      part += made["number_textures"][n]
  return slots


def draw(shown: Sequence[game.Shown],
         seeds: Sequence[tuple[int, int]]) -> np.ndarray:
  """Frames uint8 [T, 144, 144, 3]; seeds [T] of the noise of the night."""
  look = textures()
  cells = np.array([[game.BLOCKS.index(b) for b in s.cells] for s in shown])
  tiles = look["blocks"][cells.reshape(-1, *game.VIEW)]  # [T, 7, 9, 16, 16, 3]
  middle = game.VIEW[0] // 2, game.VIEW[1] // 2
  for t, one in enumerate(shown):
    _cover(tiles[t], middle, look["players"][game.FACINGS.index(one.facing)])
    for kind, row, column in one.mobs:
      _cover(tiles[t], (row, column), look["mobs"][game.MOBS.index(kind)])
  rows, columns = game.VIEW
  screen = tiles.transpose(0, 1, 3, 2, 4, 5).reshape(
      len(shown), rows * CELL, columns * CELL, 3)
  for t, one in enumerate(shown):
    if one.light < 1:
      screen[t] = darken(screen[t], one.light, look["dark"],
                         np.random.default_rng(seeds[t]))
  video = np.zeros((len(shown), *SIZE[::-1], 3), np.uint8)
  video[:, :rows * CELL] = screen
  for t, one in enumerate(shown):
    for i, n in enumerate(has(one)):
      y, x = (np.array(list(PLACES.values())[i]) + [rows, 0]) * CELL
      video[t, y:y + CELL, x:x + CELL] = look["slots"][i, n]
  return video


def has(shown: game.Shown) -> list[int]:
  """The numbers of all slots, in the order of PLACES."""
  items = dict(zip(game.ITEMS, shown.items))
  stats = dict(zip(STATS, shown.stats))
  return [int(np.clip((stats | items)[name], 0, 9)) for name in PLACES]


def _cover(tiles, place, look):
  """Draws what has its own share of each pixel over one cell, in place."""
  cell = tiles[place]
  cell[...] = cell * (1 - look[..., 3:]) + look[..., :3] * look[..., 3:]


def darken(pixels: Any, light: float, dark: np.ndarray,
           rng: np.random.Generator | None) -> np.ndarray:
  """Pixels [.., 3] in the light of a time of day, as the game tints them.

  Args:
    pixels: by day.
    light: 0 to 1.
    dark: [..] how far the noise goes.
    rng: of the noise; None for its mean.
  """
  night = pixels
  if light < 0.5:
    share = (2 * (0.5 - light) * dark)[..., None]
    noise = 95 * (rng.random(dark.shape, np.float32)[..., None]
                  if rng else 0.5) + 32
    night = (1 - share) * pixels + share * noise
  night = night * 0.4 + 0.6 * (night @ GREY)[..., None]
  return light * pixels + (1 - light) * (0.5 * night + 0.5 * NIGHT)

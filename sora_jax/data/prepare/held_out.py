"""Which clips stand in the split val, on which the loss is measured.

The choice is a hash of the key of the file, so a film goes there with all of its
pieces, and stays there when other files come to the source.
"""

from collections.abc import Sequence
import hashlib
import re

from sora_jax import stations

MOST = 512  # clips of the split
PIECE = re.compile(r"#\d+-\d+$")  # of the key of a shot or chunk


def choose(clips: Sequence[stations.KeptClip], share: float,
           prefixed: bool = False) -> set[int]:
  """The items that are held out.

  Args:
    clips: of a source, all clips of an item one after the other or not.
    share: of the films, in 0 .. 1. At least one film is held out and at most
      MOST clips, those of the lowest hashes.
    prefixed: whether the keys begin with the number of a source of a mixture.

  Raises:
    ValueError: one film only, or none that has so few clips.
  """
  if not share:
    return set()
  films: dict[str, list[stations.KeptClip]] = {}
  for clip in clips:
    films.setdefault(film_of(clip, prefixed), []).append(clip)
  if len(films) < 2:
    raise ValueError(f"--held_out={share:g} holds out whole files, and of "
                     f"{len(films)} {'file' if len(films) == 1 else 'files'} "
                     "nothing would be left to train on: leave it out")
  order = sorted(films, key=hash_of)
  wanted = [name for name in order if hash_of(name) < share] or order[:1]
  count, chosen = 0, []
  for name in wanted[:len(films) - 1]:
    if count + len(films[name]) <= MOST:
      count += len(films[name])
      chosen.append(name)
  if not chosen:
    chosen = [min(order, key=lambda name: len(films[name]))]
    if len(films[chosen[0]]) > MOST:
      raise ValueError(f"--held_out={share:g} holds out at most {MOST} clips, "
                       f"and every file has {len(films[chosen[0]])} or more: "
                       "leave it out, or cut less")
  return {clip.item for name in chosen for clip in films[name]}


def film_of(clip: stations.KeptClip, prefixed: bool = False) -> str:
  """The key of the film that a clip is of; an exact clip is one of its own."""
  key = clip.key or str(clip.item)
  if prefixed and clip.key:
    key = key.partition("/")[2]
  return PIECE.sub("", key)


def hash_of(key: str) -> float:
  """A number in [0, 1) that is the same for a key everywhere."""
  word = hashlib.blake2b(key.encode(), digest_size=6).digest()
  return int.from_bytes(word, "big") / 2 ** 48

"""`sora-jax encode`: caches the latents of a prepared data set."""

import time

from absl import flags
import tqdm

from sora_jax import messages
from sora_jax.cli import options
from sora_jax.data.store import latents
from sora_jax.encoding import dataset
from sora_jax.formats import find
from sora_jax.formats import pretrained
from sora_jax.geometry import sizes


def run(argv: list[str]) -> int:
  """Runs the verb."""
  f = options.Flags()
  text = lambda *a: flags.DEFINE_string(*a, flag_values=f)
  text("vae", None, "The model folder whose VAE encodes.")
  text("data", None, "The data set, of `prepare`.")
  text("out", None, "The folder to write.")
  whole = lambda *a: flags.DEFINE_integer(*a, flag_values=f, lower_bound=0)
  whole("seed", 0, "Of the suffixes, keyframes and regions.")
  whole("suffixes", 2, "Suffixes stored of a clip, for prompts at its end.")
  whole("keyframes", 2, "Single frames stored of a clip, for image prompts.")
  flags.DEFINE_bool("regions", True, "Store a clip with a region of it blanked "
                    "too, for prompts around a region.", flag_values=f)
  whole("max_tokens", 0, "Make clips of more tokens than this smaller, keeping "
        "their aspect: the longest row of the transformer; 0 is no limit.")
  whole("square", 0, "Cut every clip to a square of so many pixels: the baseline "
        "of training at native sizes.")
  whole("batch", 16, "Videos encoded at once.")
  text("part", None, "I/N: only the I-th of N shares, for N processes side by "
       "side; the same command without it finishes.")
  f.read(argv)
  for name in ("vae", "data", "out"):
    if not f[name].value:
      raise ValueError(f"--{name}=DIR is needed")
  model = pretrained.load(find.find(f.vae), components=("vae",))
  start = time.monotonic()
  with tqdm.tqdm(unit="clip", desc=f"encode {f.data}",
                 delay=1e-3) as bar:  # none where the data are refused

    def report(done, total):
      bar.total = total
      bar.update(int(done) - bar.n)

    info = dataset.encode(model, f.data, f.out, seed=f.seed,
                          extras=latents.Extras(f.suffixes, f.keyframes,
                                                f.regions),
                          batch=max(f.batch, 1),
                          policy=sizes.ResizePolicy(f.max_tokens, f.square),
                          part=options.part(f.part), report=report)
  if info is None:
    print(f"{f.out}: share {f.part} is done; without --part, once all are, the "
          "same command finishes")
    return 0
  clips = ", ".join(f"{n} {split}" for split, n in info["clips"].items())
  print(f"{f.out}: latents of {clips} clips, {info['rejected']} rejected, "
        f"{time.monotonic() - start:.0f} s")
  if lost := info.get("resized"):
    print(f"reduced: {lost['reduced']} of "
          f"{messages.count(lost['clips'], 'clip')}, {lost['tokens_lost']} of "
          f"{messages.count(lost['tokens'], 'token')} lost; too long at "
          f"any size: {lost['too_long']}")
  return 0

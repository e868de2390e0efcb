"""`sora-jax caption FILE..`: what videos and images show, a line each.

With --data=DIR a whole data set of `prepare` or `encode` is captioned anew. Its
own captions stay; `train` shows the new ones by --config.data.captions=ORIGIN,
and the same command goes on where it was stopped.
"""

import os
import time

from absl import flags
import tqdm

from sora_jax import contracts
from sora_jax.cli import options
from sora_jax.data.store import captions as captions_lib
from sora_jax.data.store import manifest as manifest_lib
from sora_jax.language import by_endpoint
from sora_jax.language import caption_page
from sora_jax.language import captioner as captioner_lib
from sora_jax.language import endpoint
from sora_jax.language import recaption
from sora_jax.media import clips


def run(argv: list[str]) -> int:
  """Runs the verb."""
  f = options.Flags()
  text = lambda *a: flags.DEFINE_string(*a, flag_values=f)
  text("captioner", "", "The model folder that has a captioner. By default "
       f"{captioner_lib.DEFAULT}, which knows the worlds of this package alone.")
  options.define_endpoint(f, "is shown frames, in place of a captioner")
  text("data", None, "A data set to caption anew: of `encode`; or of `prepare`, "
       "whose captions `encode` takes along.")
  text("origin", "", "The name of the new captions; by default that of the "
       "captioner and 12 digits of its digest.")
  flags.DEFINE_integer("batch", recaption.BATCH, "Clips captioned at once, at "
                       "most.", lower_bound=1, flag_values=f)
  flags.DEFINE_float("same", recaption.SAME, "The share of clips that may be given "
                     "one caption, beyond the share whose own captions are one; "
                     "more stop the run.", lower_bound=0, upper_bound=1,
                     flag_values=f)
  text("part", None, "I/N: only the I-th of N shares, for N processes side by "
       "side; the same command without it finishes.")
  files = f(argv)[1:]
  if bool(files) == bool(f.data):
    raise ValueError("give either videos and images, or --data=DIR")
  if f.data:
    part = options.part(f.part)
    return _data_set(f, _captioner(f), part)
  captioner = _captioner(f)
  for name in files:
    video, fps = clips.read(name)
    print(f"{name}: {captioner.describe(video, fps)}", flush=True)
  return 0


def _captioner(f: flags.FlagValues) -> contracts.Captioner:
  """Who writes the captions."""
  if options.endpoint_given(f, "captioner"):
    return by_endpoint.EndpointCaptioner(
        endpoint.Endpoint(f.llm_url, f.llm_model))
  return captioner_lib.load(f.captioner or captioner_lib.DEFAULT)


def _data_set(f: flags.FlagValues, captioner: contracts.Captioner,
              part: tuple[int, int] | None) -> int:
  """Captions a data set and writes its page."""
  start, first = time.monotonic(), None
  with tqdm.tqdm(unit="clip", desc=f"caption {f.data}",
                 delay=1e-3) as bar:  # none where the data are refused

    def report(done: int, total: int) -> None:
      nonlocal first
      first = done if first is None else first
      bar.total = total
      bar.update(done - bar.n)

    info = recaption.recaption(
        captioner, f.data, origin=f.origin, batch=f.batch, part=part, same=f.same,
        report=report)
    seconds, done = time.monotonic() - start, bar.n - (first or 0)
  if info is None:
    print(f"{f.data}: share {f.part} is done; without --part, once all are, the "
          "same command finishes")
    return 0
  split = "train" if "train" in info["clips"] else next(iter(info["clips"]))
  page = caption_page.write(captions_lib.open_captions(
      manifest_lib.open_manifest(f.data, split), info["origin"]),
      getattr(captioner, "model", None))
  counts = ", ".join(f"{n} {split}" for split, n in info["clips"].items())
  print(f"{os.path.dirname(page)}: captions of {counts} clips, {info['empty']} "
        f"empty, {info['unreadable']} unreadable, {seconds:.0f} s, "
        f"{done / max(seconds, 1e-9):.1f} clips/s; see {page}")
  return 0

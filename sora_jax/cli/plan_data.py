"""`sora-jax plan-data`: what a config makes of a data set, before training.

  sora-jax plan-data --config=configs/dit.py:tiny --data=data/latents

Prints the lengths of the clips, the fill of every shape, what is reduced, cut
or dropped and why, and how many steps an epoch has. A data set that is not
encoded yet can be planned too, with the stride of the VAE that will encode it.
"""

from absl import flags

from sora_jax import files
from sora_jax.cli import config as config_lib
from sora_jax.cli import options
from sora_jax.data.loading import estimate
from sora_jax.data.loading import plan as plan_lib
from sora_jax.data.loading import statistics
from sora_jax.data.loading import suggest_buckets
from sora_jax.data.pixels import buckets
from sora_jax.data.store import manifest as manifest_lib
from sora_jax.geometry import sizes as sizes_lib
from sora_jax.tasks import build

BAR = 30  # characters


def run(argv: list[str]) -> int:
  """Runs the verb."""
  f = options.Flags()
  argv = config_lib.define(f, argv)
  text = lambda *a: flags.DEFINE_string(*a, flag_values=f)
  whole = lambda *a: flags.DEFINE_integer(*a, flag_values=f, lower_bound=0)
  text("data", None, "A data set, of `prepare` or `encode`.")
  text("stride", None, "TxHxW of the VAE that will encode, such as 4x16x16, for "
       "a data set that is not encoded.")
  whole("square", 0, "Plan as `encode --square`: all clips cut to squares.")
  whole("tokens", 0, "Choose shapes of so many tokens a step for this data set, "
        "in place of the config's.")
  whole("shards", 0, "Devices that share the rows of a batch; the config's "
        "data.shards by default.")
  text("json", None, "Also write the numbers to this file.")
  f.read(argv)
  if not f.data:
    raise ValueError("--data=DIR is needed")
  cfg, manifest = f.config, manifest_lib.open_manifest(f.data)
  if cfg.kind == "vae":
    found = buckets.report(buckets.pixel_plan(manifest, buckets.PixelConfig(
        seed=cfg.seed, **build.plain(cfg.data))))
    lines = _pixels(found)
  else:
    found = _tokens(f, cfg, manifest)
    lines = describe(found, cfg.steps)
  rejected = manifest.info.get("rejected", 0)
  print("\n".join([f"{f.data}: {len(manifest):,} clips; {rejected:,} were "
                   "rejected when it was made (rejects.jsonl)", *lines]))
  if f.json:
    files.write_json(f.json, found)
  return 0


def _tokens(f, cfg, manifest) -> dict:
  """The report of a plan of packed rows."""
  data = build.plain(cfg.data)
  data["shards"] = f.shards or data["shards"]
  longest = max(n for _, n in data["shapes"])
  lost = None
  if manifest.info.get("kind") == "pixels":
    stride = _stride(f.stride)
    sizes = manifest_lib.sizes(manifest.entries)
    if f.tokens:
      square = sizes_lib.resized_all(sizes, sizes_lib.ResizePolicy(0, f.square), stride,
                                sizes_lib.DEFAULT_PATCH)
      data["shapes"] = suggest_buckets.shapes(
          sizes_lib.token_count(square, stride, sizes_lib.DEFAULT_PATCH),
          f.tokens, data["shards"])
      longest = data["shapes"][-1][1]
    policy = sizes_lib.ResizePolicy(longest, f.square)
    lost = sizes_lib.resize_report(sizes, policy, stride, sizes_lib.DEFAULT_PATCH)
    manifest = estimate.manifest(manifest, policy, stride, sizes_lib.DEFAULT_PATCH)
  elif f.square or f.stride:
    raise ValueError(f"{f.data} is encoded already: --stride and --square are "
                     "for a data set of `prepare`")
  elif f.tokens:
    data["shapes"] = suggest_buckets.shapes(statistics.lengths(manifest), f.tokens,
                                    data["shards"])
  plan = plan_lib.token_plan(manifest, plan_lib.TokenConfig(
      seed=cfg.seed, **data))
  return statistics.report(plan) | {"resized": lost or manifest.info.get("resized")}


def describe(found: dict, steps: int = 0) -> list[str]:
  """The lines that tell a report; `steps` is the length of a run."""
  clips, tokens = found["clips"], max(found["tokens"], 1)
  lines = [f"{'tokens of a clip':>19}  {'clips':>10}   of the tokens"]
  for x in found["lengths"]:
    bar = "#" * round(BAR * x["tokens"] / tokens)
    lines.append(f"{x['from']:>8,} .. {x['to'] - 1:>7,}  {x['clips']:>10,}  "
                 f"{x['tokens'] / tokens:6.1%} {bar}")
  lines.append(f"{'rows x length':>19}  {'batches':>10}    fill  clips a row  "
               "attention visited / needed")
  for s in found["shapes"]:
    lines.append(
        f"{s['rows']:>9,} x {s['length']:>7,}  {s['batches']:>10,}  "
        f"{s['fill']:6.1%}  {s['segments_per_row']:11.1f}  "
        f"{s['visited'] / max(s['ideal'], 1e-9):.2f}")
  if lost := found["resized"]:
    lines.append(
        f"reduced, keeping their aspect: {lost['reduced']:,} of "
        f"{lost['clips']:,} clips ({lost['reduced'] / lost['clips']:.2%}), "
        f"{lost['tokens_lost']:,} tokens lost "
        f"({lost['tokens_lost'] / max(lost['tokens'], 1):.2%}); too long at any "
        f"size, dropped: {lost['too_long']:,}")
  epoch = found["steps_per_epoch"]
  images = found["images"]
  lines += [
      f"longer than the longest row: {found['cut']:,} clips, whose examples leave "
      f"out {found['cut_tokens']:,} tokens or more; dropped, one latent is over "
      f"the longest row: {found['dropped']:,}; prompts cut: "
      f"{found['prompts_cut']:,}",
      f"images: {images['clips']:.1%} of the clips that are shown, "
      f"{images['tokens']:.1%} of the tokens",
      f"fill {found['fill']:.2%} of the tokens, {found['text_fill']:.1%} of the "
      f"text; the busiest shard computes {found['shard_balance']:.2f} times the "
      "mean",
      f"{found['tokens_per_step']:,} tokens a step, {epoch:,.1f} steps an epoch "
      f"of {clips - found['dropped']:,} clips, {found['left_over']:.1%} of the "
      "batches left to another"
      + (f"; {steps:,} steps are {steps / epoch:,.1f} epochs" if steps else "")]
  return lines


def _pixels(found: dict) -> list[str]:
  """The lines that tell a report of buckets of pixels."""
  lines = ["    T x    H x    W   batch  share      pixels   clips large enough"]
  for b in found["buckets"]:
    t, h, w = b["shape"]
    lines.append(f"{t:>5} x{h:>5} x{w:>5}  {b['batch']:>6}  {b['share']:5.1%}  "
                 f"{b['pixels']:>10,}  {b['clips']:,}")
  return [*lines, f"too small or too short for every bucket, unused: "
          f"{found['unused']:,}"]


def _stride(text: str | None) -> tuple[int, int, int]:
  """'4x16x16' to (4, 16, 16)."""
  if not text:
    raise ValueError("--stride=TxHxW is needed to plan a data set that is not "
                     "encoded, such as 4x16x16; or give --data of `encode`")
  try:
    t, h, w = (int(x) for x in text.split("x"))
  except ValueError as e:
    raise ValueError(f"--stride={text}: give three numbers, such as "
                     "4x16x16") from e
  if min(t, h, w) < 1:
    raise ValueError(f"--stride={text}: each must be at least 1")
  return t, h, w

"""What a config of kind "dit" makes of a data set, in numbers and in words."""

from typing import Any

from sora_jax.data.loading import estimate
from sora_jax.data.loading import plan as plan_lib
from sora_jax.data.loading import statistics
from sora_jax.data.loading import suggest_buckets
from sora_jax.data.store import manifest as manifest_lib
from sora_jax.geometry import sizes as sizes_lib
from sora_jax.tasks import build
from sora_jax.tasks import config
from sora_jax.tasks import task

BAR = 30  # characters


def describe(cfg: Any, manifest: manifest_lib.Manifest,
             options: task.DataOptions) -> tuple[dict, list[str]]:
  """The report of a plan of packed rows, encoded already or not."""
  found = plan_report(cfg, manifest, options)
  return found, lines_of(found, cfg.steps)


def plan_report(cfg: Any, manifest: manifest_lib.Manifest,
                options: task.DataOptions) -> dict:
  """The numbers of `statistics.report`, `resized`: what is lost by it, and `notes`.

  Raises:
    ValueError: a data set of pixels without options.stride, or one of latents
      with options that only pixels have.
  """
  data = config.section(cfg.data)
  data["shards"] = options.shards or data["shards"]
  longest = max(n for _, n in data["shapes"])
  lost, stride = None, options.stride
  patch = tuple(cfg.transformer.get("patch", sizes_lib.DEFAULT_PATCH))
  if manifest.info.get("kind") == "pixels":
    if not stride:
      raise ValueError("--stride=TxHxW is needed to plan a data set that is not "
                       "encoded, such as 4x16x16; or give --data of `encode`")
    sizes = manifest_lib.sizes(manifest.entries)
    if options.tokens:
      square = sizes_lib.resized_all(
          sizes, sizes_lib.ResizePolicy(0, options.square), stride, patch)
      data["shapes"] = suggest_buckets.shapes(
          sizes_lib.token_count(square, stride, patch), options.tokens,
          data["shards"])
      longest = data["shapes"][-1][1]
    policy = sizes_lib.ResizePolicy(longest, options.square)
    lost = sizes_lib.resize_report(sizes, policy, stride, patch)
    manifest = estimate.manifest(manifest, policy, stride, patch)
  elif options.square or stride:
    raise ValueError(f"{manifest.root} is encoded already: --stride and --square "
                     "are for a data set of `prepare`")
  elif options.tokens:
    data["shapes"] = suggest_buckets.shapes(
        statistics.lengths(manifest), options.tokens, data["shards"])
  plan = plan_lib.token_plan(manifest, build.tokens_of(
      cfg, shapes=data["shapes"], shards=data["shards"]))
  return statistics.report(plan) | {
      "resized": lost or manifest.info.get("resized"),
      "notes": list(plan.notes)}


def lines_of(found: dict, steps: int = 0) -> list[str]:
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
  return [*lines, *found["notes"]]

"""The task of a config of kind "expander": short prompts to descriptive ones."""

import functools
import os
from typing import Any

import jax
import numpy as np

from sora_jax import files
from sora_jax import mesh as mesh_lib
from sora_jax import ranges
from sora_jax.data.loading import pair_plan
from sora_jax.data.store import pairs as pairs_lib
from sora_jax.formats import pretrained
from sora_jax.mesh import multihost
from sora_jax.models import expander as expander_lib
from sora_jax.tasks import build
from sora_jax.tasks import task
from sora_jax.text import tokenizer as tokenizer_lib
from sora_jax.text import words
from sora_jax.training.objectives import expander as objective_lib

SHOWN = 12  # prompts of a preview


def plan(cfg: Any, pairs: Any) -> pair_plan.PairPlan:
  """Batches of pairs."""
  module = build.expander_of(cfg)
  return pair_plan.pair_plan(pairs, _pairs_of(cfg),
                             (module.prompt_length, module.length))


def _pairs_of(cfg: Any) -> pair_plan.PairConfig:
  return ranges.made(pair_plan.PairConfig, "data", cfg["data"], seed=cfg["seed"])


def check(cfg: Any) -> None:
  """Refuses a config that no run can use.

  Raises:
    ValueError: it is one.
  """
  build.expander_of(cfg)
  rows, accumulate = _pairs_of(cfg).rows, build.optimizer_of(cfg).accumulate
  if rows % accumulate:
    raise ValueError(f"optimizer.accumulate is {accumulate}, it must divide the "
                     f"{rows} rows of data.rows")


def recipe(run: task.Run) -> task.Recipe:
  """Trains the expander; previews are prompts of the data, expanded."""
  if run.vae:
    raise ValueError("--vae is not for an expander: it reads texts alone")
  plan: Any = run.plan  # a PairPlan
  module = build.expander_of(run.cfg)
  if plan.tokenizer.vocab_size > module.vocab:
    raise ValueError(f"the tokenizer has {plan.tokenizer.vocab_size} ids and "
                     f"config.expander.vocab is {module.vocab}: raise it")
  return task.Recipe(
      objective_lib.expander_objective(
          functools.partial(expander_lib.read, module)),
      lambda key: {"expander": expander_lib.init(module, key)},
      {"expander": mesh_lib.CAPTIONER_RULES},
      functools.partial(_preview, module, plan), "tokens",
      lambda batch: int(np.sum(batch.text.seg > 0)))


def _preview(module: expander_lib.Expander, plan: pair_plan.PairPlan, step: int,
             state: Any, workdir: str) -> None:
  """Writes prompts beside what the averaged weights make of them."""
  from sora_jax.language import local  # training alone needs no worlds
  ema = jax.device_put(multihost.gather(state.ema))
  expander = local.Local("preview", pretrained.Component(module, ema["expander"]),
                         plan.tokenizer)
  at = np.linspace(0, len(plan.kept) - 1, SHOWN).astype(int)
  lines = [f"- {prompt}\n  - {expander.expand(prompt)}" for prompt in (
      plan.pairs.pairs[plan.kept[i]][0] for i in at)]
  if multihost.first():
    folder = os.path.join(workdir, "previews")
    os.makedirs(folder, exist_ok=True)
    files.write_text(os.path.join(folder, f"{step:08d}-prompts.md"),
                     "\n".join(["Prompts, and what became of them:", "", *lines,
                                ""]))


def export(cfg: dict, params: dict, data: str,
           vae: str | None) -> pretrained.Model:
  """The model of a run: its averaged params and the tokenizer of its data."""
  del vae  # it has none
  pairs = pairs_lib.open_pairs(data)
  return pretrained.Model(
      vae=None, latent_mean=np.zeros(0), latent_std=np.zeros(0),
      expander=pretrained.Component(build.expander_of(cfg), params["expander"]),
      tokenizer=tokenizer_lib.of(pairs).model,
      words=words.count(text for pair in pairs.pairs for text in pair))


TASK = task.Task(plan, recipe, export=export, needed=("expander",), check=check,
                 open=pairs_lib.open_pairs)

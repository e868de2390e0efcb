"""The task of a config of kind "dit": the transformer, from cached latents."""

import jax
import numpy as np

from sora_jax import mesh as mesh_lib
from sora_jax.data.loading import plan as plan_lib
from sora_jax.diffusion import flow
from sora_jax.formats import find
from sora_jax.formats import pretrained
from sora_jax.generation import pipeline
from sora_jax.media import sheets
from sora_jax.mesh import multihost
from sora_jax.models import dit
from sora_jax.tasks import build
from sora_jax.tasks import prompts as prompts_lib
from sora_jax.tasks import task
from sora_jax.training.objectives import dit as dit_lib


def make(cfg, manifest, workdir, compressor, mesh) -> task.Task:
  """The task; its previews are videos of the config's prompts."""
  if not compressor:
    raise ValueError("--vae=MODEL is needed: the model folder whose VAE made "
                     "the latents")
  compressor = pretrained.load(find.find(compressor), components=("vae",))
  made_by = manifest.info.get("vae")
  if made_by != compressor.digest:
    raise ValueError(
        f"{manifest.root} holds latents of the VAE {str(made_by)[:12]} and "
        f"--vae is {compressor.digest[:12]}: give the one they were made with")
  network = build.dit_of(cfg, compressor)
  prompts = (prompts_lib.trained(cfg, manifest, mesh) if "text_encoder" in cfg
             else prompts_lib.frozen(cfg, mesh))
  given = lambda: {"transformer": build.initial(
      cfg, "transformer", network, mesh)} | prompts.given()
  process = flow.Process(**cfg.process)
  plan = plan_lib.token_plan(manifest, plan_lib.TokenConfig(
      seed=cfg.seed, **build.plain(cfg.data)), prompts.tokenizer)
  denoise = lambda p, *args: dit.denoise(network, p, *args)
  init = dit_lib.make_init(lambda key: dit.init(network, key), prompts.init)

  def preview(step, state):
    ema = jax.device_put(multihost.gather(state.ema))  # once, not every step
    model = build.dit_model(cfg, compressor, ema, prompts.source,
                            prompts.frozen)
    texts = list(cfg.preview.prompts)
    videos = pipeline.Pipeline(model, prompts.tokenizer).generate_batch(
        texts, tuple(cfg.preview.size), cfg.preview.frames,
        seeds=[cfg.preview.seed] * len(texts))
    task.show(workdir, step, "sheet.png",
              sheets.contact_sheet(list(videos))[None], 1.0)
    task.show(workdir, step, "prompts.mp4",
              np.concatenate(list(videos), axis=2), cfg.sampling.fps)

  return task.Task(
      plan, dit_lib.make(denoise, prompts.encode, process,
                               plan.cfg.max_segments + 1), init,
      {"transformer": mesh_lib.DIT_RULES, "text_encoder": mesh_lib.TEXT_RULES},
      preview, lambda batch: int(np.sum(batch.tokens.seg > 0)), "tokens",
      given if cfg.init_from else dict, prompts.prepare)

"""The task of a config of kind "dit": the transformer, from cached latents."""

import jax
import numpy as np

from sora_jax import mesh as mesh_lib
from sora_jax.cli import parts
from sora_jax.cli import task
from sora_jax.cli import task_text
from sora_jax.data import plan as plan_lib
from sora_jax.data import video_io
from sora_jax.diffusion import process as process_lib
from sora_jax.generation import pipeline
from sora_jax.mesh import processes
from sora_jax.models import dit
from sora_jax.models import pretrained
from sora_jax.training import dit_objective


def make(cfg, manifest, workdir, compressor, mesh) -> task.Task:
  """The task; its previews are videos of the config's prompts."""
  if not compressor:
    raise ValueError("--vae=MODEL is needed: the model folder whose VAE made "
                     "the latents")
  compressor = pretrained.load(pipeline.find(compressor), parts=("vae",))
  made_by = manifest.info.get("vae")
  if made_by != compressor.digest:
    raise ValueError(
        f"{manifest.root} holds latents of the VAE {str(made_by)[:12]} and "
        f"--vae is {compressor.digest[:12]}: give the one they were made with")
  network = parts.dit_of(cfg, compressor)
  prompts = (task_text.trained(cfg, manifest, mesh) if "text_encoder" in cfg
             else task_text.frozen(cfg, mesh))
  given = lambda: {"transformer": parts.initial(
      cfg, "transformer", network, mesh)} | prompts.given()
  process = process_lib.Process(**cfg.process)
  plan = plan_lib.token_plan(manifest, plan_lib.TokenConfig(
      seed=cfg.seed, **parts.plain(cfg.data)), prompts.words)
  denoise = lambda p, *args: dit.denoise(network, p, *args)
  init = dit_objective.make_init(lambda key: dit.init(network, key), prompts.init)

  def preview(step, state):
    ema = jax.device_put(processes.whole(state.ema))  # once, not every step
    model = parts.dit_model(cfg, compressor, ema, prompts.source,
                            prompts.frozen)
    texts = list(cfg.preview.prompts)
    videos = pipeline.Pipeline(model, prompts.words).generate_batch(
        texts, tuple(cfg.preview.size), cfg.preview.frames,
        seeds=[cfg.preview.seed] * len(texts))
    task.show(workdir, step, "sheet.png",
              video_io.contact_sheet(list(videos))[None], 1.0)
    task.show(workdir, step, "prompts.mp4",
              np.concatenate(list(videos), axis=2), cfg.sampling.fps)

  return task.Task(
      plan, dit_objective.make(denoise, prompts.encode, process,
                               plan.cfg.max_segments + 1), init,
      {"transformer": mesh_lib.DIT_RULES, "text_encoder": mesh_lib.TEXT_RULES},
      preview, lambda batch: int(np.sum(batch.tokens.seg > 0)), "tokens",
      given if cfg.init_from else dict, prompts.prepare)

"""Claim: the method "folder" draws what diffusers draws of the shipped model.

  python experiments/parity/shipped.py > experiments/parity/shipped.txt

`tiny` at its defaults (64x64, 17 frames, its guidance) and 1, 4, 7, 30 and 40 steps:
the frames of `generate(method="folder")` are those of WanPipeline, from the same
noise, to 2 of 255. The text encoder is ours alone: prompts are passed in encoded.
"""

import sys

import diffusers
import jax
import numpy as np
import torch

from sora_jax import types
from sora_jax.formats import find
from sora_jax.generation import pipeline
from sora_jax.geometry import patches
from sora_jax.models.text import encoder

STEPS = (1, 4, 7, 30, 40)
SIZE, FRAMES, SEED = (64, 64), 17, 1
PROMPT = "a red ball moves to the right"
MOST = 2  # of 255


def states(ours: pipeline.Pipeline, text: str) -> torch.Tensor:
  """The states [1, S, D] of a prompt, without padding."""
  ids = np.array([ours.tokenizer.encode(text, ours.defaults.text_limit)], np.int32)
  part = ours.model.text_encoder
  return torch.tensor(np.array(encoder.encode(part.module, part.params, types.Text(
      ids=ids, seg=np.ones_like(ids))).states))


def start(ours: pipeline.Pipeline) -> torch.Tensor:
  """The noise that our sampler draws, as latents [1, C, T, H, W]."""
  model = ours.model
  t, h, w = ours.requests.generate(PROMPT, SIZE, FRAMES).canvas.grid
  ph, pw = model.patch[-2:]
  width = len(model.latent_mean) * ph * pw
  x = patches.noise(jax.random.key(SEED), t * h * w, width)
  z = np.array(patches.unpatchify(x, (t, h * ph, w * pw), model.patch))
  return torch.tensor(z).permute(0, 4, 1, 2, 3)


def load() -> tuple[pipeline.Pipeline, diffusers.WanPipeline]:
  """The shipped model, as ours and as the reference's."""
  reference = diffusers.WanPipeline.from_pretrained(
      find.find("tiny"), text_encoder=None, tokenizer=None)
  reference.set_progress_bar_config(disable=True)
  return pipeline.load("tiny"), reference


def frames(ours: pipeline.Pipeline, reference: diffusers.WanPipeline, steps: int
           ) -> tuple[np.ndarray, np.ndarray]:
  """Our frames and the reference's, [T, H, W, 3] in 0 .. 255."""
  with torch.no_grad():
    theirs = reference(
        prompt_embeds=states(ours, PROMPT), negative_prompt_embeds=states(ours, ""),
        height=SIZE[1], width=SIZE[0], num_frames=FRAMES,
        guidance_scale=ours.defaults.guidance, num_inference_steps=steps,
        output_type="np", latents=start(ours)).frames[0]
  found = ours.generate(PROMPT, SIZE, FRAMES, seed=SEED, method="folder",
                        steps=steps)
  return found.astype(float), 255 * theirs


def main() -> int:
  """Prints the difference at each number of steps; 0 where the claim holds."""
  good, models = True, load()
  for steps in STEPS:
    found, wanted = frames(*models, steps)
    apart = np.abs(found - wanted).max()
    good &= bool(apart <= MOST)
    print(f"{steps:2} steps: {apart:.2f} of 255 apart at most, frames "
          f"{wanted.min():.0f} to {wanted.max():.0f}, deviation {wanted.std():.1f}",
          flush=True)
  print(f"the claim {'holds' if good else 'does not hold'}")
  return int(not good)


if __name__ == "__main__":
  sys.exit(main())

"""Model folders of open models give the frames that the reference gives."""

import dataclasses
import os

import diffusers
import jax
import numpy as np
import PIL.Image
import pytest
import torch
import wan_folder

from sora_jax import main
from sora_jax.generation import pipeline
from sora_jax.geometry import patches
from sora_jax.geometry import sizes
from sora_jax.media import video_io
from sora_jax.models.vae import vae

pytestmark = pytest.mark.quick_compile

SIZE, FRAMES, STEPS, SEED = (48, 32), 5, 4, 3
PROMPT, NEGATIVE = " a  cat &amp;amp; a “red ball\n", "rain"
IMAGE = np.random.default_rng(0).integers(0, 256, (48, 72, 3)).astype(np.uint8)


@pytest.fixture(scope="module", params=[False, True], ids=["t2v", "ti2v"])
def folder(request, tmp_path_factory):
  """A folder, the reference's pipeline and ours."""
  at = tmp_path_factory.mktemp("wan")
  reference = wan_folder.make(at, first_image=request.param, shard="20KB")
  assert len(list(at.glob("transformer/*.safetensors"))) > 2
  return reference, pipeline.load(str(at))


def noise(ours):
  """The noise of SEED as the reference's latents [1, C, t, h, w]."""
  stride = vae.stride(ours.model.vae.module)
  size = sizes.latent_size((FRAMES, *SIZE[::-1]), stride)
  grid = sizes.grid_size(size, ours.model.patch)
  x = patches.noise(jax.random.key(SEED), int(np.prod(grid)),
                       ours.model.transformer.module.patch_channels)
  z = np.array(patches.unpatchify(x, size, ours.model.patch))
  return torch.tensor(z).permute(0, 4, 1, 2, 3)


def same_frames(reference, ours, scheduler, image=None):
  """Both pipelines make the same video."""
  settings = {k: v for k, v in scheduler.items() if k != "kind"}
  reference.scheduler = scheduler["kind"](**settings)
  config = dict(reference.scheduler.config,
                _class_name=scheduler["kind"].__name__)
  ours = dataclasses.replace(ours, model=dataclasses.replace(
      ours.model, scheduler=config))
  given = {} if image is None else {"image": PIL.Image.fromarray(image)}
  with torch.no_grad():
    wanted = 255 * reference(
        prompt=PROMPT, negative_prompt=NEGATIVE, height=SIZE[1], width=SIZE[0],
        num_frames=FRAMES, num_inference_steps=STEPS, guidance_scale=3.0,
        latents=noise(ours), output_type="np", **given).frames[0]
  how = dict(seed=SEED, negative=NEGATIVE, steps=STEPS, guidance=3.0)
  found = (ours.generate(PROMPT, SIZE, FRAMES, **how) if image is None else
           ours.animate(image, PROMPT, FRAMES, size=SIZE, **how))
  assert found.shape == wanted.shape
  assert np.abs(found - wanted).max() <= 2
  assert np.mean((wanted > 1) & (wanted < 254)) > .2 and wanted.std() > 10
  return found


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", [wan_folder.UNIPC, wan_folder.EULER],
                         ids=["unipc", "euler"])
def test_frames_agree(folder, scheduler):
  reference, ours = folder
  image = IMAGE if ours.model.expand_timesteps else None
  same_frames(reference, ours, scheduler, image)


@pytest.mark.slow
def test_the_command_makes_the_same_video(folder, tmp_path):
  _, ours = folder
  argv, image = ["generate"], None
  if ours.model.expand_timesteps:
    video_io.write(str(tmp_path / "first.png"), IMAGE[None], 1.0)
    argv, image = ["animate", f"{tmp_path}/first.png"], IMAGE
  at = os.path.dirname(ours.model.tokenizer)
  assert main.main([
      *argv, f"--model={at}", f"--prompt={PROMPT}", "--size=48x32",
      f"--negative={NEGATIVE}", "--guidance=3", f"--frames={FRAMES}",
      "--steps=2", f"--out={tmp_path}/all.png"]) == 0
  sheet, _ = video_io.read(str(tmp_path / "all.png"))
  ours = pipeline.load(at)
  how = dict(negative=NEGATIVE, steps=2, guidance=3.0)
  wanted = (ours.generate(PROMPT, SIZE, FRAMES, **how) if image is None else
            ours.animate(image, PROMPT, FRAMES, size=SIZE, **how))
  video_io.write(str(tmp_path / "wanted.png"), wanted, 24.0)
  np.testing.assert_array_equal(
      sheet, video_io.read(str(tmp_path / "wanted.png"))[0])


@pytest.mark.slow
def test_a_first_image_needs_a_time_per_token(folder):
  reference, ours = folder
  if not ours.model.expand_timesteps:
    with pytest.raises(ValueError, match="takes no image"):
      ours.animate(IMAGE, PROMPT, FRAMES, size=SIZE)
    return
  # And a model that takes one also goes without.
  parts = {k: v for k, v in reference.components.items() if "image" not in k}
  same_frames(diffusers.WanPipeline(**parts, expand_timesteps=True), ours,
              wan_folder.UNIPC)

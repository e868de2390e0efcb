"""What we export, the reference's classes run."""

import dataclasses
import os
import shutil

import diffusers
import jax
import numpy as np
import pytest
import tiny_model
import torch

from sora_jax import main
from sora_jax import types
from sora_jax.formats import pretrained
from sora_jax.formats import writing
from sora_jax.generation import pipeline
from sora_jax.geometry import patches
from sora_jax.models import dit
from sora_jax.models.text import encoder
from sora_jax.models.vae import vae

pytestmark = pytest.mark.quick_compile

SIZE, FRAMES, STEPS, SEED = (48, 32), 5, 4, 1
PROMPT = tiny_model.PROMPT


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
  """A model of ours, and what the command makes of its folder."""
  at = tmp_path_factory.mktemp("export")
  model = tiny_model.make(at)
  writing.save(str(at / "ours"), model, np.float32)
  assert main.main(["export", f"--model={at}/ours", f"--out={at}/out",
                    "--dtype=float32"]) == 0
  return model, at / "out"


@pytest.mark.slow
@pytest.mark.parametrize("steps", [STEPS, 30])
def test_the_reference_makes_our_video(exported, steps):
  """It guides at all noise levels, whatever interval the model states."""
  _, folder = exported
  ours = pipeline.load(str(folder))
  scheduler = ours.model.scheduler
  scheduler = scheduler | {"sora_jax": scheduler["sora_jax"] | {
      "guidance_interval": [.1, 1.]}}
  ours = pipeline.Pipeline(dataclasses.replace(ours.model, scheduler=scheduler),
                           ours.tokenizer)
  # Our text encoder is not the reference's: prompts are passed in encoded.
  reference = diffusers.WanPipeline.from_pretrained(
      folder, text_encoder=None, tokenizer=None)
  reference.set_progress_bar_config(disable=True)
  embed = lambda text: torch.tensor(states(ours, text))
  length = int(np.prod(ours.requests.generate(PROMPT, SIZE, FRAMES).canvas.grid))
  x = patches.noise(jax.random.key(SEED), length, 16)
  z = np.array(patches.unpatchify(x, (2, 4, 6), ours.model.patch))
  with torch.no_grad():
    wanted = 255 * reference(
        prompt_embeds=embed(PROMPT), negative_prompt_embeds=embed(""),
        height=SIZE[1], width=SIZE[0], num_frames=FRAMES, guidance_scale=3.0,
        num_inference_steps=steps, output_type="np",
        latents=torch.tensor(z).permute(0, 4, 1, 2, 3)).frames[0]
  found = ours.generate(PROMPT, SIZE, FRAMES, seed=SEED, method="folder",
                        steps=steps)
  assert np.abs(found - wanted).max() <= 2
  assert np.mean((wanted > 1) & (wanted < 254)) > .2 and wanted.std() > 10
  # It is another solver than our own, and not far from it.
  own = ours.generate(PROMPT, SIZE, FRAMES, seed=SEED, steps=steps)
  assert np.abs(found - own.astype(float)).max() > 2


def states(ours, text):
  """The states [1, S, D] of a prompt, without padding."""
  ids = np.array([ours.tokenizer.encode(text, 9)], np.int32)
  part = ours.model.text_encoder
  return np.array(encoder.encode(part.module, part.params, types.Text(
      ids=ids, seg=np.ones_like(ids))).states)


@pytest.mark.slow
def test_the_reference_gives_the_same_outputs(exported):
  model, folder = exported
  close = lambda a, b: np.testing.assert_allclose(
      a, b.detach().numpy(), atol=1e-4 * float(b.abs().max()))
  z = np.random.default_rng(1).standard_normal((1, 2, 4, 6, 4), np.float32)
  theirs = lambda z: torch.tensor(z).permute(0, 4, 1, 2, 3)
  network = diffusers.AutoencoderKLWan.from_pretrained(folder / "vae")
  part = model.vae
  out = vae.decode(part.module, part.params, z)
  close(np.clip(out, -1, 1), network.decode(theirs(z)).sample.permute(
      0, 2, 3, 4, 1))

  network = diffusers.WanTransformer3DModel.from_pretrained(
      folder / "transformer")
  part, text = model.transformer, np.ones((1, 3, 8), np.float32)
  tokens = patches.patchify(z)
  out = jax.jit(dit.denoise, static_argnums=0)(
      part.module, part.params, tokens,
      types.Times(t=np.full((1, 1), .3, np.float32), time_index=0 * tokens.seg),
      types.TextStates(states=text, seg=np.ones((1, 3), np.int32)))
  out = patches.unpatchify(out, z.shape[1:4])
  wanted = network(theirs(z), torch.tensor([300.]), torch.tensor(text),
                   return_dict=False)[0]
  close(out, wanted.permute(0, 2, 3, 4, 1))


def test_weights_there_and_back(exported):
  model, folder = exported
  again = pretrained.load(str(folder))
  for part in ("vae", "transformer", "text_encoder"):
    a, b = getattr(model, part), getattr(again, part)
    assert a.module == b.module
    jax.tree.map(np.testing.assert_array_equal, a.params, b.params)


@pytest.mark.slow
def test_a_folder_is_replaced_and_nothing_else_is_lost(
    exported, tmp_path, monkeypatch, capsys):
  folder = shutil.copytree(exported[1], tmp_path / "model")
  export = lambda out: main.main(["export", f"--model={folder}", f"--out={out}"])
  (folder / "scores").mkdir()
  (folder / "scores" / "results.json").write_text("{}")
  assert export(folder) == 2
  assert "scores/results.json" in capsys.readouterr().err
  assert (folder / "scores" / "results.json").exists()
  shutil.rmtree(folder / "scores")
  (tmp_path / "link").symlink_to("model")
  (folder / "README.md").write_text("my card")
  assert export(tmp_path / "link") == 0
  monkeypatch.chdir(folder)
  assert export(".") == 0
  assert sorted(p.name for p in tmp_path.iterdir()) == ["link", "model"]
  assert (folder / "README.md").read_text() == "my card"
  assert pretrained.load(str(folder)).transformer


def test_an_export_killed_between_two_names_loses_nothing(exported, tmp_path):
  folder = shutil.copytree(exported[1], tmp_path / "model")
  (folder / "README.md").write_text("my card")
  (tmp_path / "model.old").mkdir()  # a user's own
  os.rename(folder, f"{folder}{writing.REPLACED}")
  for _ in range(2):
    writing.save(str(folder), exported[0])
    assert (folder / "README.md").read_text() == "my card"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model", "model.old"]


@pytest.mark.parametrize("argv, what", [
    ([], "--out"), (["--out=x"], "not both"),
    (["--out=x", "--model=a", "--workdir=b"], "not both"),
    (["--out=x", "--model=nothing"], "no model 'nothing'"),
    (["--out=x", "--model=tiny", "dtype=float32"], "'dtype=float32' is no flag")])
def test_a_mistake_is_one_line(capsys, argv, what):
  assert main.main(["export", *argv]) == 2
  assert what in capsys.readouterr().err

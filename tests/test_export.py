"""What we export, the reference's classes run."""

import diffusers
import jax
import numpy as np
import pytest
import torch

from sora_jax import main
from sora_jax import tokens as tokens_lib
from sora_jax import types
from sora_jax.data import tokenizer as tokenizer_lib
from sora_jax.generation import pipeline
from sora_jax.generation import pixels
from sora_jax.models import dit
from sora_jax.models import pretrained
from sora_jax.models import text_encoder
from sora_jax.models import vae

SIZE, FRAMES, STEPS, SEED = (48, 32), 5, 4, 1
PROMPT = "a red ball moves up"


def drawn(init, module, scale=0.4):
  """Random parameters, in every entry."""
  rng = np.random.default_rng(0)
  return jax.tree.map(
      lambda x: scale * rng.standard_normal(x.shape).astype(np.float32),
      jax.eval_shape(lambda: init(module, jax.random.key(0))))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
  """A model of ours, and what the command makes of its folder."""
  at = tmp_path_factory.mktemp("export")
  words = tokenizer_lib.train([PROMPT, "a blue box"], at / "words")
  compressor = vae.VAE(base=4, mults=(1, 1, 1), z=4, blocks=1)
  encoder = text_encoder.TextEncoder(vocab=words.vocab_size, width=8, layers=1,
                                     heads=2, ffn=16)
  network = dit.DiT(layers=2, heads=2, head_size=12, ffn=32, patch_channels=16,
                    out_channels=16, text_width=8)
  model = pretrained.Model(
      pretrained.Part(compressor, drawn(vae.init, compressor)),
      np.array([.1, -.2, .3, 0.], np.float32),
      np.array([1.1, .9, 1., 1.3], np.float32),
      pretrained.Part(network, drawn(dit.init, network)),
      pretrained.Part(encoder, drawn(text_encoder.init, encoder)),
      words.model, {
          "_class_name": "UniPCMultistepScheduler", "use_flow_sigmas": True,
          "flow_shift": 2.0, "prediction_type": "sample",
          "sora_jax": {
              "process": {"prediction": "x0"}, "steps": STEPS,
              "guidance": 3.0, "guidance_interval": (0.0, 1.0), "fps": 8.0,
              "method": "ab2", "f_ref": 8.0, "max_tokens": 999,
              "text_limit": 9}})
  pretrained.save(str(at / "ours"), model, np.float32)
  assert main.main(["export", f"--model={at}/ours", f"--out={at}/out",
                    "--dtype=float32"]) == 0
  return model, at / "out"


def test_the_reference_makes_our_video(exported):
  _, folder = exported
  ours = pipeline.load(str(folder))
  # Our text encoder is not the reference's: prompts are passed in encoded.
  reference = diffusers.WanPipeline.from_pretrained(
      folder, text_encoder=None, tokenizer=None)
  reference.set_progress_bar_config(disable=True)
  embed = lambda text: torch.tensor(states(ours, text))
  length = int(np.prod(ours._grid(SIZE, FRAMES)))
  x = tokens_lib.noise(jax.random.key(SEED), length, 16)
  z = np.array(tokens_lib.unpatchify(x, (2, 4, 6), pipeline.PATCH))
  with torch.no_grad():
    wanted = 255 * reference(
        prompt_embeds=embed(PROMPT), negative_prompt_embeds=embed(""),
        height=SIZE[1], width=SIZE[0], num_frames=FRAMES, guidance_scale=3.0,
        num_inference_steps=STEPS, output_type="np",
        latents=torch.tensor(z).permute(0, 4, 1, 2, 3)).frames[0]
  found = ours.generate(PROMPT, SIZE, FRAMES, seed=SEED, method="folder")
  assert np.abs(found - wanted).max() <= 2
  assert np.mean((wanted > 1) & (wanted < 254)) > .2 and wanted.std() > 10
  # It is another solver than our own, and not far from it.
  own = ours.generate(PROMPT, SIZE, FRAMES, seed=SEED)
  assert np.abs(found - own.astype(float)).max() > 2


def states(ours, text):
  """The states [1, S, D] of a prompt, without padding."""
  ids = np.array([ours.tokenizer.encode(text, 9)], np.int32)
  part = ours.model.text_encoder
  return np.array(text_encoder.encode(part.module, part.params, types.Text(
      ids=ids, seg=np.ones_like(ids))).states)


def test_the_reference_gives_the_same_outputs(exported):
  model, folder = exported
  close = lambda a, b: np.testing.assert_allclose(
      a, b.detach().numpy(), atol=1e-4 * float(b.abs().max()))
  z = np.random.default_rng(1).standard_normal((1, 2, 4, 6, 4), np.float32)
  theirs = lambda z: torch.tensor(z).permute(0, 4, 1, 2, 3)
  network = diffusers.AutoencoderKLWan.from_pretrained(folder / "vae")
  part = model.vae
  out = pixels._decode(part.module, False, part.params, z)
  close(np.clip(out, -1, 1), network.decode(theirs(z)).sample.permute(
      0, 2, 3, 4, 1))

  network = diffusers.WanTransformer3DModel.from_pretrained(
      folder / "transformer")
  part, text = model.transformer, np.ones((1, 3, 8), np.float32)
  tokens = tokens_lib.patchify(z)
  out = jax.jit(dit.denoise, static_argnums=0)(
      part.module, part.params, tokens,
      types.Times(t=np.full((1, 1), .3, np.float32), tid=0 * tokens.seg),
      types.TextStates(states=text, seg=np.ones((1, 3), np.int32)))
  out = tokens_lib.unpatchify(out, z.shape[1:4])
  wanted = network(theirs(z), torch.tensor([300.]), torch.tensor(text),
                   return_dict=False)[0]
  close(out, wanted.permute(0, 2, 3, 4, 1))


def test_weights_there_and_back(exported):
  model, folder = exported
  again = pretrained.load(str(folder))
  for part in pretrained.PARTS:
    a, b = getattr(model, part), getattr(again, part)
    assert a.module == b.module
    jax.tree.map(np.testing.assert_array_equal, a.params, b.params)


@pytest.mark.parametrize("argv, what", [
    ([], "--out"), (["--out=x"], "not both"),
    (["--out=x", "--model=a", "--workdir=b"], "not both"),
    (["--out=x", "--model=nothing"], "no model 'nothing'")])
def test_a_mistake_is_one_line(capsys, argv, what):
  assert main.main(["export", *argv]) == 2
  assert what in capsys.readouterr().err

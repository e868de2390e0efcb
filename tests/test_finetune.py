"""Fine-tuning of open models: the sizes of the configs, and a small folder."""

import json
import pathlib

import diffusers
import jax
import numpy as np
import pytest
import torch
import wan_folder

from configs import dit as dit_config
from configs import vae as vae_config
from sora_jax import main
from sora_jax import mesh
from sora_jax import types
from sora_jax.data.loading import plan as plan_lib
from sora_jax.data.loading import token_config
from sora_jax.data.store import manifest
from sora_jax.formats import dit_mapping
from sora_jax.formats import networks
from sora_jax.formats import vae_mapping
from sora_jax.generation import pipeline
from sora_jax.generation import text_states
from sora_jax.tasks import build
from sora_jax.tasks import prompts

pytestmark = pytest.mark.quick_compile

ROOT = pathlib.Path(__file__).parent.parent
# Of the open models, as their config.json state them.
OLD = dict(base_dim=96, z_dim=16)
NEW = dict(base_dim=160, z_dim=48, decoder_base_dim=256, is_residual=True,
           in_channels=12, out_channels=12, patch_size=2,
           scale_factor_spatial=16)
TRANSFORMERS = {
    "wan_1_3b": (OLD, dict(num_attention_heads=12, num_layers=30, ffn_dim=8960)),
    "wan_14b": (OLD, dict(num_attention_heads=40, num_layers=40,
                          ffn_dim=13824)),
    "wan_5b": (NEW, dict(num_attention_heads=24, num_layers=30, ffn_dim=14336,
                         in_channels=48, out_channels=48))}
MILLIONS = {"wan_1_3b": 1419, "wan_14b": 14288, "wan_5b": 5000,
            "wan_2_1": 127, "wan_2_2": 705}


def agrees(name, reference, mapping, rules):
  """Names, shapes and sharding rules of a network without weights."""
  wanted = {k: tuple(v.shape) for k, v in reference.state_dict().items()}
  assert {name: entry.reference_shape for entry in mapping.values()
          for name in entry.names} == wanted
  count = sum(int(np.prod(entry.shape)) for entry in mapping.values())
  assert round(count / 1e6) == MILLIONS[name]
  specs = mesh.param_specs({path: jax.ShapeDtypeStruct(entry.shape, np.float32)
                            for path, entry in mapping.items()}, rules)
  assert len(specs) == len(mapping)


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_transformers_have_the_sizes_of_the_open_ones(name):
  vae, sizes = TRANSFORMERS[name]
  with torch.device("meta"):
    reference = diffusers.WanTransformer3DModel(**sizes)
    compressor = diffusers.AutoencoderKLWan(**vae)
  module = build.dit_of(dit_config.get_config(name),
                        networks.vae_fields(dict(compressor.config))["z"])
  assert networks.dit_fields(dict(reference.config, patch_size=[1, 2, 2])) == {
      field: getattr(module, field)
      for field in (*networks.DIT_SIZES.values(), "patch_channels",
                    "out_channels", "patch")}
  agrees(name, reference, dit_mapping.mapping(module), mesh.DIT_RULES)


@pytest.mark.parametrize("name, sizes", [("wan_2_1", OLD), ("wan_2_2", NEW)])
def test_vaes_have_the_sizes_of_the_open_ones(name, sizes):
  with torch.device("meta"):
    reference = diffusers.AutoencoderKLWan(**sizes)
  module = build.vae_of(vae_config.get_config(name))
  assert networks.vae_fields(dict(reference.config)) == {
      "base": module.base, "decoder_base": module.decoder_base,
      "mults": module.mults, "z": module.z, "blocks": module.blocks,
      "temporal": module.temporal, "patch": module.patch,
      "residual": module.residual}
  agrees(name, reference, vae_mapping.mapping(module), mesh.VAE_RULES)


@pytest.mark.slow
def test_a_run_starts_from_a_folder_and_exports(tmp_path, capsys):
  folder = tmp_path / "open"
  folder.mkdir()
  wan_folder.make(folder)
  run = lambda *argv: main.main([str(a) for a in argv])
  assert run("prepare", "world:balls", f"--out={tmp_path}/data", "--count=12",
             "--size=32x32", "--frames=5", "--plain=1", "--workers=1") == 0
  assert run("encode", f"--vae={folder}", f"--data={tmp_path}/data",
             f"--out={tmp_path}/latents", "--suffixes=0", "--keyframes=0",
             "--batch=4") == 0
  prompts_are_padded_as_in_the_reference(folder, str(tmp_path / "latents"))
  base = ["train", f"--config={ROOT}/configs/dit.py:wan_1_3b",
          f"--config.init_from={folder}", f"--data={tmp_path}/latents",
          f"--vae={folder}", f"--workdir={tmp_path}/run", "--config.steps=2",
          "--config.transformer.heads=2", "--config.transformer.head_size=12",
          "--config.transformer.ffn=32", "--config.transformer.text_width=12",
          "--config.transformer.freq_dim=16", "--config.dtype=float32",
          "--config.data.shapes=((2,64),)", "--config.data.text_limit=32",
          "--config.data.text_length=64", "--config.data.max_segments=2",
          "--config.optimizer.learning_rate=0.0",
          "--config.preview.size=(32,32)", "--config.preview.frames=1",
          "--config.sampling.steps=1", "--config.sampling.guidance=1.0",
          "--config.loop.log_every=1", "--config.transformer.remat=none"]
  assert run(*base, "--config.transformer.layers=3") == 2
  assert "layers is 3 in the config and 2 in" in capsys.readouterr().err
  assert run(*base, "--config.transformer.layers=2") == 0
  lines = [json.loads(line) for line in
           (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
  assert lines and lines[-1]["grad_norm"] > 0
  assert list((tmp_path / "run/previews").glob("*.mp4"))
  assert (tmp_path / "run/previews/latest.txt").read_text() == "2\n"
  # At a learning rate of zero, what comes out is what went in.
  assert run("export", f"--workdir={tmp_path}/run", f"--out={tmp_path}/out",
             "--dtype=float32") == 0
  wanted, found = (pipeline.load(str(tmp_path / at)) for at in ("open", "out"))
  for part in ("vae", "transformer", "text_encoder"):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6),
                 getattr(wanted.model, part).params,
                 getattr(found.model, part).params)
  assert found.defaults.text_pad and found.defaults.text_limit == 32
  assert found.defaults.process.prediction == "velocity"
  # The size of the previews is no default of the model.
  assert (found.defaults.size, found.defaults.frames) == ((832, 480), 81)
  states = text_states.encode(found.model, found.tokenizer, ["a  cat"])
  assert isinstance(states, types.TextStates) and states.seg.all()


def prompts_are_padded_as_in_the_reference(folder, latents):
  """Every prompt takes its limit; its padding is zero states that are keys."""
  cfg = dit_config.get_config("wan_1_3b")
  cfg.init_from = str(folder)
  text = prompts.frozen(cfg, mesh.make_mesh(devices=jax.devices()[:1]),
                        prompts.open_tokenizer(cfg))
  plan = plan_lib.token_plan(manifest.open_manifest(latents), token_config.TokenConfig(
      shapes=((2, 64),), text_length=64, text_limit=32, text_pad=True,
      max_segments=2, dropout=0.5), text.tokenizer)
  counts = []
  for batch in map(plan.batch, range(3)):
    found = text.prepare(batch).text
    np.testing.assert_array_equal(found.seg, batch.text.seg)
    states, seg = np.asarray(found.states), np.asarray(found.seg)
    for row in range(2):
      for s in range(1, seg[row].max() + 1):
        ids, of = (x[row, seg[row] == s] for x in (batch.text.ids, states))
        count = int(np.sum(ids != text.tokenizer.pad))
        assert len(ids) == 32 and ids[count - 1] == text.tokenizer.eos
        assert np.all(of[count:] == 0) and np.all(of[:count].any(-1))
        counts.append(count)
  assert min(counts) == 1 < max(counts) and len(counts) > 6

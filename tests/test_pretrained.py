"""Model folders: what is read, where it is placed, and what is refused."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
import wan_folder

from sora_jax import files
from sora_jax import main
from sora_jax.formats import dit_mapping
from sora_jax.formats import find
from sora_jax.formats import networks
from sora_jax.formats import pretrained
from sora_jax.formats import vae_mapping
from sora_jax.formats import weight_files
from sora_jax.formats import weight_mapping
from sora_jax.models import dit
from sora_jax.models.vae import vae

pytestmark = pytest.mark.quick_compile

VAE = vae.VAE(base=2, mults=(1, 1), z=2, blocks=1, temporal=(True,))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """A folder of an open model, in several shards."""
  at = tmp_path_factory.mktemp("wan")
  wan_folder.make(at, shard="20KB")
  return at


def drawn(where, seed=0):
  """Random tensors under the reference's names."""
  rng = np.random.default_rng(seed)
  return {name: rng.standard_normal(entry.reference_shape, np.float32)
          for entry in where.values() for name in entry.names}


def write(at, width, ffn, layers, dtype):
  """A folder with a VAE and a transformer of these sizes."""
  module = dit.DiT(layers=layers, heads=4, head_size=width // 4, ffn=ffn,
                   patch_channels=8, out_channels=8, text_width=8)
  statistics = {"latents_mean": [0.0] * VAE.z, "latents_std": [1.0] * VAE.z}
  parts = {"vae": (vae_mapping.mapping(VAE), networks.vae_config(VAE) | statistics,
                   "AutoencoderKLWan"),
           "transformer": (dit_mapping.mapping(module),
                           networks.dit_config(module), "WanTransformer3DModel")}
  index = {}
  for name, (where, config, kind) in parts.items():
    (at / name).mkdir(parents=True)
    files.write_json(at / name / "config.json", config)
    weight_files.write_weights(str(at / name), "diffusion_pytorch_model",
                          drawn(where), dtype)
    index[name] = ["diffusers", kind]
  files.write_json(at / "model_index.json", index)
  return at


@pytest.mark.slow
def test_memory_is_what_is_placed_and_a_shard(tmp_path):
  small = write(tmp_path / "small", 32, 64, 2, np.float32)
  large = write(tmp_path / "large", 512, 16384, 6, ml_dtypes.bfloat16)
  here = pathlib.Path(__file__).parent
  env = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(here.parent),
         "XLA_FLAGS": os.environ["XLA_FLAGS"]
                      + " --xla_force_host_platform_device_count=4"}
  run = subprocess.run(
      [sys.executable, here / "load_memory.py", small, large], env=env,
      text=True, capture_output=True, check=False)
  assert run.returncode == 0, run.stderr[-3000:]
  grown, placed, stacked = map(int, run.stdout.split())
  print(f"peak {grown / 1e6:.0f} MB for {placed / 1e6:.0f} MB placed, largest "
        f"local shard {stacked / 1e6:.0f} MB: {(grown - placed) / stacked:.2f} "
        "shards beside what is placed")
  assert placed > 4e8 and .9 * placed < grown <= placed + 1.3 * stacked


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_any_source_becomes_the_dtype_that_is_asked_for(tmp_path, dtype):
  at = write(tmp_path, 8, 16, 2, dtype)
  wanted = drawn(dit_mapping.mapping(pretrained.load(str(at)).transformer.module))
  wanted = {name: x.astype(dtype) for name, x in wanted.items()}
  for name, target in (("float32", jnp.float32), (jnp.bfloat16, jnp.bfloat16)):
    part = pretrained.load(str(at), name).transformer
    assert part.module.dtype == target
    kernel = part.params["blocks"]["self"]["q"]["kernel"]
    assert kernel.dtype == target
    for float32 in (part.params["blocks"]["self"]["q"]["scale"],
                    part.params["table"], part.params["time_1"]["kernel"]):
      assert float32.dtype == jnp.float32
    np.testing.assert_array_equal(
        kernel[1], wanted["blocks.1.attn1.to_q.weight"].T.astype(target))
    assert isinstance(kernel, jax.Array)


@pytest.mark.slow
def test_only_the_parts_that_are_asked_for_are_read(folder, tmp_path):
  at = tmp_path / "copy"
  shutil.copytree(folder, at)
  shutil.rmtree(at / "text_encoder")
  shutil.rmtree(at / "transformer")
  model = pretrained.load(str(at), components=("vae",))
  assert model.transformer is None and model.text_encoder is None
  again = pretrained.load(str(folder), components=("vae",))
  assert model.digest == again.digest != pretrained.load(str(folder)).digest


def edit(path, change):
  """Rewrites a JSON file."""
  value = json.loads(path.read_text())
  change(value)
  path.write_text(json.dumps(value))


def some_shard(at):
  return sorted((at / "transformer").glob("*.safetensors"))[1]


def retold(at, change):
  """Rewrites the tensors of a shard; one line says which."""
  path = some_shard(at)
  tensors = safetensors.numpy.load_file(path)
  change(tensors, min(tensors))
  safetensors.numpy.save_file(tensors, path)


INDEX = "diffusion_pytorch_model.safetensors.index.json"
DAMAGE = {
    "a missing shard": (lambda at: some_shard(at).unlink(),
                        ["safetensors is missing", INDEX]),
    "a truncated file": (lambda at: os.truncate(some_shard(at), 900),
                         ["cannot be read", "transformer"]),
    "a missing key": (lambda at: retold(at, lambda t, k: t.pop(k)),
                      ["tensor blocks.", "is missing from", "the index names"]),
    "a key that no index names": (
        lambda at: edit(at / "transformer" / INDEX, lambda j: j.update(
            weight_map={k: v for k, v in j["weight_map"].items()
                        if v != some_shard(at).name})),
        ["transformer: tensor blocks.", "is missing"]),
    "an extra key": (
        lambda at: retold(at, lambda t, k: t.update(extra=t[k])),
        ["transformer: tensor extra is not part of this network"]),
    "a wrong shape": (
        lambda at: retold(at, lambda t, k: t.update({k: t[k][:-1]})),
        ["transformer: tensor blocks.", "has shape"]),
    "a class that is not known": (
        lambda at: edit(at / "model_index.json", lambda j: j.update(
            transformer=["diffusers", "FluxTransformer2DModel"])),
        ["model_index.json: key transformer", "FluxTransformer2DModel"]),
    "a second transformer": (
        lambda at: edit(at / "model_index.json", lambda j: j.update(
            transformer_2=["diffusers", "WanTransformer3DModel"])),
        ["model_index.json: key transformer_2"]),
    "a setting of the transformer": (
        lambda at: edit(at / "transformer/config.json",
                        lambda j: j.update(patch_size=[2, 2, 2])),
        ["transformer/config.json: key patch_size is [2, 2, 2]"]),
    "a missing setting": (
        lambda at: edit(at / "vae/config.json", lambda j: j.pop("base_dim")),
        ["vae/config.json: key base_dim is missing"]),
    "no latent statistics": (
        lambda at: edit(at / "vae/config.json",
                        lambda j: j.pop("latents_std")),
        ["vae/config.json: key latents_std"]),
    "a setting of the text encoder": (
        lambda at: edit(at / "text_encoder/config.json",
                        lambda j: j.update(feed_forward_proj="relu")),
        ["text_encoder/config.json: feed_forward_proj"]),
    "a setting of the scheduler": (
        lambda at: edit(at / "scheduler/scheduler_config.json",
                        lambda j: j.update(prediction_type="v_prediction")),
        ["scheduler_config.json: key prediction_type"]),
    "no JSON": (lambda at: (at / "vae/config.json").write_text("{"),
                ["vae/config.json is no JSON"]),
    "an index that is a list": (
        lambda at: (at / "model_index.json").write_text("[]"),
        ["model_index.json is no JSON object"]),
    "half a name of a part": (
        lambda at: edit(at / "model_index.json", lambda j: j.update(vae=["x"])),
        ["model_index.json: key vae is ['x']"]),
    "no text encoder named": (
        lambda at: edit(at / "model_index.json",
                        lambda j: j.pop("text_encoder")),
        ["model_index.json: key text_encoder is missing"]),
    "no tokenizer named": (
        lambda at: edit(at / "model_index.json", lambda j: j.pop("tokenizer")),
        ["model_index.json: key tokenizer is missing"]),
    "settings that are a list": (
        lambda at: (at / "vae/config.json").write_text("[1]"),
        ["vae/config.json is no JSON object"]),
    "settings that are no text": (
        lambda at: (at / "vae/config.json").write_bytes(b"{\"\xff\": 1}"),
        ["vae/config.json is no JSON"]),
    **{f"{part} {key} {value!r}": (
        lambda at, part=part, key=key, value=value: edit(
            at / part / "config.json", lambda j: j.update({key: value})),
        [f"{part}/config.json: ", key])
       for part, key, value in (
           ("vae", "z_dim", "4"), ("vae", "base_dim", 0),
           ("vae", "base_dim", -4), ("vae", "num_res_blocks", 1.5),
           ("vae", "dim_mult", [1, "1", 1]), ("vae", "dim_mult", []),
           ("vae", "temperal_downsample", "ab"),
           ("vae", "latents_std", [1.0, float("nan"), 1.0, 1.0]),
           ("vae", "latents_std", [1.0, 0.0, 1.0, 1.0]),
           ("vae", "latents_mean", [1e300, 0.0, 0.0, 0.0]),
           ("vae", "latents_mean", ["a", "b", "c", "d"]),
           ("transformer", "num_layers", "2"), ("transformer", "ffn_dim", 0),
           ("transformer", "eps", "small"),
           ("text_encoder", "feed_forward_proj", 3))},
    "an index of tensors that is a list": (
        lambda at: edit(at / "transformer" / INDEX,
                        lambda j: j.update(weight_map=["x"])),
        [f"{INDEX}: key weight_map"]),
    "no tokenizer": (lambda at: shutil.rmtree(at / "tokenizer"),
                     ["tokenizer"]),
}


@pytest.mark.parametrize("spoil, said", DAMAGE.values(), ids=DAMAGE.keys())
def test_damage_is_one_line(folder, tmp_path, capsys, spoil, said):
  at = tmp_path / "model"
  shutil.copytree(folder, at)
  spoil(at)
  code = main.main(["generate", f"--model={at}", "--prompt=a cat",
                    f"--out={tmp_path}/x.mp4"])
  error = capsys.readouterr().err.strip()
  assert code == 2 and "\n" not in error and str(at) in error, error
  for words in said:
    assert words in error


def test_a_repository_is_read_from_the_cache(folder, tmp_path):
  cache = tmp_path / "models--someone--small-wan"
  shutil.copytree(folder, cache / "snapshots" / ("0" * 40))
  (cache / "refs").mkdir()
  (cache / "refs" / "main").write_text("0" * 40)
  code = ("from sora_jax.formats import find; "
          "print(find.find('someone/small-wan')); "
          "find.find('someone/other')")
  run = subprocess.run(
      [sys.executable, "-c", code], text=True, capture_output=True, check=False,
      env={**os.environ, "HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1",
           "PYTHONPATH": str(pathlib.Path(__file__).parent.parent)})
  assert run.stdout.strip() == str(cache / "snapshots" / ("0" * 40))
  assert "looking for someone/other at Hugging Face" in run.stderr
  assert "someone/other cannot be fetched from Hugging Face" in run.stderr


def test_without_the_extra_the_command_to_install_it_is_named(monkeypatch):
  monkeypatch.setitem(sys.modules, "huggingface_hub", None)
  for name in ("someone/small-wan", "hf:someone/small-wan"):
    with pytest.raises(ValueError, match="pip install huggingface_hub"):
      find.find(name)
  with pytest.raises(ValueError, match="there is no model 'nothing'"):
    find.find("nothing")


def test_a_mistyped_folder_asks_nobody(tmp_path, monkeypatch):
  asked = []
  monkeypatch.setattr(find.hub, "fetch", asked.append)
  monkeypatch.setattr(find.hub, "installed", lambda: True)
  monkeypatch.chdir(tmp_path)
  (tmp_path / "models").mkdir()
  with pytest.raises(ValueError, match="there is no model 'models/mine'"):
    find.find("models/mine")
  for name in ("hf:../x", "hf:x", "hf:"):
    with pytest.raises(ValueError, match="is no repository: write hf:ORG/NAME"):
      find.find(name)
  assert not asked
  find.find("hf:models/mine")
  find.find("someone/mine")
  assert asked == ["models/mine", "someone/mine"]


def test_a_tied_tensor_has_either_name():
  where = {"x": weight_mapping.same(["a"], (2,), tied="b")}
  both = {"a": np.ones(2), "b": np.zeros(2)}
  for given, wanted in ((both, 1), ({"a": both["a"]}, 1), ({"b": both["b"]}, 0)):
    np.testing.assert_array_equal(weight_mapping.to_flax(given, where)["x"], wanted)

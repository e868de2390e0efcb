"""Weights of 8-bit floats are read as what they are; quantised ones are named."""

import json
import shutil

import jax
import numpy as np
import pytest
import safetensors.torch
import torch
import wan_folder

from sora_jax import main
from sora_jax.formats import pretrained

KINDS = {"e4m3": torch.float8_e4m3fn, "e5m2": torch.float8_e5m2}
PARTS = ("transformer", "text_encoder")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """A folder of an open model."""
  at = tmp_path_factory.mktemp("wan")
  wan_folder.make(at)
  return at


def restored(folder, out, change, parts=PARTS):
  """A copy of a folder whose tensors `change` has made anew, file by file."""
  shutil.copytree(folder, out)
  for part in parts:
    for path in (out / part).glob("*.safetensors"):
      safetensors.torch.save_file(change(safetensors.torch.load_file(path)), path)
  return out


@pytest.mark.parametrize("kind", KINDS)
def test_they_are_what_torch_reads(folder, tmp_path, kind):
  small = lambda tensors: {
      name: x.to(KINDS[kind]) if x.ndim > 1 else x for name, x in tensors.items()}
  large = lambda tensors: {name: x.float() for name, x in small(tensors).items()}
  found, wanted = (pretrained.load(
      str(restored(folder, tmp_path / name, change)), components=PARTS)
      for name, change in (("8", small), ("32", large)))
  plain = pretrained.load(str(folder), components=PARTS)
  for part in PARTS:
    a, b, c = (getattr(m, part).params for m in (found, wanted, plain))
    jax.tree.map(np.testing.assert_array_equal, a, b)
    assert any((x != y).any() for x, y in zip(*map(jax.tree.leaves, (a, c))))


def add(name, value):
  return lambda tensors: tensors | {name: value}


def turned(kind):
  """The first tensor, as numbers of another kind."""
  def change(tensors):
    name = min(tensors)
    return tensors | {name: (10 * tensors[name]).to(kind)}
  return change


BAD = {
    "scaled_fp8": add("scaled_fp8", torch.zeros(2, dtype=torch.float8_e4m3fn)),
    "blocks.0.attn1.to_q.scale_weight": add(
        "blocks.0.attn1.to_q.scale_weight", torch.ones(1)),
    "x.weight_scale_inv": add("x.weight_scale_inv", torch.ones(2, 2)),
    "x.weight.absmax": add("x.weight.absmax", torch.ones(2)),
    "is of dtype I8": turned(torch.int8),
    "is of dtype U8": turned(torch.uint8),
    "is of dtype I64": turned(torch.int64),
}


@pytest.mark.parametrize("part", PARTS)
def test_what_is_quantised_is_one_line(folder, tmp_path, part):
  out = restored(folder, tmp_path / "m", dict, ())
  path = next((out / part).glob("*.safetensors"))
  tensors = safetensors.torch.load_file(path)
  for said, change in BAD.items():
    safetensors.torch.save_file(change(dict(tensors)), path)
    with pytest.raises(ValueError) as found:
      pretrained.load(str(out), components=(part,))
    error = str(found.value)
    assert said in error and f"/{part}/" in error and "convert" in error
    assert "\n" not in error


def test_a_number_kind_of_the_future_is_one_line(folder, tmp_path, capsys):
  """A header that names a kind that this version does not know."""
  out = shutil.copytree(folder, tmp_path / "m")
  path = next((out / "transformer").glob("*.safetensors"))
  data = path.read_bytes()
  size = int.from_bytes(data[:8], "little")
  header = json.loads(data[8:8 + size])
  next(v for k, v in header.items() if k != "__metadata__")["dtype"] = "F8_X"
  text = json.dumps(header).encode()
  path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + size:])
  assert main.main(["generate", f"--model={out}", "--prompt=a",
                    f"--out={tmp_path}/x.mp4"]) == 2
  error = capsys.readouterr().err
  assert path.name in error and error.count("\n") == 1

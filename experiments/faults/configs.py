"""Claim: of 151 wrong config values every one is refused in one line.

  python experiments/faults/configs.py > experiments/faults/configs.txt

Each value goes to `train` as a user gives it, with a data set that is not there:
a value that is not refused before ends in a line about the data set, and counts
as accepted. Good is exit code 2 with one line that names the key and the value.
"""

import contextlib
import io
import sys

import sora_jax
from sora_jax import main
from sora_jax.tasks import config as config_lib

# Key -> wrong values, of configs/dit.py:test.
DIT = {
    "steps": (0, -5), "seed": (-1,), "dtype": ("float99", "int8"),
    "transformer.layers": (0, -1), "transformer.heads": (0, -2),
    "transformer.head_size": (7, 0), "transformer.ffn": (0, -64),
    "transformer.text_width": (5, 0), "transformer.remat": ("some",),
    "text_encoder.vocab": (0,), "text_encoder.width": (33,),
    "text_encoder.layers": (0,), "text_encoder.heads": (0, 3),
    "text_encoder.ffn": (-1,),
    "process.prediction": ("noise",), "process.mean": (float("nan"),),
    "process.std": (-1.0,), "process.uniform": (1.5, -0.1),
    "process.base_tokens": (0,), "process.max_shift": (0.5,),
    "optimizer.name": ("sgd",), "optimizer.learning_rate": (-1.0, float("nan")),
    "optimizer.warmup": (-1,), "optimizer.decay": (1.5,),
    "optimizer.clip": (0.0, -1.0), "optimizer.ema": (1.5, float("nan"), -0.1),
    "optimizer.weight_decay": (-0.01,), "optimizer.moments": ("float16",),
    "data.shapes": ((8, 64), ((4, 64), (2, 100)), (), ((0, 64),), ((4, 64.5),)),
    "data.text_length": (0,), "data.text_limit": (0, 500),
    "data.max_segments": (0,), "data.f_ref": (0.0, float("inf")),
    "data.dropout": (2.0, -0.5), "data.images": (1.5, float("nan")),
    "data.shards": (0, 3), "data.cache_bytes": (-1,),
    "data.captions": (
        3, ("..",), ("a/b",), ("",), ("a", "b"), (("a", "long", 1.0),),
        (("a", "short"),), (("a", "short", -1.0),),
        (("original", "short", 0.0),), (("a", "short", float("nan")),),
        ((1, "short", 1.0),)),
    "sampling.size": ((64,), (0, 64)), "sampling.frames": (0,),
    "sampling.fps": (0.0,), "sampling.steps": (0,),
    "sampling.method": ("magic",), "sampling.guidance": (float("nan"),),
    "sampling.guidance_interval": ((0.5, 0.1), (0.0, 2.0)),
    "sampling.window": (0,), "sampling.max_tokens": (0,),
    "loop.log_every": (0, -1), "loop.save_every": (0,),
    "loop.save_minutes": (-1.0,), "loop.preview_every": (-1,),
    "preview.seed": (-1,), "preview.size": ((64,),), "preview.frames": (0,),
    "preview.prompts": (("",), (3,)),
    "mesh.data": (0, -2), "mesh.context": (0,),
}
# The same of configs/vae.py:test.
VAE = {
    "vae.base": (0,), "vae.mults": ((1, 0, 1), ()), "vae.z": (0,),
    "vae.blocks": (0,), "vae.patch": (0,), "vae.temporal": ((True,),),
    "objective.l1": (-1.0,), "objective.kl": (float("nan"),),
    "objective.edges_start": (-1,), "objective.adversarial": (-0.5,),
    "optimizer.frozen": ("(",), "data.buckets": (
        (1, 16), ((1, 16, 16, 0, 0.5),), ((1, 16, 18, 10, 0.5),),
        ((1, 16, 16, 10, -1.0),)),
    "data.candidates": (0,),
}
# The same of configs/captioner.py:test.
CAPTIONER = {
    "captioner.vocab": (0,), "captioner.width": (33, 0), "captioner.layers": (-1,),
    "captioner.decoder_layers": (0,), "captioner.heads": (0, 3),
    "captioner.ffn": (0,), "captioner.text_width": (0, 15),
    "captioner.text_layers": (-1,), "captioner.queries": (0,),
    "captioner.embedding": (0,), "captioner.length": (0, 1.5),
    "objective.parallel": (1.5, float("nan")), "objective.contrastive": (-1.0,),
    "data.descriptive": (1.5, -0.1, float("nan")), "data.text_limit": (0, 500),
    "data.text_length": (0,), "data.f_ref": (0.0,),
    "loop.validate_every": (-1,),
}
# The same of configs/expander.py:test.
EXPANDER = {
    "expander.vocab": (0,), "expander.width": (0, 17), "expander.layers": (-1,),
    "expander.decoder_layers": (0,), "expander.heads": (0, 3),
    "expander.ffn": (-1,), "expander.prompt_length": (0,),
    "expander.length": (0,), "data.rows": (0, -4, 1.5),
    "optimizer.learning_rate": (-1.0,),
}
FILES = {"configs/dit.py:test": DIT, "configs/vae.py:test": VAE,
         "configs/captioner.py:test": CAPTIONER,
         "configs/expander.py:test": EXPANDER}


def cases() -> list[tuple[str, str, object]]:
  """(config, key, value) of every case."""
  return [(file, key, value) for file, keys in FILES.items()
          for key, values in keys.items() for value in values]


def from_python(file: str, key: str, value: object) -> str:
  """What `sora_jax.train` says of a value."""
  cfg = config_lib.load(file).to_dict()
  *path, last = key.split(".")
  section = cfg
  for name in path:
    section = section[name]
  section[last] = value
  return train(cfg)


def train(cfg: dict) -> str:
  """What `sora_jax.train` says of a config."""
  try:
    sora_jax.train(cfg, "/nowhere", "/nowhere/run")
  except ValueError as e:
    return str(e)
  return "accepted"


def from_flags(file: str, key: str, value: object) -> tuple[int, str]:
  """(exit code, what is printed) of `sora-jax train` with the value."""
  text = value if isinstance(value, str) else str(value)
  out = io.StringIO()
  with contextlib.redirect_stderr(out), contextlib.redirect_stdout(out):
    code = main.main(["train", f"--config={file}", f"--config.{key}={text}",
                      "--data=/nowhere", "--workdir=/nowhere/run"])
  return code, out.getvalue().strip()


def is_good(key: str, message: str) -> bool:
  """Whether a message is one line that names the key."""
  return "\n" not in message and key.split(".")[-1] in message and (
      "/nowhere" not in message)


def run() -> int:
  """Prints every case; 0 where all are refused well."""
  bad, found = 0, cases()
  for file, key, value in found:
    try:
      code, said = from_flags(file, key, value)
    except Exception as e:  # pylint: disable=broad-except
      code, said = -1, f"{type(e).__name__}: {e}"
    told = from_python(file, key, value)
    good = code == 2 and is_good(key, said) and is_good(key, told)
    bad += not good
    print(f"{'good' if good else 'BAD '} {key}={value!r}: {said}")
    if not good:
      print(f"     from Python: {told}")
  print(f"{len(found)} wrong values, {len(found) - bad} refused in one line with "
        f"the key: the claim {'holds' if not bad else 'does not hold'}")
  return bool(bad)


if __name__ == "__main__":
  sys.exit(run())

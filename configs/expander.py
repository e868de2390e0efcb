"""The expander: a short prompt becomes a descriptive one.

  python experiments/language/pairs.py --out=data/pairs
  sora-jax train --config=configs/expander.py:worlds --data=data/pairs \
      --workdir=runs/expander

Variants: worlds (0.9 M parameters; batches for two cores) and test, which trains
in seconds and serves the tests. --data is a folder of pairs, or any data set of
prepare or encode whose clips have two captions.
"""

import ml_collections


def get_config(variant: str = "worlds") -> ml_collections.ConfigDict:
  """The config of a variant."""
  cfg = ml_collections.ConfigDict()
  cfg.kind = "expander"
  cfg.seed = 0
  cfg.steps = 1_500
  cfg.dtype = "float32"
  cfg.mesh = dict(data=-1, fsdp=1, context=1, tensor=1)
  cfg.expander = dict(vocab=2048, width=96, layers=2, decoder_layers=2, heads=4,
                      ffn=384, prompt_length=64, length=64)
  cfg.optimizer = dict(name="muon", learning_rate=4e-3, warmup=50, decay=0.5,
                       clip=1.0, ema=0.995, weight_decay=0.01)
  cfg.data = dict(rows=32)
  cfg.loop = dict(log_every=20, save_every=250, save_minutes=5.0,
                  preview_every=500)

  if variant == "test":
    cfg.steps = 4
    cfg.expander.update(vocab=512, width=16, layers=1, decoder_layers=1, heads=2,
                        ffn=32, prompt_length=48, length=64)
    cfg.optimizer.warmup = 1
    cfg.data.rows = 4
    cfg.loop.update(log_every=1, save_every=2, preview_every=4)
  elif variant != "worlds":
    raise ValueError(f"no variant {variant!r}: worlds, test")
  return cfg

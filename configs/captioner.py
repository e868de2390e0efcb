"""The captioner: a clip or an image, as latents, becomes a caption.

  sora-jax train --config=configs/captioner.py:tiny --data=data/latents \
      --vae=models/vae --workdir=runs/captioner

Variants: tiny (3.9 M parameters for latents of 24 channels; batches for two
cores) and test, which trains in seconds and serves the tests.
--config.init_from=MODEL goes on from the captioner of a model folder.
"""

import ml_collections


def get_config(variant: str = "tiny") -> ml_collections.ConfigDict:
  """The config of a variant."""
  cfg = ml_collections.ConfigDict()
  cfg.kind = "captioner"
  cfg.seed = 0
  cfg.init_from = ""
  cfg.steps = 4_000
  cfg.dtype = "float32"
  cfg.mesh = dict(data=-1, fsdp=1, context=1, tensor=1)
  cfg.captioner = dict(vocab=2048, width=160, layers=5, decoder_layers=3,
                       heads=5, ffn=640, text_width=120, text_layers=2,
                       queries=4, embedding=128, length=80)
  # parallel: the share of captions that are read with nothing of them seen;
  # contrastive: the weight of telling clips and captions apart.
  cfg.objective = dict(parallel=0.75, contrastive=0.25)
  cfg.optimizer = dict(name="muon", learning_rate=3e-3, warmup=100, decay=0.5,
                       clip=1.0, ema=0.998, weight_decay=0.01)
  # As in configs/dit.py; descriptive: the share of descriptive captions.
  cfg.data = dict(shapes=((4, 416),), text_length=224, text_limit=80,
                  max_segments=10, f_ref=8.0, descriptive=0.7, shards=1,
                  cache_bytes=2**31)
  cfg.loop = dict(log_every=50, save_every=500, save_minutes=5.0,
                  preview_every=500, validate_every=500)

  if variant == "test":
    cfg.steps = 20
    cfg.captioner.update(width=32, layers=1, decoder_layers=1, heads=2, ffn=64,
                         text_width=16, text_layers=1, length=64)
    cfg.optimizer.warmup = 5
    cfg.data.update(shapes=((4, 64), (2, 128)), text_limit=64,
                    text_length=192)
    cfg.loop.update(log_every=1, save_every=10, preview_every=20,
                    validate_every=10)
  elif variant != "tiny":
    raise ValueError(f"no variant {variant!r}: tiny, test")
  return cfg

"""The diffusion transformer and the text encoder that is trained with it.

  sora-jax train --config=configs/dit.py:tiny --data=data/latents \
      --vae=runs/vae_tiny_model --workdir=runs/dit_tiny

Variants: tiny (5.9 M parameters and a text encoder of 1.7 M, tokens of 16
pixels and 4 frames), and test, which trains in a minute and serves the tests.
"""

import ml_collections


def get_config(variant: str = "tiny") -> ml_collections.ConfigDict:
  """The config of a variant."""
  cfg = ml_collections.ConfigDict()
  cfg.kind = "dit"
  cfg.seed = 0
  cfg.steps = 120_000
  cfg.mesh = dict(data=-1, fsdp=1, context=1, tensor=1)
  cfg.transformer = dict(layers=5, heads=4, head_size=64, ffn=1024,
                         text_width=192, remat="dots")
  cfg.text_encoder = dict(vocab=512, width=192, layers=2, heads=3, ffn=768)
  # Grids this small need much noise before the prompt matters: mean > 0.
  cfg.process = dict(prediction="x0", mean=0.6, std=1.2, uniform=0.1,
                     base_tokens=80, max_shift=3.0)
  cfg.optimizer = dict(name="muon", learning_rate=2e-3, warmup=300, decay=0.3,
                       clip=1.0, ema=0.9995, weight_decay=0.01)
  # Shapes are (rows, length) with the same tokens in all; max_segments the most
  # clips of a row. f_ref is the frame rate at which latents are one position
  # apart. images is the share of the clips that are images (below 0, the data
  # set's); shards the devices over which the cost of attention is evened out.
  cfg.data = dict(shapes=((10, 256), (4, 640)), text_length=192,
                  text_limit=80, max_segments=16, f_ref=8.0,
                  dropout=0.1, images=-1.0, shards=1)
  # What the model folder states as the defaults of sampling.
  cfg.sampling = dict(steps=30, guidance=3.0, guidance_interval=(0.1, 1.0),
                      method="ab2", fps=8.0, max_tokens=40_000)
  cfg.loop = dict(log_every=50, save_every=1000, preview_every=5000)
  cfg.preview = dict(
      seed=0, size=(64, 64), frames=17,
      prompts=("a red ball moves to the right", "a blue square moves up",
               "a green triangle moves to the left",
               "a yellow disc moves down"))

  if variant == "test":
    cfg.steps = 20
    cfg.transformer.update(layers=2, heads=2, head_size=16, ffn=64,
                           text_width=32)
    cfg.text_encoder.update(width=32, layers=1, heads=2, ffn=64)
    cfg.optimizer.warmup = 5
    cfg.data.update(shapes=((4, 64), (2, 128)))
    cfg.sampling.steps = 4
    cfg.loop = dict(log_every=1, save_every=10, preview_every=20)
    cfg.preview.prompts = ("a red ball moves to the right",)
  elif variant != "tiny":
    raise ValueError(f"configs/dit.py has no variant '{variant}': tiny, test")
  return cfg

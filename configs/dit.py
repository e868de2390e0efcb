"""The diffusion transformer and the text encoder that is trained with it.

  sora-jax train --config=configs/dit.py:tiny --data=data/latents \
      --vae=runs/vae_tiny_model --workdir=runs/dit_tiny

Variants: tiny (5.9 M parameters and a text encoder of 1.0 M, tokens of 16
pixels and 4 frames; batches for one accelerator), tiny_cpu (the same network,
batches for two cores), and test, which trains in a minute and serves the tests.
wan_1_3b, wan_14b (Wan 2.1) and wan_5b (Wan 2.2 TI2V) go on from the open
weights in --config.init_from=MODEL, whose text encoder stays frozen; their
latents are those of the VAE of the same folder.
"""

import ml_collections

# Sizes of the open transformers, and what was drawn in their training: the
# shift of time is that of their model cards at 480p (Wan 2.2: 704p).
WAN = {"wan_1_3b": dict(layers=30, heads=12, ffn=8960),
       "wan_14b": dict(layers=40, heads=40, ffn=13824),
       "wan_5b": dict(layers=30, heads=24, ffn=14336)}


def get_config(variant: str = "tiny") -> ml_collections.ConfigDict:
  """The config of a variant."""
  cfg = ml_collections.ConfigDict()
  cfg.kind = "dit"
  cfg.seed = 0
  cfg.init_from = ""
  cfg.steps = 120_000
  cfg.dtype = "float32"
  cfg.mesh = dict(data=-1, fsdp=1, context=1, tensor=1)
  cfg.transformer = dict(layers=5, heads=4, head_size=64, ffn=1024,
                         text_width=192, remat="dots")
  cfg.text_encoder = dict(vocab=512, width=192, layers=2, heads=3, ffn=768)
  # Grids this small need much noise before the prompt matters: mean > 0.
  cfg.process = dict(prediction="x0", mean=0.6, std=1.2, uniform=0.1,
                     base_tokens=80, max_shift=3.0)
  cfg.optimizer = dict(name="muon", learning_rate=3e-3, warmup=300, decay=0.35,
                       clip=1.0, ema=0.9995, weight_decay=0.01)
  # Shapes are (rows, length) with the same tokens in all; max_segments the most
  # clips of a row. f_ref is the frame rate at which latents are one position
  # apart. images is the share of the clips that are images (below 0, the data
  # set's); shards the devices over which the cost of attention is evened out.
  cfg.data = dict(shapes=((40, 256), (16, 640)), text_length=192,
                  text_limit=80, max_segments=16, f_ref=8.0,
                  dropout=0.1, images=-1.0, shards=1,
                  cache_bytes=2**32)
  # What the model folder states as the defaults of sampling.
  cfg.sampling = dict(steps=30, guidance=3.0, guidance_interval=(0.1, 1.0),
                      method="ab2", fps=8.0, max_tokens=40_000)
  cfg.loop = dict(log_every=50, save_every=1000, preview_every=5000)
  cfg.preview = dict(
      seed=0, size=(64, 64), frames=17,
      prompts=("a red ball moves to the right", "a blue square moves up",
               "a green triangle moves to the left",
               "a yellow disc moves down"))

  if variant == "tiny_cpu":
    cfg.data.shapes = ((10, 256), (4, 640))
  elif variant == "test":
    cfg.steps = 20
    cfg.transformer.update(layers=2, heads=2, head_size=16, ffn=64,
                           text_width=32)
    cfg.text_encoder.update(width=32, layers=1, heads=2, ffn=64)
    cfg.optimizer.warmup = 5
    cfg.data.update(shapes=((4, 64), (2, 128)))
    cfg.sampling.steps = 4
    cfg.loop = dict(log_every=1, save_every=10, preview_every=20)
    cfg.preview.prompts = ("a red ball moves to the right",)
  elif variant in WAN:
    _wan(cfg, variant)
  elif variant != "tiny":
    raise ValueError(f"configs/dit.py has no variant '{variant}': tiny, "
                     f"tiny_cpu, test, {', '.join(WAN)}")
  return cfg


def _wan(cfg, variant: str) -> None:
  """Fine-tuning of an open model."""
  new = variant == "wan_5b"
  shift, fps = (5.0, 24.0) if new else (3.0, 16.0)
  length = 32_768  # 81 frames of 832x480; wan_5b: 121 of 1280x704 and more
  del cfg.text_encoder
  cfg.steps = 5_000
  cfg.dtype = "bfloat16"
  cfg.transformer = dict(head_size=128, text_width=4096, freq_dim=256, eps=1e-6,
                         remat="full", **WAN[variant])
  cfg.process = dict(prediction="velocity", base_tokens=int(length / shift**2),
                     max_shift=shift)
  cfg.optimizer = dict(name="adamw", learning_rate=1e-5, warmup=200, decay=0.2,
                       clip=1.0, ema=0.999, weight_decay=0.01)
  # Views that begin at an interior latent are not drawn: the open models have
  # no <continues>.
  cfg.data = dict(shapes=((1, length),), text_length=2048, text_limit=512,
                  text_pad=True, max_segments=4, f_ref=fps, dropout=0.1,
                  masks=(("interior", 0.0), ("loop", 0.0)))
  cfg.sampling = dict(steps=50, guidance=5.0, guidance_interval=(0.0, 1.0),
                      method="folder", fps=fps, max_tokens=100_000,
                      flow_shift=shift)
  cfg.loop = dict(log_every=10, save_every=500, preview_every=1000)
  cfg.preview = dict(seed=0, size=(832, 480), frames=81, prompts=(
      "A cat and a dog bake a cake together in a kitchen.",))

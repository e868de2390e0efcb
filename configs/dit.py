"""The diffusion transformer and the text encoder that is trained with it.

  sora-jax train --config=configs/dit.py:tiny --data=data/latents \
      --vae=models/vae --workdir=runs/dit

Variants: tiny (5.9 M parameters and a text encoder of 1.0 M, tokens of 16
pixels and 4 frames; batches for one accelerator), tiny_cpu (the same network,
batches for two cores), and test, which trains in a minute and serves the tests.
wan_1_3b, wan_14b (Wan 2.1) and wan_5b (Wan 2.2 TI2V) go on from the open
weights in --config.init_from=MODEL, whose text encoder stays frozen; their
latents are those of the VAE of the same folder.

s, b, l and xl (depths and widths of the DiT paper, arXiv:2212.09748; its heads of
64 and 72 are 128 here, which a TPU would pad them to), 3b and 14b train from
scratch on pods. Each states the slice it is laid out for, and `plan`
tells without one what it needs there and whether it fits:

  sora-jax plan --config=configs/dit.py:14b

  variant  layers  width  heads  parameters  slice      mesh       tokens a step
  s            12    384      3      0.03 B  v5e:4x4    data=16          262,144
  b            12    768      6      0.12 B  v5e:4x8    data=32          524,288
  l            24   1024      8      0.41 B  v5p:4x4x4  data=64        1,048,576
  xl           28   1152      9      0.61 B  v5p:4x4x4  data=4         2,097,152
                                                        fsdp=16
  3b           24   3072     24      3.10 B  v5p:4x4x4  data=4         2,097,152
                                                        fsdp=16
  14b          40   5120     40     14.27 B  v5p:4x8x8  data=4         4,194,304
                                                        fsdp=16
                                                        context=4
"""

import ml_collections

# Sizes of the open transformers, and what was drawn in their training: the
# shift of time is that of their model cards at 480p (Wan 2.2: 704p).
WAN = {"wan_1_3b": dict(layers=30, heads=12, ffn=8960),
       "wan_14b": dict(layers=40, heads=40, ffn=13824),
       "wan_5b": dict(layers=30, heads=24, ffn=14336)}

# Sizes for pods: the transformer, the text encoder trained with it, and where
# it runs. All rows of a step have one length, (rows, length).
PODS = {
    "s": dict(layers=12, heads=3, head_size=128, ffn=1536, text=(384, 6),
              topology="v5e:4x4", mesh=dict(data=16), shape=(16, 16_384)),
    "b": dict(layers=12, heads=6, head_size=128, ffn=3072, text=(512, 6),
              topology="v5e:4x8", mesh=dict(data=32), shape=(32, 16_384)),
    "l": dict(layers=24, heads=8, head_size=128, ffn=4096, text=(768, 8),
              topology="v5p:4x4x4", mesh=dict(data=64), shape=(64, 16_384)),
    "xl": dict(layers=28, heads=9, head_size=128, ffn=4608, text=(768, 8),
               topology="v5p:4x4x4", mesh=dict(data=4, fsdp=16), shape=(64, 32_768)),
    "3b": dict(layers=24, heads=24, head_size=128, ffn=8192, text=(1024, 12),
               topology="v5p:4x4x4", mesh=dict(data=4, fsdp=16), shape=(64, 32_768)),
    "14b": dict(layers=40, heads=40, head_size=128, ffn=13824, text=(1024, 12),
                topology="v5p:4x8x8",
                mesh=dict(data=4, fsdp=16, context=4), shape=(64, 65_536))}


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
                       clip=1.0, ema=0.9995, weight_decay=0.01,
                       moments="float32", offload=False)
  # Shapes are (rows, length) with the same tokens in all; max_segments the most
  # clips of a row. f_ref is the frame rate at which latents are one position
  # apart. images is the share of the clips that are images (below 0, the data
  # set's); shards the devices over which the cost of attention is evened out.
  # captions: an origin that `caption` wrote, as ("captioner-1a2b3c4d5e6f",), which
  # is 95 % of the captions; or ((origin, "short" or "descriptive", weight), ..).
  cfg.data = dict(shapes=((40, 256), (16, 640)), text_length=192,
                  text_limit=80, max_segments=16, f_ref=8.0,
                  dropout=0.1, images=-1.0, shards=1, captions=(),
                  cache_bytes=2**32)
  # What the model folder states as the defaults of sampling. window: frames of
  # the longest clips.
  cfg.sampling = dict(size=(64, 64), frames=17, fps=8.0, steps=30,
                      method="ancestral", guidance=3.0,
                      guidance_interval=(0.1, 1.0), window=49,
                      max_tokens=40_000)
  # validate_every: steps between losses on the split val, where the data set has
  # one (prepare --held_out=.02).
  cfg.loop = dict(log_every=50, save_every=1000, save_minutes=0.0,
                  preview_every=5000, validate_every=1000)
  # Paired surprise (sora_jax/evaluation/surprise.py): how often what breaks a law
  # of these worlds loses more than what keeps it, every so many steps, in
  # metrics.jsonl. fours: of each law. No worlds: it is not asked.
  cfg.surprise = dict(every=5000, worlds=(), fours=32, size=(64, 64), frames=17,
                      fps=8.0)
  # Without prompts, previews show captions of clips that are held out.
  cfg.preview = dict(seed=0, size=(64, 64), frames=17, prompts=())

  if variant == "tiny_cpu":
    cfg.data.update(shapes=((10, 256), (4, 640)), cache_bytes=2**31)
  elif variant == "test":
    cfg.steps = 20
    cfg.transformer.update(layers=2, heads=2, head_size=16, ffn=64,
                           text_width=32)
    cfg.text_encoder.update(width=32, layers=1, heads=2, ffn=64)
    cfg.optimizer.warmup = 5
    cfg.data.update(shapes=((4, 64), (2, 128)))
    cfg.sampling.steps = 4
    cfg.loop.update(log_every=1, save_every=10, preview_every=20,
                    validate_every=10)
    cfg.preview.prompts = ("a red ball moves to the right",)
  elif variant in WAN:
    _wan(cfg, variant)
  elif variant in PODS:
    _pod(cfg, **PODS[variant])
  elif variant != "tiny":
    raise ValueError(f"configs/dit.py has no variant '{variant}': tiny, "
                     f"tiny_cpu, test, {', '.join([*WAN, *PODS])}")
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
                       clip=1.0, ema=0.999, weight_decay=0.01,
                       moments="float32", offload=False)
  # Examples that begin at an interior latent are not drawn: the open models
  # have no <continues>.
  cfg.data = dict(shapes=((1, length),), text_length=2048, text_limit=512,
                  text_pad=True, max_segments=4, f_ref=fps, dropout=0.1, captions=(),
                  conditioning=(("interior", 0.0), ("loop", 0.0)))
  cfg.sampling = dict(size=(832, 480), frames=81, fps=fps, steps=50,
                      method="folder", guidance=5.0,
                      guidance_interval=(0.0, 1.0), window=121 if new else 81,
                      max_tokens=100_000, flow_shift=shift)
  cfg.loop = dict(log_every=10, save_every=500, save_minutes=10.0,
                  preview_every=1000, validate_every=500)
  cfg.preview = dict(seed=0, size=(832, 480), frames=81, prompts=())


def _pod(cfg, layers, heads, head_size, ffn, text, topology, mesh,
         shape) -> None:
  """Training from scratch on a pod, on the latents of configs/vae.py:base."""
  rows, length = shape
  width, depth = text
  cfg.vae_config = "configs/vae.py:base"
  cfg.topology = topology
  cfg.mesh = dict(data=1, fsdp=1, context=1, tensor=1) | mesh
  cfg.steps = 400_000
  cfg.dtype = "bfloat16"
  cfg.transformer = dict(layers=layers, heads=heads, head_size=head_size,
                         ffn=ffn, text_width=width, remat="full")
  cfg.text_encoder = dict(vocab=32_768, width=width, layers=depth,
                          heads=width // 64, ffn=4 * width)
  cfg.process = dict(prediction="x0", mean=0.0, std=1.0, uniform=0.1,
                     base_tokens=1024, max_shift=6.0)
  cfg.optimizer = dict(name="adamw", learning_rate=1e-4 if layers < 40 else 6e-5,
                       warmup=2000, decay=0.2, clip=1.0, ema=0.9999,
                       weight_decay=0.01, moments="float32", offload=False)
  cfg.data = dict(shapes=((rows, length),), text_length=2048, text_limit=256,
                  max_segments=64, f_ref=24.0, dropout=0.1, images=0.2,
                  shards=rows, captions=())
  cfg.sampling = dict(size=(480, 272), frames=49, fps=24.0, steps=30,
                      method="ab2", guidance=5.0, guidance_interval=(0.1, 1.0),
                      window=121, max_tokens=4_000_000)
  cfg.loop = dict(log_every=10, save_every=1000, save_minutes=10.0,
                  preview_every=5000, validate_every=1000)
  cfg.preview = dict(seed=0, size=(480, 272), frames=49, prompts=())

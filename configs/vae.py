"""The video compression network.

  sora-jax train --config=configs/vae.py:tiny --data=data/worlds \
      --workdir=runs/vae

Variants: tiny (2.7 M parameters, stride 4x8x8, 16 channels; batches for one
accelerator), tiny_cpu (the same network, batches for two cores), tiny_decoder
(goes on with the decoder alone from the VAE in --config.init_from, whose latents
stay valid; batches for two cores), worlds (for clips of all simulated worlds:
24 channels, an encoder with a third of tiny's operations; batches for two cores),
and test, which trains in a minute and serves the tests. wan_2_1 (stride 4x8x8,
16 channels) and wan_2_2 (4x16x16, 48 channels) are the open VAEs;
--config.init_from=MODEL goes on from their weights.

base and large train from scratch on slices:

  variant  parameters  stride   channels  slice      mesh     pixels a step
  base           53 M  4x8x8          16  v5e:4x4    data=16     17,825,792
  large         409 M  4x16x16        48  v5p:4x4x4  data=64     71,303,168
"""

import ml_collections


def get_config(variant: str = "tiny") -> ml_collections.ConfigDict:
  """The config of a variant."""
  cfg = ml_collections.ConfigDict()
  cfg.kind = "vae"
  cfg.seed = 0
  cfg.init_from = ""
  cfg.steps = 11_000
  cfg.mesh = dict(data=-1, fsdp=1, context=1, tensor=1)
  cfg.vae = dict(base=32, mults=(1, 2, 2), z=16, blocks=1,
                 temporal=(True, True), patch=2, residual=True)
  # l1 and l2 of pixels in [-1, 1]; the edge term comes in once the colours are
  # right.
  cfg.objective = dict(l1=1.0, l2=2.0, kl=1e-4, edges=0.5, edges_start=500,
                       adversarial=0.0, adversarial_start=8_000,
                       decoder_only=False)
  cfg.optimizer = dict(name="muon", learning_rate=4e-3, warmup=100, decay=0.6,
                       clip=1.0, ema=0.999, weight_decay=1e-4, frozen="")
  # (frames, height, width, clips of a batch, share of the steps).
  cfg.data = dict(buckets=((1, 48, 48, 128, 0.2), (5, 32, 32, 96, 0.3),
                           (17, 48, 48, 16, 0.5)),
                  candidates=4, cache_bytes=2**32)
  cfg.loop = dict(log_every=20, save_every=500, save_minutes=0.0,
                  preview_every=500)

  if variant in ("tiny_cpu", "tiny_decoder"):
    cfg.data.buckets = ((1, 32, 32, 48, 0.25), (5, 32, 32, 10, 0.25),
                        (9, 32, 32, 5, 0.25), (17, 32, 32, 3, 0.25))
    cfg.data.cache_bytes = 2**31
    if variant == "tiny_decoder":
      cfg.steps = 6_000
      cfg.objective.update(decoder_only=True, kl=0.0, edges_start=0)
      cfg.optimizer.update(learning_rate=2e-3, decay=0.9,
                           frozen="/(encoder|quant_conv)/")
  elif variant == "worlds":
    cfg.steps = 12_000
    cfg.vae.update(base=12, decoder_base=16, mults=(1, 4, 4), z=24)
    cfg.objective.edges_start = 200
    cfg.optimizer.update(warmup=50, decay=0.5, ema=0.998)
    cfg.data.buckets = ((1, 48, 48, 48, 0.2), (5, 48, 48, 10, 0.2),
                        (9, 48, 48, 5, 0.2), (17, 48, 48, 3, 0.4))
    cfg.data.cache_bytes = 2**31
    cfg.loop = dict(log_every=20, save_every=200, preview_every=400)
  elif variant == "test":
    cfg.steps = 20
    cfg.vae.update(base=8, mults=(1, 1, 1), z=4, blocks=1)
    cfg.data.buckets = ((1, 16, 16, 10, 0.5), (5, 16, 16, 2, 0.5))
    cfg.optimizer.update(name="adamw", learning_rate=1e-3, warmup=5)
    cfg.loop.update(log_every=1, save_every=10, preview_every=20)
  elif variant in ("wan_2_1", "wan_2_2"):
    new = variant == "wan_2_2"
    cfg.vae = dict(base=160 if new else 96, decoder_base=256 if new else 0,
                   mults=(1, 2, 4, 4), z=48 if new else 16, blocks=2,
                   temporal=(False, True, True), patch=2 if new else 1,
                   residual=new)
    cfg.optimizer.update(name="adamw", learning_rate=2e-5)
    cfg.data.buckets = ((1, 256, 256, 8, 0.25), (17, 256, 256, 1, 0.75))
  elif variant in ("base", "large"):
    _pod(cfg, variant == "large")
  elif variant != "tiny":
    raise ValueError(f"configs/vae.py has no variant '{variant}': tiny, "
                     "tiny_cpu, tiny_decoder, worlds, test, wan_2_1, wan_2_2, base, "
                     "large")
  return cfg


def _pod(cfg, large: bool) -> None:
  """Training from scratch on a slice: one clip of 17 frames a chip."""
  chips = 64 if large else 16
  cfg.topology = "v5p:4x4x4" if large else "v5e:4x4"
  cfg.mesh = dict(data=chips, fsdp=1, context=1, tensor=1)
  cfg.steps = 300_000
  cfg.vae = dict(
      base=128 if large else 64, decoder_base=192 if large else 0,
      mults=(1, 2, 4, 4) if large else (1, 4, 4), z=48 if large else 16,
      blocks=2, temporal=(False, True, True) if large else (True, True),
      patch=2, residual=True)
  cfg.objective = dict(l1=1.0, l2=1.0, kl=1e-6, edges=0.5, edges_start=500,
                       adversarial=0.05, adversarial_start=100_000,
                       discriminator_width=64)
  cfg.optimizer = dict(name="adamw", learning_rate=1e-4, warmup=1000, decay=0.2,
                       clip=1.0, ema=0.999, weight_decay=1e-4)
  cfg.data = dict(buckets=((1, 256, 256, 17 * chips, 0.2),
                           (17, 256, 256, chips, 0.8)), candidates=1)
  cfg.loop = dict(log_every=10, save_every=1000, save_minutes=10.0,
                  preview_every=5000)

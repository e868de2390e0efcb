"""A whole model of random weights, small enough to run in a moment.

Not a test: the tests of export and of prompting share it.
"""

import jax
import numpy as np

from sora_jax.formats import pretrained
from sora_jax.models import dit
from sora_jax.models.text import encoder as encoder_lib
from sora_jax.models.vae import vae
from sora_jax.text import tokenizer as tokenizer_lib

PROMPT = "a red ball moves up"


def drawn(init, module, scale=0.4):
  """Random parameters, in every entry."""
  rng = np.random.default_rng(0)
  return jax.tree.map(
      lambda x: scale * rng.standard_normal(x.shape).astype(np.float32),
      jax.eval_shape(lambda: init(module, jax.random.key(0))))


def make(at, steps=4, guidance=3.0, **model):
  """A model; its tokenizer is trained in the folder `at`."""
  tokenizer = tokenizer_lib.train([PROMPT, "a blue box"], at / "tokenizer")
  compressor = vae.VAE(base=4, mults=(1, 1, 1), z=4, blocks=1)
  encoder = encoder_lib.TextEncoder(vocab=tokenizer.vocab_size, width=8, layers=1,
                                     heads=2, ffn=16)
  network = dit.DiT(layers=2, heads=2, head_size=12, ffn=32, patch_channels=16,
                    out_channels=16, text_width=8)
  return pretrained.Model(
      pretrained.Component(compressor, drawn(vae.init, compressor)),
      np.array([.1, -.2, .3, 0.], np.float32),
      np.array([1.1, .9, 1., 1.3], np.float32),
      pretrained.Component(network, drawn(dit.init, network)),
      pretrained.Component(encoder, drawn(encoder_lib.init, encoder)),
      tokenizer.model, {
          "_class_name": "UniPCMultistepScheduler", "use_flow_sigmas": True,
          "flow_shift": 2.0, "prediction_type": "sample",
          "sora_jax": {
              "process": {"prediction": "x0"}, "steps": steps,
              "guidance": guidance, "guidance_interval": (0.0, 1.0), "fps": 8.0,
              "method": "ancestral", "f_ref": 8.0, "max_tokens": 999,
              "text_limit": 9}}, **model)

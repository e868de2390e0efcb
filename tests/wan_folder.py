"""Small model folders of open models: random weights, written by diffusers.

Not a test: the tests of loading, sampling and fine-tuning share these.
"""

import io

import diffusers
import numpy as np
import sentencepiece
import torch
import transformers

TEXT = ("a cat and a dog bake a cake together in a kitchen while it rains "
        "outside and the red ball rolls slowly under the blue table")
EULER = dict(kind=diffusers.FlowMatchEulerDiscreteScheduler, shift=3.0)
UNIPC = dict(kind=diffusers.UniPCMultistepScheduler, flow_shift=3.0,
             use_flow_sigmas=True, prediction_type="flow_prediction")


def tokenizer(folder):
  """A T5 tokenizer of a few words, in `folder`."""
  rng = np.random.default_rng(0)
  texts = [" ".join(rng.choice(TEXT.split(), 9)) for _ in range(300)]
  model = io.BytesIO()
  sentencepiece.SentencePieceTrainer.train(
      sentence_iterator=iter(texts), model_writer=model, vocab_size=60,
      hard_vocab_limit=False, pad_id=0, eos_id=1, unk_id=2, bos_id=-1,
      minloglevel=2, num_threads=1)
  (folder / "spiece.model").write_bytes(model.getvalue())
  return transformers.T5TokenizerFast.from_pretrained(folder, extra_ids=4)


def shaken(network, scale=0.1):
  """The network with weights that are random in every entry."""
  with torch.no_grad():
    for p in network.parameters():
      p.add_(scale * torch.randn_like(p))
  return network.eval()


def make(folder, first_image=False, scheduler=UNIPC, shard="5GB",
         dtype=torch.float32):
  """Writes a folder and returns the reference's pipeline.

  Args:
    folder: a pathlib.Path that exists.
    first_image: the form of Wan 2.2 TI2V; the form of Wan 2.1 otherwise.
    scheduler: EULER or UNIPC.
    shard: the largest file.
    dtype: of the weights.
  """
  torch.manual_seed(0)
  channels = 4
  t5_tokenizer = tokenizer(folder)
  text = transformers.UMT5EncoderModel(transformers.UMT5Config(
      vocab_size=len(t5_tokenizer), d_model=12, d_kv=4, d_ff=20, num_layers=2,
      num_heads=3))
  new = dict(patch_size=2, in_channels=12, out_channels=12, is_residual=True,
             scale_factor_spatial=8, decoder_base_dim=6)
  vae = diffusers.AutoencoderKLWan(
      base_dim=4, z_dim=channels, dim_mult=[1, 1, 1], num_res_blocks=1,
      temperal_downsample=[True, True], latents_mean=[.1, -.2, .3, 0.],
      latents_std=[1.1, .9, 1., 1.3],
      **new if first_image else dict(scale_factor_spatial=4))
  transformer = diffusers.WanTransformer3DModel(
      num_attention_heads=2, attention_head_dim=12, in_channels=channels,
      out_channels=channels, text_dim=12, freq_dim=16, ffn_dim=32,
      num_layers=2)
  kind, settings = scheduler["kind"], {
      k: v for k, v in scheduler.items() if k != "kind"}
  cls = (diffusers.WanImageToVideoPipeline if first_image else
         diffusers.WanPipeline)
  pipe = cls(tokenizer=t5_tokenizer, text_encoder=shaken(text), vae=shaken(vae),
             transformer=shaken(transformer), scheduler=kind(**settings),
             expand_timesteps=first_image).to(dtype)
  pipe.save_pretrained(folder, max_shard_size=shard)
  pipe.set_progress_bar_config(disable=True)
  return pipe

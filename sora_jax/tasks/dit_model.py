"""The model folder that a run of the transformer becomes."""

import dataclasses
from typing import Any

import numpy as np

from sora_jax import ranges
from sora_jax.data.loading import caption_mix
from sora_jax.data.store import latents
from sora_jax.data.store import manifest as manifest_lib
from sora_jax.formats import find
from sora_jax.formats import pretrained
from sora_jax.formats import sampling_defaults
from sora_jax.tasks import build
from sora_jax.text import tokenizer as tokenizer_lib
from sora_jax.text import words as words_lib
from sora_jax.training import progress

READ = 20_000  # clips whose captions are read for their words

# Our names of what a network predicts, and the reference's.
PREDICTIONS = {"x0": "sample", "eps": "epsilon", "velocity": "flow_prediction"}


@dataclasses.dataclass(frozen=True)
class Preview:
  """The videos that a run shows of itself.

  Attributes:
    seed: of their noise.
    size: (W, H) in pixels.
    frames: of each.
    prompts: one for each; without any, captions of the data.
  """

  seed: int
  size: tuple[int, int]
  frames: int
  prompts: tuple[str, ...]

  def __post_init__(self):
    ranges.check("preview", self, seed=ranges.whole(),
                 size=ranges.every(ranges.whole(1), 2), frames=ranges.whole(1),
                 prompts=ranges.Rule("a list of texts", lambda v: v in ((), [])
                                     or ranges.every(ranges.text()).holds(v)))


def check(cfg: Any) -> None:
  """Refuses defaults of sampling, or previews, that cannot be drawn.

  Raises:
    ValueError: a key or a value.
  """
  ranges.made(Preview, "preview", cfg["preview"])
  known = [f.name for f in dataclasses.fields(sampling_defaults.SamplingDefaults)]
  ranges.check_known("sampling", cfg["sampling"], [*known, "flow_shift"])
  shift = cfg["sampling"].get("flow_shift", 1.0)
  if not ranges.above(0).holds(shift):
    raise ValueError(f"sampling.flow_shift is {shift!r}, it must be "
                     f"{ranges.above(0).what}")
  sampling_defaults.read(scheduler(cfg), expand_timesteps=True)


def export(cfg: dict, params: dict, data: str,
           vae: str | None) -> pretrained.Model:
  """The model of a run: its averaged params and the VAE of its latents."""
  first = pretrained.load(find.find(vae or cfg["sources"]["vae"]),
                          components=("vae",))
  if "text_encoder" not in cfg:
    return model_of(cfg, first, params, pretrained.load(
        find.find(cfg["init_from"]), components=()).tokenizer)
  manifest = manifest_lib.open_manifest(data)
  model = model_of(cfg, first, params, tokenizer_lib.of(manifest).model)
  return dataclasses.replace(model, words=words_of(cfg, manifest))


def words_of(cfg: dict, manifest: manifest_lib.Manifest) -> tuple[str, ...]:
  """The words of the captions of a run, and of what it started from.

  Of a large data set READ captions are looked at, evenly over all. () where the
  words of the model that the run started from are not known.
  """
  before: tuple[str, ...] = ()
  if cfg.get("init_from"):
    try:
      before = pretrained.load(find.find(cfg["init_from"]), components=()).words
    except ValueError:  # it is no longer there
      return ()
    if not before:
      return ()
  if len(manifest) > READ:
    progress.log(f"the words of captions: of {READ:,} clips, evenly over "
                 f"{len(manifest):,}")
  index = np.unique(np.linspace(0, len(manifest) - 1, READ).astype(int))
  captions = cfg["data"].get("captions", ())
  mix = caption_mix.open_mix(manifest, captions) if captions else None

  def captions_of(i: int) -> tuple[str, ...]:
    own = latents.captions_of(manifest.record(i))
    return mix.texts(i, own) if mix else own

  found = words_lib.count(
      caption for i in index.tolist() for caption in captions_of(i))
  return tuple(dict.fromkeys([*found, *before]))


def model_of(cfg: Any, vae: pretrained.Model, params: dict,
             tokenizer: bytes | str,
             text: pretrained.Component | None = None) -> pretrained.Model:
  """A whole model.

  Args:
    cfg: the config of the run.
    vae: a model with the VAE and its latent statistics.
    params: of the run.
    tokenizer: bytes or a folder, as in pretrained.Model.
    text: the text encoder where the run trains none.
  """
  if "text_encoder" in cfg:
    text = pretrained.Component(build.text_encoder_of(cfg),
                                params["text_encoder"])
  # Known tokens had a time of their own in training.
  return pretrained.Model(
      expand_timesteps=True, vae=vae.vae, latent_mean=vae.latent_mean,
      latent_std=vae.latent_std, transformer=pretrained.Component(
          build.dit_of(cfg, vae.vae.module.z), params["transformer"]),
      text_encoder=text, tokenizer=tokenizer, scheduler=scheduler(cfg))


def scheduler(cfg: Any) -> dict:
  """scheduler_config.json: the reference's names, then our own settings.

  The reference's UniPC scheduler runs an x0 model with these keys.
  """
  sampling, preview = dict(cfg["sampling"]), cfg["preview"]
  # Configs of older runs have no size and frames but those of the preview.
  size = sampling.pop("size", preview["size"])
  frames = sampling.pop("frames", preview["frames"])
  return {
      "_class_name": "UniPCMultistepScheduler", "num_train_timesteps": 1000,
      "prediction_type": PREDICTIONS[cfg["process"]["prediction"]],
      "use_flow_sigmas": True, "flow_shift": sampling.pop("flow_shift", 1.0),
      "sora_jax": {"process": dict(cfg["process"]), **sampling,
                   "size": list(size), "frames": frames,
                   "f_ref": cfg["data"]["f_ref"],
                   "text_limit": cfg["data"]["text_limit"],
                   "text_pad": cfg["data"].get("text_pad", False)}}

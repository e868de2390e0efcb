"""Reads a model folder: one layout for our models and other people's.

The layout is that of the `diffusers` package: model_index.json and one folder a
component (transformer/, vae/, text_encoder/, tokenizer/, scheduler/), with
weights as safetensors in the names of the reference implementation and settings as
JSON. Weights go from the files into their shards on a mesh, a few rows of a
tensor at a time: beside what is placed, the host holds one shard of one
parameter.

Nothing in a folder is ever run. SHA256SUMS names every file that we write
(writing.py); a folder that has it is checked before use, since a flipped byte in
safetensors loads silently.
"""

import dataclasses
import functools
import os
import re
from typing import Any

from flax import traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from sora_jax import files
from sora_jax import mesh as mesh_lib
from sora_jax.formats import networks
from sora_jax.formats import sampling_defaults
from sora_jax.formats import weight_files
from sora_jax.formats import weight_mapping
from sora_jax.geometry import sizes

WORDS = "words.txt"  # of the folder tokenizer/: a word a line
COMPONENTS = ("vae", "transformer", "text_encoder", "captioner", "expander")
# Parameters that the modules use in their compute dtype, whatever they are
# stored in: to store them in it costs no accuracy.
CAST = re.compile(r"^(?!time_).*(kernel|embedding)$")


@dataclasses.dataclass(frozen=True, repr=False)
class Component:
  """One network of a model: its frozen module and its parameters."""

  module: Any
  params: Any

  @property
  def count(self) -> int:
    """The number of parameters."""
    return sum(x.size for x in jax.tree.leaves(self.params))

  def __repr__(self) -> str:
    return f"{type(self.module).__name__} of {self.count:,} parameters"


@dataclasses.dataclass(frozen=True)
class Model:
  """A model folder; what was not there or not asked for is None.

  Attributes:
    vae: the compression network.
    latent_mean: [C] statistics of the raw latents, by which the transformer's
      latents are normalised, in float32; float64, so that a folder that is
      written again has the same ones.
    latent_std: [C].
    transformer: the denoiser.
    text_encoder: the encoder of the prompts.
    tokenizer: bytes of a sentencepiece model of ours, or the folder of another
      tokenizer.
    words: of the captions that it was trained on, the most frequent first; ()
      where the folder does not list them (text/words.py).
    captioner: clips to captions.
    expander: short prompts to longer ones; it has a folder without a VAE.
    scheduler: scheduler_config.json: the diffusion process and, in a folder of
      ours, the defaults of sampling.
    expand_timesteps: whether the model was trained with a time per token, so
      that it takes a first image (Wan 2.2 TI2V; the reference's name).
    digest: sha256 over the digests of the files.
    vae_digest: the same of the VAE alone: latents name it, for any model with
      this VAE reads them.
  """

  vae: Component | None
  latent_mean: np.ndarray = dataclasses.field(repr=False)
  latent_std: np.ndarray = dataclasses.field(repr=False)
  transformer: Component | None = None
  text_encoder: Component | None = None
  tokenizer: bytes | str | None = dataclasses.field(default=None, repr=False)
  scheduler: dict = dataclasses.field(default_factory=dict, repr=False)
  expand_timesteps: bool = False
  digest: str = ""
  vae_digest: str = ""
  words: tuple[str, ...] = dataclasses.field(default=(), repr=False)
  captioner: Component | None = None
  expander: Component | None = None

  @property
  def patch(self) -> sizes.Patch:
    """The latents that make one token of the transformer."""
    return (self.transformer.module.patch if self.transformer
            else sizes.DEFAULT_PATCH)

  @functools.cached_property
  def defaults(self) -> sampling_defaults.SamplingDefaults:
    """The defaults of sampling, read once from `scheduler`.

    Raises:
      ValueError: a scheduler that is not supported.
    """
    return sampling_defaults.read(self.scheduler, self.expand_timesteps)


def load(folder: str, dtype: Any = jnp.float32, mesh: Any = None,
         components: tuple[str, ...] = COMPONENTS) -> Model:
  """Reads a model folder.

  Args:
    folder: a folder in the layout above.
    dtype: of the computation, and of the matrices of the weights ("bfloat16"
      will do); norms, modulation and the time embedding are float32.
    mesh: of `mesh.make_mesh`, which the weights are spread over; one device by
      default.
    components: the networks that are read, of COMPONENTS.

  Raises:
    ValueError: no such folder, a file that is missing, damaged or of another
      architecture; the message names the file and the key.
  """
  index_file = os.path.join(folder, "model_index.json")
  if not os.path.isfile(index_file):
    raise ValueError(f"{folder} is no model folder: model_index.json is missing")
  index = files.read_json(index_file)
  classes, dtype = _classes(index_file, index), jnp.dtype(dtype).type
  mesh = mesh or mesh_lib.make_mesh(devices=jax.local_devices()[:1])
  digest = weight_files.verify(folder, components)
  found: dict[str, Any] = {
      name: _component(folder, name, networks.NETWORKS[classes[name]], dtype,
                       mesh) for name in components if name in classes}
  config = (files.read_json(os.path.join(folder, "vae", "config.json"))
            if "vae" in classes else {"z_dim": 0, "latents_mean": [],
                                      "latents_std": []})
  found |= {f"latent_{name}": _statistics(folder, config, f"latents_{name}")
            for name in ("mean", "std")}
  if "tokenizer" in classes:
    found["tokenizer"] = os.path.join(folder, "tokenizer")
    if classes["tokenizer"] == "SentencePiece":  # of ours
      words = os.path.join(found["tokenizer"], WORDS)
      if os.path.isfile(words):
        found["words"] = tuple(files.read_text(words).split())
      found["tokenizer"] = _read(os.path.join(found["tokenizer"],
                                              "tokenizer.model"))
  if "scheduler" in classes:
    found["scheduler"] = files.read_json(
        os.path.join(folder, "scheduler", "scheduler_config.json"))
  expand = index.get("expand_timesteps") or False
  if not isinstance(expand, bool):
    raise ValueError(f"{index_file}: key expand_timesteps is {expand!r}, it must "
                     "be true or false")
  return Model(**{"vae": None, **found}, digest=digest,
               vae_digest=weight_files.component_digest(folder, "vae"),
               expand_timesteps=expand)


def _read(path: str) -> bytes:
  try:
    return files.read_bytes(path)
  except FileNotFoundError:
    raise ValueError(f"{path} is missing") from None
  except ValueError as e:
    raise ValueError(f"{path} {e}") from e


def _classes(file: str, index: dict) -> dict[str, str]:
  """The class of each component that a folder has.

  Raises:
    ValueError: a component that we do not know, or of a class that we do not know.
  """
  named = {k: v for k, v in index.items() if isinstance(v, list)}
  for key, value in named.items():
    if len(value) != 2 or not isinstance(value[1], str | None):
      raise ValueError(f"{file}: key {key} is {value}, it must be the library "
                       "and the class of the component")
  classes = {key: value[1] for key, value in named.items() if value[1]}
  if "vae" not in classes and "expander" not in classes:
    raise ValueError(f"{file}: key vae is missing")
  for key, name in classes.items():
    known = [k for k, n in networks.NETWORKS.items() if n.component == key]
    if key not in (*COMPONENTS, "tokenizer", "scheduler"):
      raise ValueError(f"{file}: key {key}, a {name}, is not supported: models "
                       "of one transformer without an image encoder are")
    if known and name not in known:
      raise ValueError(f"{file}: key {key} is of the unknown class {name}, "
                       f"known are {', '.join(known)}")
  return classes


def _statistics(folder: str, config: dict, key: str) -> np.ndarray:
  """latents_mean or latents_std [C] of a VAE's config, as it was written."""
  try:
    value: np.ndarray = np.asarray(config.get(key, ()), np.float64)
  except (TypeError, ValueError, OverflowError):  # a text, lists of several lengths
    value = np.zeros(())
  if value.shape != (config.get("z_dim"),):
    raise ValueError(f"{folder}/vae/config.json: key {key} must be a list of "
                     f"z_dim ({config.get('z_dim')}) numbers")
  with np.errstate(over="ignore", under="ignore"):
    used = value.astype(np.float32)
  if not np.isfinite(used).all() or (key == "latents_std"
                                     and used.min(initial=1) <= 0):
    raise ValueError(f"{folder}/vae/config.json: key {key} is "
                     f"{value.tolist()}, its numbers must be finite, of "
                     "latents_std above 0")
  return value


def _component(folder: str, name: str, network: networks.Network, dtype,
               mesh) -> Component:
  """Reads a network, tensor by tensor, into its shards."""
  file = os.path.join(folder, name, "config.json")
  config = files.read_json(file)
  try:
    module = network.kind(**network.fields(config), dtype=dtype)
  except KeyError as e:
    raise ValueError(f"{file}: key {e.args[0]} is missing") from e
  except (TypeError, ValueError) as e:
    raise ValueError(f"{file}: {e}") from e
  tensors = weight_files.open_weights(os.path.join(folder, name))
  _require_bounded(file, module, len(tensors))
  mapping = network.mapping(module)
  try:
    tensors = weight_mapping.check(tensors, mapping)
  except ValueError as e:
    raise ValueError(f"{os.path.join(folder, name)}: {e}") from e
  return Component(module, _place(tensors, mapping, network.rules, dtype, mesh))


def _require_bounded(file: str, module: Any, tensors: int) -> None:
  """Refuses a network of more parts than its files hold tensors.

  The names of its tensors would fill the memory before one is missed.
  """
  parts = {"layers": getattr(module, "layers", 0),
           "blocks": getattr(module, "blocks", 0),
           "mults": len(getattr(module, "mults", ()))}
  for name, count in parts.items():
    if count > tensors:
      raise ValueError(f"{file}: a network of {count} {name} has more tensors than "
                       f"the {tensors} of its files")


def _place(tensors, mapping: weight_mapping.WeightMapping, rules, dtype, mesh):
  """The parameters as arrays on the mesh."""
  tree = lambda flat: traverse_util.unflatten_dict(flat, sep="/")
  kinds = {path: dtype if CAST.match(path) else jnp.float32 for path in mapping}
  shapes = tree({path: jax.ShapeDtypeStruct(entry.shape, kinds[path])
                 for path, entry in mapping.items()})
  placed = traverse_util.flatten_dict(
      mesh_lib.shardings(mesh, mesh_lib.fit(
          mesh, shapes, mesh_lib.param_specs(shapes, rules))), sep="/")
  reader = lambda path, entry: lambda index: weight_mapping.read(
      tensors, entry, index, kinds[path])
  return tree({path: mesh_lib.assemble(entry.shape, placed[path],
                                       reader(path, entry))
               for path, entry in mapping.items()})

"""What can be trained: a Task for each kind of config, in one table.

A new kind of model is a file of this room with a TASK in it, one line in TASKS,
and a config whose `kind` is the name in the table. A file is imported when its
kind is asked for, so that training the transformer reads no videos.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
import dataclasses
import importlib
import os
from typing import Any, TYPE_CHECKING

from sora_jax import contracts
from sora_jax.data.store import manifest as manifest_lib

if TYPE_CHECKING:
  import jax
  import numpy as np

  from sora_jax.formats import pretrained

# The kind of a config -> the module that holds its TASK.
TASKS = {
    "vae": "sora_jax.tasks.vae",
    "dit": "sora_jax.tasks.dit",
    "captioner": "sora_jax.tasks.captioner",
    "expander": "sora_jax.tasks.expander",
}


@dataclasses.dataclass(frozen=True)
class Run:
  """One run: what a recipe is made from.

  Attributes:
    cfg: the config, a ConfigDict.
    manifest: of the data set.
    plan: of its batches, made by the task.
    mesh: of `mesh.make_mesh`.
    vae: the model folder whose VAE made the latents; None if not given.
  """

  cfg: Any
  manifest: manifest_lib.Manifest
  plan: contracts.Plan
  mesh: Any
  vae: str | None = None


@dataclasses.dataclass(frozen=True)
class Recipe:
  """How the parameters of a run are trained.

  Attributes:
    objective: (params, batch, key, step) -> (gradients of params, metrics);
      metrics are float32 scalars, "loss" among them, and "clips", the clips of
      the batch, which a run adds up.
    init: key -> params, a dict of models.
    rules: the sharding rules of each model, by its name in params; a model that
      is not named is replicated.
    preview: (step, state, workdir) -> None writes previews; every process calls
      it. None if there is nothing to show.
    unit: what the rate counts, such as "tokens".
    count: batch of this host -> the units in it.
    pretrained: () -> models of params that replace those of `init` in a new run.
    prepare: batch on the mesh -> the batch of the objective.
    flops: batch of this host -> the model FLOPs of a step with it, forward and
      backward; 0 where nobody has counted them.
    validate: params -> metrics of clips that are held out, tasks/validation.py;
      every process calls it. None without such clips.
    measure: state -> other metrics of the model, which are asked for every
      `measure_every` steps; every process calls it.
    measure_every: 0 is never.
  """

  objective: Callable[..., tuple[Any, dict[str, jax.Array]]]
  init: Callable[[jax.Array], dict[str, Any]]
  rules: Mapping[str, tuple] = dataclasses.field(default_factory=dict)
  preview: Callable[[int, Any, str], None] | None = None
  unit: str = "clips"
  count: Callable[[Any], int] = lambda batch: 0
  pretrained: Callable[[], dict[str, Any]] = dict
  prepare: Callable[[Any], Any] = lambda batch: batch
  flops: Callable[[Any], float] = lambda batch: 0
  validate: Callable[[Any], dict[str, float]] | None = None
  measure: Callable[[Any], dict[str, float]] | None = None
  measure_every: int = 0


@dataclasses.dataclass(frozen=True)
class DataOptions:
  """How a data set is planned, where it is not as the config says.

  Attributes:
    stride: (T, H, W) of the VAE that will encode; None if it is encoded.
    square: side in pixels that clips are cut to; 0 leaves their shapes.
    tokens: of a step, to choose shapes for; 0 takes those of the config.
    shards: devices that share the rows of a batch; 0 takes the config's.
  """

  stride: tuple[int, int, int] | None = None
  square: int = 0
  tokens: int = 0
  shards: int = 0


@dataclasses.dataclass(frozen=True)
class Task:
  """What one kind of config can do. Only the first two are needed.

  Attributes:
    plan: (cfg, manifest) -> the plan of the batches.
    recipe: Run -> Recipe.
    describe: (cfg, manifest, DataOptions) -> what a config makes of a data set,
      as JSON values and as lines of text.
    export: (cfg, params, data, vae) -> the model, given the config of a run as
      a dict, its averaged params, and the folders of its data and its VAE.
    programs: what is compiled for absent chips: a name such as "train" ->
      (programs.Request, mesh) -> programs.Compilable.
    layout: (programs.Request, programs.Slice, axes) -> the request with a mesh
      and rows for a slice that its config was not made for; of `axes`, the sizes
      of a mesh, if they are given.
    needed: the sections that a config of this kind has besides check.NEEDED.
    check: raises ValueError for a config that no run can use.
    open: the folder of the data -> what `plan` takes for a manifest.
  """

  plan: Callable[[Any, manifest_lib.Manifest], contracts.Plan]
  recipe: Callable[[Run], Recipe]
  describe: Callable[[Any, manifest_lib.Manifest, DataOptions],
                     tuple[dict, list[str]]] | None = None
  export: Callable[[dict, dict, str, str | None],
                   pretrained.Model] | None = None
  programs: Mapping[str, Callable] = dataclasses.field(default_factory=dict)
  layout: Callable[..., Any] | None = None
  needed: tuple[str, ...] = ()
  check: Callable[[Any], None] = lambda cfg: None
  open: Callable[[str], Any] = manifest_lib.open_manifest


def find(kind: str) -> Task:
  """The task of a kind of config.

  Raises:
    ValueError: there is no such kind.
  """
  if kind not in TASKS:
    raise ValueError(f"kind is {kind!r}, it must be one of {', '.join(TASKS)}")
  return importlib.import_module(TASKS[kind]).TASK


def show(workdir: str, step: int, name: str, video: np.ndarray,
         fps: float) -> None:
  """Writes a preview, uint8 [T, H, W, 3], from the first of the processes."""
  from sora_jax.media import video_io  # training alone needs no video codecs
  from sora_jax.mesh import multihost
  if multihost.first():
    folder = os.path.join(workdir, "previews")
    os.makedirs(folder, exist_ok=True)
    video_io.write(os.path.join(folder, f"{step:08d}-{name}"), video, fps)

"""Checkpoints through Orbax: verified when read, refused when foreign.

A step holds three items: `state` (all but the average), `ema` (what export
reads) and `meta` (JSON: step, config, the digest and dtype of every leaf, and a
digest of all that). Orbax restores a flipped byte as a wrong value and casts
dtypes, both silently. So every leaf is copied and digested before it is saved and
digested after it is restored, and the newest step that verifies is used. The
digests of a save are made by a thread while the run goes on, and are part of the
step: without them it does not get its name. Old steps are renamed before they are
deleted: deletion in place leaves half a step behind when it is killed.
Each process writes and reads what it holds, and the first does the rest;
they agree whether a step is whole. A checkpoint with older names (old_names.py) is
restored under the names of today.
"""

from collections.abc import Callable
import dataclasses
import hashlib
import json
import logging
import os
import pathlib
import shutil
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from sora_jax import mesh as mesh_lib
from sora_jax.mesh import multihost
from sora_jax.training import config_changes
from sora_jax.training import digest
from sora_jax.training import hush
from sora_jax.training import old_names

FOLDER = "checkpoints"
META = {"step", "config", "leaves"}  # and the digest of these
TRASH = "deleting"


class _MetaHandler(ocp.JsonCheckpointHandler):
  """Writes meta once the digests of its leaves are made, in Orbax's thread."""

  async def async_save(self, directory, item=None, args=None):
    del item
    return [ocp.future.CommitFutureAwaitingContractedSignals(
        self._write(directory / "metadata", args.item), name="meta")]

  async def _write(self, path, meta):
    leaves = digest.describe_leaves(meta["leaves"], "digests")
    if multihost.first():
      meta = meta | {"leaves": leaves}
      path.write_text(json.dumps(meta | {"digest": _digest(meta)}))


@ocp.args.register_with_handler(_MetaHandler, for_save=True)
@dataclasses.dataclass
class _MetaSave(ocp.args.CheckpointArgs):
  """What is saved: step, config and leaves of digest.snapshot."""

  item: dict


@ocp.args.register_with_handler(_MetaHandler, for_restore=True)
@dataclasses.dataclass
class _MetaRestore(ocp.args.CheckpointArgs):
  """Nothing is asked for but what is there."""


@dataclasses.dataclass(frozen=True)
class Checkpoints:
  """The checkpoints of one run; made by `open_checkpoints`.

  Attributes:
    folder: where they lie.
    config: the resolved config, JSON-able; a checkpoint of another is refused.
    free: keys of config that may differ.
    manager: Orbax's.
    with_new_names: the config of an older checkpoint -> the same under the names
      that `config` uses.
  """

  folder: pathlib.Path
  config: dict
  free: tuple[str, ...]
  manager: ocp.CheckpointManager
  with_new_names: Callable[[dict], dict] = dict

  def save(self, state: Any, wait: bool = False) -> None:
    """Saves at state.step; returns once the arrays are copied, or written.

    Raises:
      OSError: this save failed (if waited for), or the one before.
    """
    step = int(state.step)
    self.check(wait=True)
    if step in self.manager.all_steps():
      return
    copied = digest.snapshot(state)  # the next step takes over the buffers
    meta = {"step": step, "config": self.config, "leaves": copied}
    items = ocp.args.Composite(
        state=ocp.args.StandardSave(_without_ema(state)),
        ema=ocp.args.StandardSave(state.ema), meta=_MetaSave(meta))
    try:
      if not self.manager.save(step, args=items, force=True):
        raise OSError("Orbax declined to save it")
    except Exception as e:
      raise OSError(f"saving step {step} in {self.folder} failed: {e}") from e
    if wait:
      self.check(wait=True)

  def check(self, wait: bool = False) -> bool:
    """Whether no save is under way; `wait` ends it first.

    Raises:
      OSError: a save has failed.
    """
    try:
      if wait:
        self.manager.wait_until_finished()
      self.manager.check_for_errors()
    except Exception as e:
      raise OSError(f"saving a checkpoint in {self.folder} failed: {e}; free "
                    "some space and run the same command again") from e
    if wait and multihost.first():
      shutil.rmtree(self.folder / TRASH, ignore_errors=True)
    return not self.manager.is_saving_in_progress()

  def restore(self, abstract: Any) -> Any:
    """The newest state that verifies, or None where there is no checkpoint.

    Damaged steps newer than it are moved to `damaged/` beside the checkpoints.

    Args:
      abstract: TrainState of ShapeDtypeStructs with shardings.

    Raises:
      ValueError: the config differs, or no step is whole.
    """
    reader = _reader(self.folder)
    # A listing of a bucket may be old: the first one's counts.
    steps = json.loads(multihost.exchange(json.dumps(
        sorted(reader.all_steps(), reverse=True)))[0])
    damaged: list[tuple[int, str]] = []
    for step in steps:
      meta: dict = {}
      fault = ""
      try:
        meta = _meta(reader, step)
      except Exception as e:  # pylint: disable=broad-except
        fault = f"meta: {_first_line(e)}"
      fault = _agreed(fault)
      if not fault:
        config_changes.refuse(self.with_new_names(meta["config"]), self.config,
                              self.free, self.folder)
        state, fault = self._read(reader, step, abstract, meta)
      if not fault:
        self._move_damaged(damaged)
        return state
      damaged.append((step, fault))
    if steps:
      raise ValueError(
          f"none of the checkpoints {steps} in {self.folder} is whole: "
          f"{damaged[0][1]}; delete the folder to start again")
    return None

  def _read(self, reader, step: int, abstract, meta: dict):
    """(state, ""), or (None, what is wrong with it)."""
    leaves = old_names.with_new_names(meta["leaves"])
    mismatch = _dtype_fault(abstract, leaves)
    if mismatch:
      raise ValueError(f"step {step} in {self.folder}: {mismatch}")
    old = leaves.keys() != meta["leaves"].keys()
    stored = old_names.with_old_names if old else lambda tree: tree
    items: Any = None
    fault = ""
    try:
      items = reader.restore(step, args=ocp.args.Composite(
          state=ocp.args.StandardRestore(stored(_without_ema(abstract))),
          ema=ocp.args.StandardRestore(stored(abstract.ema))))
    except Exception as e:  # pylint: disable=broad-except
      fault = _first_line(e)
    fault = _agreed(fault)
    if fault:
      return None, fault
    if old:
      items = {"state": old_names.like(_without_ema(abstract), items["state"]),
               "ema": old_names.like(abstract.ema, items["ema"])}
    state = items["state"].replace(ema=items["ema"])
    wrong = digest.differences(leaves, digest.describe(state))
    return (None, f"{wrong[0]} is not what was saved") if wrong else (
        state, "")

  def _move_damaged(self, damaged):
    for step, fault in damaged if multihost.first() else ():
      moved = self.folder.parent / "damaged" / f"{step}"
      moved.parent.mkdir(exist_ok=True)
      shutil.rmtree(moved, ignore_errors=True)
      (self.folder / f"{step}").rename(moved)
      logging.warning("checkpoint of step %d is damaged (%s): moved to %s",
                      step, fault, moved)
    if damaged:
      multihost.exchange()  # until they are moved
      self.manager.reload()

  def close(self) -> None:
    """Waits for the save under way and lets go of the folder."""
    self.check(wait=True)
    self.manager.close()


def open_checkpoints(workdir: str | os.PathLike, config: dict,
                     free: tuple[str, ...] = config_changes.FREE, keep: int = 2,
                     with_new_names: Callable[[dict], dict] = dict
                     ) -> Checkpoints:
  """Opens or makes the checkpoints of a run.

  Args:
    workdir: the run's folder.
    config: the resolved config, JSON-able.
    free: keys of config that a later run may change.
    keep: how many of the newest steps to keep.
    with_new_names: as in Checkpoints.
  """
  folder = (pathlib.Path(workdir) / FOLDER).absolute()
  # A step without a commit and a deletion cut short belong to a killed run.
  if multihost.first():
    for rest in (folder / TRASH, *folder.glob("*.orbax-checkpoint-tmp*")):
      shutil.rmtree(rest, ignore_errors=True)
  manager = _manager(folder, max_to_keep=keep, todelete_subdir=TRASH)
  return Checkpoints(folder, json.loads(json.dumps(config)), tuple(free),
                     manager, with_new_names)


def load_ema(workdir: str | os.PathLike) -> tuple[dict, dict, int]:
  """The averaged parameters of the newest whole checkpoint, for export.

  Returns:
    (params, config, step): a tree of numpy arrays, the config and the step.

  Raises:
    ValueError: there is no checkpoint, or none is whole.
  """
  folder = (pathlib.Path(workdir) / FOLDER).absolute()
  if not folder.is_dir():
    raise ValueError(f"{workdir} holds no checkpoint: train first")
  device = mesh_lib.replicated(
      mesh_lib.make_mesh(devices=jax.local_devices()[:1]))
  manager = _reader(folder)
  faults = []
  for step in sorted(manager.all_steps(), reverse=True):
    try:
      meta = _meta(manager, step)
      ema = manager.restore(step, args=ocp.args.Composite(
          ema=ocp.args.StandardRestore(
              digest.skeleton(meta["leaves"], "ema", device))))["ema"]
    except Exception as e:  # pylint: disable=broad-except
      faults.append(f"step {step}: {_first_line(e)}")
      continue
    wrong = digest.differences(digest.describe({"ema": ema}), meta["leaves"])
    if not wrong:
      for fault in faults:
        logging.warning("checkpoint passed over: %s", fault)
      params = jax.tree.map(np.asarray, ema)
      return old_names.with_new_names(params), meta["config"], step
    faults.append(f"step {step}: {wrong[0]} is not what was saved")
  raise ValueError(f"no checkpoint in {folder} is whole: "
                   f"{'; '.join(faults) or 'there is none'}")


def _manager(folder: pathlib.Path, **options) -> ocp.CheckpointManager:
  hush.hush()
  return ocp.CheckpointManager(
      folder, options=ocp.CheckpointManagerOptions(**options),
      item_handlers={"state": ocp.StandardCheckpointHandler(),
                     "ema": ocp.StandardCheckpointHandler(),
                     "meta": _MetaHandler()})


def _reader(folder: pathlib.Path) -> ocp.CheckpointManager:
  """A manager that waits for no other process, so that any may fail to read."""
  me = jax.process_index()
  return _manager(
      folder, read_only=True, save_interval_steps=0, create=False,
      multiprocessing_options=ocp.options.MultiprocessingOptions(
          primary_host=me, active_processes={me}))


def _agreed(fault: str) -> str:
  """The fault that any of the processes has found, "" if none has."""
  return next(iter(multihost.exchange(fault)), "")


def _meta(manager: ocp.CheckpointManager, step: int) -> dict:
  """The meta of a step.

  Raises:
    ValueError: it is not what was saved.
  """
  found = manager.restore(
      step, args=ocp.args.Composite(meta=_MetaRestore()))["meta"]
  told = found.pop("digest", None)
  if found.keys() != META or told not in (None, _digest(found)):
    raise ValueError("is not what was saved")
  if told is None:
    logging.warning("checkpoint of step %d is of an older version: its config is "
                    "not verified", step)
  return found


def _digest(meta: dict) -> str:
  """sha256 of what a step says of itself."""
  return hashlib.sha256(json.dumps(meta, sort_keys=True).encode()).hexdigest()


def _first_line(e: Exception) -> str:
  return (str(e).splitlines() or [type(e).__name__])[0]


def _without_ema(state):
  return state.replace(ema=())


def _dtype_fault(abstract, leaves: dict) -> str | None:
  for path, x in jax.tree_util.tree_flatten_with_path(abstract)[0]:
    name, want = mesh_lib.path_name(path), f"{x.dtype} {list(x.shape)}"
    have = leaves.get(name, "absent").rsplit(" ", 1)[0]
    if have != want:
      return f"{name} is {have} in the checkpoint and {want} in this run"
  return None

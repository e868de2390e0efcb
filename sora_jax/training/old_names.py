"""The names in checkpoints that were made before: one map of the keys of a state."""

import dataclasses
from typing import Any

import jax

from sora_jax import mesh as mesh_lib

# What a key of the state was called -> its name now.
OLD_NAMES = {"in_a_row": "consecutive_skips", "critic": "discriminator"}


def with_new_names(leaves: dict[str, Any]) -> dict[str, Any]:
  """Leaves by their paths, under the names of today."""
  return {"/".join(OLD_NAMES.get(name, name) for name in path.split("/")): leaf
          for path, leaf in leaves.items()}


def with_old_names(tree: Any) -> Any:
  """A tree as an older checkpoint holds it; a dataclass becomes a dict."""
  old = {new: name for name, new in OLD_NAMES.items()}
  if dataclasses.is_dataclass(tree):
    tree = {f.name: getattr(tree, f.name) for f in dataclasses.fields(tree)}
  if isinstance(tree, dict):
    return {old.get(k, k): with_old_names(x) for k, x in tree.items()}
  if isinstance(tree, tuple):
    found = map(with_old_names, tree)
    return type(tree)(*found) if hasattr(tree, "_fields") else tuple(found)
  return tree


def like(template: Any, tree: Any) -> Any:
  """The way back of `with_old_names`: its leaves in the shape of `template`."""
  found = with_new_names({mesh_lib.path_name(path): x for path, x in
                           jax.tree_util.tree_flatten_with_path(tree)[0]})
  return jax.tree_util.tree_map_with_path(
      lambda path, _: found[mesh_lib.path_name(path)], template)

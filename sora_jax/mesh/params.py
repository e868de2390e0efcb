"""How parameters lie on the mesh: the rule tables."""

from collections.abc import Callable, Sequence
import functools
import math
import re

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from sora_jax import types
from sora_jax.mesh import activations
from sora_jax.mesh import axes as axes_lib

Rules = tuple[tuple[str, tuple[activations.Axis, ...]], ...]

# The kernels of the blocks are nearly all of a model: they lie over the devices
# that share a row as well, which gather them for a layer at a time.
SHARDS = ("fsdp", "context")
# Devices that parameters are split over, where the memory allows: a gather over
# a whole slice sends more and waits for it (docs/pods.md).
GATHERED = 16
# Path regex -> one entry for each dimension of the parameter, None is
# replicated. Parameters of a scanned stack have a leading layer dimension: the
# first None of their rows. Vectors (biases, norm scales, modulation tables) are
# replicated.
DIT_RULES: Rules = (
    (r"blocks/((self|cross)/[qkv]|mlp/linear_1)/kernel$",
     (None, SHARDS, "tensor")),
    (r"blocks/((self|cross)/out|mlp/linear_2)/kernel$",
     (None, "tensor", SHARDS)),
    (r"(patch|time_1|time_mod|text/linear_1)/kernel$", (None, "fsdp")),
    (r"(head|time_2|text/linear_2)/kernel$", ("fsdp", None)),
    (r"(bias|scale|table)$", ()),
)
TEXT_RULES: Rules = (  # of our own encoder and of T5
    (r"blocks/([qkv]|mlp/(gate|linear_1))/kernel$", (None, "fsdp", "tensor")),
    (r"blocks/(out|mlp/linear_2)/kernel$", (None, "tensor", "fsdp")),
    (r"embed/embedding$", (None, "fsdp")),
    (r"(bias|scale)$", ()),
)
CAPTIONER_RULES: Rules = (
    (r"blocks/((memory_)?[qkv]|mlp/linear_1)/kernel$", (None, "fsdp", "tensor")),
    (r"blocks/((memory_)?out|mlp/linear_2)/kernel$", (None, "tensor", "fsdp")),
    (r"(embed|place|begin|unseen)/embedding$", (None, "fsdp")),
    (r"(patch|where)/kernel$", (None, "fsdp")),
    (r"(text_|/)embedding/kernel$", ("fsdp", None)),
    (r"(bias|scale|queries)$", ()),
)
VAE_RULES: Rules = ((r".*", ()),)  # replicated: small beside its activations


def path_name(path: Sequence) -> str:
  """'blocks/attn1/to_q/kernel' for a jax tree path."""
  return "/".join(str(getattr(k, "key", getattr(k, "name", getattr(
      k, "idx", k)))) for k in path)


def param_specs(params: types.PyTree, rules: Rules) -> types.PyTree:
  """PartitionSpecs of a parameter tree, by the one rule each path matches.

  Raises:
    ValueError: a parameter that no rule or more than one rule matches, or
      whose rule names another number of dimensions.
  """

  def leaf(path, value):
    name = path_name(path)
    found = [axes for regex, axes in rules if re.search(regex, name)]
    if len(found) != 1:
      raise ValueError(f"{name} {value.shape} matches {len(found)} sharding "
                       "rules; it must match exactly one")
    if found[0] and len(found[0]) != len(value.shape):
      raise ValueError(f"{name} has shape {value.shape}, its sharding rule "
                       f"{found[0]} names {len(found[0])} dimensions")
    return PartitionSpec(*found[0])

  return jax.tree_util.tree_map_with_path(leaf, params)


def gathered(params: types.PyTree, rules: Rules, prefix: str,
             dtype: jnp.dtype) -> types.PyTree:
  """A layer's parameters as it computes with them: whole along SHARDS.

  Their gradients are summed straight into the parts that the devices hold, by
  reduce-scatter: the transpose of the constraint alone would ask for whole sums
  on every device, twice the bytes.

  Args:
    params: of one layer of a scanned stack, without its leading axis.
    rules: of the stack's parameters.
    prefix: of the stack's path.
    dtype: of the computation; the matrices are cast to it.
  """
  if activations.current() is None:
    return params

  def leaf(path, value):
    name = f"{prefix}/{path_name(path)}"
    axes = next(axes for regex, axes in rules if re.search(regex, name))[1:]
    if not axes:
      return value
    return _gather(value, axes, value.dtype, dtype)

  return jax.tree_util.tree_map_with_path(leaf, params)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def _gather(value: jax.Array, axes: tuple[activations.Axis, ...],
            stored: jnp.dtype, dtype: jnp.dtype) -> jax.Array:
  """A parameter that lies along `axes`, cast and whole along SHARDS."""
  del stored
  return activations.constrain(value.astype(dtype), *(
      None if a in ("fsdp", SHARDS) else a for a in axes))


def _gather_fwd(value, axes, stored, dtype):
  return _gather(value, axes, stored, dtype), None


def _gather_bwd(axes, stored, dtype, _, grad):
  del dtype
  axes = _fit(grad.shape, axes, activations.size)
  return (activations.constrain(grad, *axes).astype(stored),)


_gather.defvjp(_gather_fwd, _gather_bwd)


def fit(mesh: Mesh, params: types.PyTree, specs: types.PyTree) -> types.PyTree:
  """Specs without the axis context where it does not divide a parameter.

  Nor do parameters lie over it where they would over more than GATHERED devices.
  """
  count = lambda axes: math.prod(mesh.shape[a] for a in axes_lib.names(axes))
  return jax.tree.map(
      lambda value, spec: PartitionSpec(*_fit(value.shape, spec, count)),
      params, specs)


def _fit(shape: Sequence[int], axes: Sequence[activations.Axis],
         count: Callable[[activations.Axis], int]) -> list[activations.Axis]:
  """The axes of each dimension; "fsdp" for SHARDS that are too many for it."""
  alone = lambda n, a: a == SHARDS and (count(a) > GATHERED or n % count(a))
  return ["fsdp" if alone(n, a) else a for n, a in zip(shape, axes)]


def check_division(mesh: Mesh, params: types.PyTree,
                   specs: types.PyTree) -> None:
  """Raises ValueError for a parameter that its mesh axes do not divide."""

  def leaf(path, value, spec):
    for n, axes in zip(value.shape, spec):
      parts = math.prod(mesh.shape[a] for a in axes_lib.names(axes))
      if n % parts:
        raise ValueError(
            f"{path_name(path)} {value.shape} cannot be split over {axes}="
            f"{parts}, which does not divide {n}: choose a smaller {axes}")

  jax.tree_util.tree_map_with_path(leaf, params, specs)


def shardings(mesh: Mesh, specs: types.PyTree) -> types.PyTree:
  """NamedShardings of a tree of PartitionSpecs."""
  return jax.tree.map(lambda s: NamedSharding(mesh, s), specs,
                      is_leaf=lambda s: isinstance(s, PartitionSpec))

"""Who may import whom, checked on the syntax tree of every file.

Data flows left to right and nobody imports to their right; a library that can
be replaced is used in one place. An import inside a function counts like one
at the top of the file.
"""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parent.parent
PACKAGE = "sora_jax"

# Part of the package -> the parts that it may import, besides itself.
GENERATION = ("types", "mesh", "tokens", "models", "diffusion",
              "data.tokenizer", "data.video_io", "training.checkpoint")
BEFORE_TRAINING = ("types", "mesh", "tokens", "worlds", "data", "models",
                   "diffusion")
ALLOWED = {
    "types": (),
    "mesh": ("types",),
    "tokens": ("types",),
    "worlds": ("types",),
    "data": ("types", "tokens", "worlds"),
    "models": ("types", "mesh", "tokens"),
    "diffusion": ("types",),
    "training": BEFORE_TRAINING,
    "generation": GENERATION,
    "language": (*BEFORE_TRAINING, "training", "generation"),
    "evaluation": (*BEFORE_TRAINING, "training", "generation"),
    "": (*GENERATION, "generation"),  # sora_jax/__init__.py
    "__main__": ("main",),
}
ANYTHING = ("main", "cli")  # the command line may import every part

# Library -> the modules of the package that may import it.
HOMES = {
    "orbax": ("training.checkpoint",),
    "grain": ("data",),
    "optax": ("training",),
    "absl": ("main", "cli"),
    "jax.sharding": ("mesh", "models.attention"),
    "jax.distributed": ("mesh",),
    "jax.experimental.multihost_utils": ("mesh",),
    "jax.shard_map": ("mesh", "models.attention"),
    "jax.experimental.shard_map": ("mesh", "models.attention"),
}


def inside(name: str, part: str) -> bool:
  """True if a dotted name is `part` or lies in it."""
  return name == part or name.startswith(part + ".")


def imported(source: str, module: str, is_package: bool) -> set[str]:
  """Every dotted name that a source imports, or reaches through `jax`."""
  names = set()
  for node in ast.walk(ast.parse(source)):
    if isinstance(node, ast.Import):
      names.update(alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      base = node.module or ""
      if node.level:
        parents = f"{PACKAGE}.{module}".rstrip(".").split(".")
        up = node.level - is_package
        base = ".".join(parents[:len(parents) - up] + ([base] if base else []))
      # `from a import b` is a.b: a module, or a name whose home is a.
      names.update(f"{base}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.Attribute):
      names.update(n for n in [dotted(node)] if n and inside(n, "jax"))
  return names


def dotted(node: ast.AST) -> str | None:
  """'jax.sharding.Mesh' for that attribute chain, None for other nodes."""
  if isinstance(node, ast.Name):
    return node.id
  if isinstance(node, ast.Attribute):
    base = dotted(node.value)
    return base and f"{base}.{node.attr}"
  return None


def violations(module: str, source: str, is_package: bool = False) -> list[str]:
  """What a module of the package imports and may not.

  Args:
    module: its dotted name without the package, "" for the package itself.
    source: its text.
    is_package: True for an __init__.py.
  """
  part = module.split(".")[0]
  found = []
  for name in sorted(imported(source, module, is_package)):
    for library, homes in HOMES.items():
      if inside(name, library) and not any(inside(module, h) for h in homes):
        found.append(f"{module} imports {name}, which belongs in {homes}")
    if inside(name, PACKAGE) and part not in ANYTHING:
      ours = name[len(PACKAGE) + 1:]
      allowed = (*ALLOWED[part], part) if part else ALLOWED[part]
      if not any(inside(ours, a) for a in allowed):
        found.append(f"{module} imports {name}, it may import only {allowed}")
  return found


def module_name(path: pathlib.Path) -> str:
  """'data.plan' for sora_jax/data/plan.py, 'data' for its __init__.py."""
  parts = path.relative_to(ROOT / PACKAGE).with_suffix("").parts
  return ".".join(p for p in parts if p != "__init__")


FILES = sorted((ROOT / PACKAGE).rglob("*.py"))


def test_every_part_of_the_package_has_a_rule():
  parts = {module_name(path).split(".")[0] for path in FILES}
  assert {"types", "mesh", "tokens", "data", "models"} <= parts
  assert not parts - set(ALLOWED) - set(ANYTHING)


@pytest.mark.parametrize(
    "path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_respect_the_layers(path):
  assert violations(module_name(path), path.read_text(encoding="utf-8"),
                    path.name == "__init__.py") == []


@pytest.mark.parametrize(
    "path", sorted((ROOT / "configs").glob("*.py")), ids=lambda p: p.name)
def test_configs_import_nothing_of_ours(path):
  names = imported(path.read_text(encoding="utf-8"), path.stem, False)
  assert not [n for n in names if inside(n, PACKAGE)]


BAD = {
    "to the right": ("data.plan", "from sora_jax.models import dit"),
    "to the right, as a package": ("data", "import sora_jax.models"),
    "in a function": ("diffusion.process",
                      "def f():\n  from sora_jax import mesh\n"),
    "relative": ("models.dit", "from ..training import loop"),
    "the whole package": ("evaluation.report", "import sora_jax"),
    "its verbs": ("evaluation.report", "from sora_jax import load"),
    "a part of a part": ("generation.pipeline",
                         "from sora_jax.data import plan"),
    "the trainer": ("generation.pipeline", "from sora_jax.training import loop"),
    "types": ("types", "from sora_jax import tokens"),
    "orbax": ("training.loop", "import orbax.checkpoint as ocp"),
    "grain": ("training.loop", "from grain import python"),
    "optax": ("models.dit", "import optax"),
    "absl": ("worlds.facts", "from absl import logging"),
    "sharding": ("models.dit", "from jax.sharding import PartitionSpec"),
    "sharding as a name": ("training.state", "from jax import sharding"),
    "sharding as an attribute": ("models.vae",
                                 "import jax\nx = jax.sharding.Mesh\n"),
    "several processes": ("training.loop",
                          "import jax\njax.distributed.initialize()\n"),
    "shard_map": ("models.dit", "import jax\njax.shard_map(f)\n"),
    "old shard_map": ("training.loop",
                      "from jax.experimental.shard_map import shard_map"),
}


@pytest.mark.parametrize("module, source", BAD.values(), ids=BAD.keys())
def test_a_violation_is_seen(module, source):
  assert violations(module, source, "." not in module)


GOOD = {
    "to the left": ("training.loop", "from sora_jax import types, mesh"),
    "itself": ("models.dit", "from sora_jax.models import layers"),
    "relative": ("models.dit", "from . import layers"),
    "relative in a package": ("worlds", "from . import balls"),
    "one module of a part": ("generation.pipeline",
                             "from sora_jax.data import video_io, tokenizer"),
    "optax": ("training.state", "import optax"),
    "the command line": ("cli.train", "from sora_jax.training import loop\n"
                         "from absl import flags"),
    "no sharding": ("models.dit", "import jax\njax.sharding_rules\n"),
}


@pytest.mark.parametrize("module, source", GOOD.values(), ids=GOOD.keys())
def test_what_is_allowed_passes(module, source):
  assert violations(module, source, "." not in module) == []

"""Who may import whom, checked on the syntax tree of every file.

Data flows down the rooms and nobody imports from below; a library that can be
replaced is used in one place. An import inside a function counts like one at
the top of the file.
"""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parent.parent
PACKAGE = "sora_jax"

# The rooms of docs/architecture.md, from the ground up: a room imports only from
# rooms above its line, and modules of a room never import each other in a circle.
ROOMS = ("messages", "extras", "stations", "types", "contracts", "files",
         "ranges", "mesh", "worlds", "media", "text", "geometry", "models",
         "diffusion", "formats", "data.store", "data.sources", "data.prepare",
         "data.loading", "data.pixels", "encoding", "training", "generation",
         "language", "evaluation", "tasks", "aot", "studio", "cli", "main",
         "__main__")
# The package itself gives its users names of these rooms.
DOOR = ("generation", "language", "media", "tasks")

# Library -> the modules of the package that may import it.
HOMES = {
    "orbax": ("training.checkpoint",),
    "grain": ("data.loading",),
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


def room_of(name: str) -> str | None:
  """The room that a dotted name of the package lies in."""
  return next((r for r in ROOMS if inside(name, r)), None)


def violations(module: str, source: str, is_package: bool = False) -> list[str]:
  """What a module of the package imports and may not.

  Args:
    module: its dotted name without the package, "" for the package itself.
    source: its text.
    is_package: True for an __init__.py.
  """
  room, found = room_of(module), []
  for name in sorted(imported(source, module, is_package)):
    for library, homes in HOMES.items():
      if inside(name, library) and not any(inside(module, h) for h in homes):
        found.append(f"{module} imports {name}, which belongs in {homes}")
    if not inside(name, PACKAGE):
      continue
    ours = name[len(PACKAGE) + 1:]
    theirs = room_of(ours)
    if theirs is None:
      found.append(f"{module} imports {name}, which is in no room")
    elif room is None and theirs not in DOOR:
      found.append(f"{module or PACKAGE} imports {name}, it may import {DOOR}")
    elif room and ROOMS.index(theirs) > ROOMS.index(room):
      found.append(f"{module} of {room} imports {name} of {theirs}, which lies "
                   "below it")
  return found


def circles(sources: dict[str, str]) -> list[list[str]]:
  """Circles of imports among modules, function-level imports included."""
  edges = {m: {t for name in imported(s, m, False) if inside(name, PACKAGE)
               for t in sources if t == name[len(PACKAGE) + 1:]}
           for m, s in sources.items()}
  found, done = [], set()

  def walk(module, path):
    if module in path:
      found.append([*path[path.index(module):], module])
    elif module not in done:
      for other in sorted(edges[module]):
        walk(other, [*path, module])
      done.add(module)

  for module in sources:
    walk(module, [])
  return found


def module_name(path: pathlib.Path) -> str:
  """'data.plan' for sora_jax/data/plan.py, 'data' for its __init__.py."""
  parts = path.relative_to(ROOT / PACKAGE).with_suffix("").parts
  return ".".join(p for p in parts if p != "__init__")


FILES = sorted((ROOT / PACKAGE).rglob("*.py"))


def test_every_module_is_in_a_room():
  homeless = [n for n in map(module_name, FILES) if n and not room_of(n)
              and n != "data"]
  assert not homeless


def test_there_is_no_circle():
  assert not circles({module_name(p): p.read_text(encoding="utf-8")
                      for p in FILES if p.name != "__init__.py"})


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
    "below": ("data.loading.plan", "from sora_jax.encoding import video"),
    "below, as a package": ("models.dit", "import sora_jax.training"),
    "in a function": ("mesh.axes", "def f():\n  from sora_jax import worlds\n"),
    "relative": ("models.dit", "from ..training import loop"),
    "the whole package": ("evaluation.worlds", "import sora_jax"),
    "its verbs": ("evaluation.worlds", "from sora_jax import load"),
    "a room of a part": ("data.sources.folders",
                         "from sora_jax.data.prepare import scan"),
    "the tasks": ("generation.pipeline", "from sora_jax.tasks import dit"),
    "stations": ("stations", "from sora_jax import types"),
    "orbax": ("training.loop", "import orbax.checkpoint as ocp"),
    "grain": ("training.loop", "from grain import python"),
    "optax": ("models.dit", "import optax"),
    "absl": ("worlds.facts", "from absl import logging"),
    "sharding": ("models.dit", "from jax.sharding import PartitionSpec"),
    "sharding as a name": ("training.state", "from jax import sharding"),
    "sharding as an attribute": ("models.vae.vae",
                                 "import jax\nx = jax.sharding.Mesh\n"),
    "several processes": ("training.loop",
                          "import jax\njax.distributed.initialize()\n"),
    "shard_map": ("models.dit", "import jax\njax.shard_map(f)\n"),
    "old shard_map": ("training.loop",
                      "from jax.experimental.shard_map import shard_map"),
}


@pytest.mark.parametrize("module, source", BAD.values(), ids=BAD.keys())
def test_a_violation_is_seen(module, source):
  assert violations(module, source)


GOOD = {
    "above": ("training.loop", "from sora_jax import types, mesh"),
    "itself": ("models.dit", "from sora_jax.models import layers"),
    "relative": ("models.dit", "from . import layers"),
    "a room of a part": ("data.prepare.scan",
                         "from sora_jax.data.sources import items"),
    "optax": ("training.state", "import optax"),
    "the command line": ("cli.train", "from sora_jax.training import loop\n"
                         "from absl import flags"),
    "no sharding": ("models.dit", "import jax\njax.sharding_rules\n"),
}


@pytest.mark.parametrize("module, source", GOOD.values(), ids=GOOD.keys())
def test_what_is_allowed_passes(module, source):
  assert violations(module, source) == []


def test_a_circle_is_seen():
  two = {"a": "def f():\n  from sora_jax import b\n",
         "b": "from sora_jax import c", "c": "from sora_jax import a"}
  assert circles(two) == [["a", "b", "c", "a"]]

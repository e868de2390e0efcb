"""What a verb or a room reaches by its imports: `python tests/test_closures.py`.

A closure is counted from the syntax tree: the imports at the top of a file, and
with them those inside functions and the modules that tables name as strings.
"""

import ast
import functools
import json
import os
import pathlib
import subprocess
import sys

import pytest

from sora_jax import main
from sora_jax.formats import find
from sora_jax.formats import pretrained
from sora_jax.tasks import task
import toy_data

ROOT = pathlib.Path(__file__).parent.parent
PACKAGE = ROOT / "sora_jax"
# Training and its data know nothing of these.
OTHERS = ("formats", "encoding", "generation", "media", "cli")


def name_of(path: pathlib.Path) -> str:
  """'sora_jax.data' for sora_jax/data/__init__.py."""
  parts = path.relative_to(ROOT).with_suffix("").parts
  return ".".join(p for p in parts if p != "__init__")


FILES = {name_of(p): p for p in sorted(PACKAGE.rglob("*.py"))}


def names(nodes) -> set[str]:
  """Every dotted name that import statements name."""
  found = set()
  for node in nodes:
    if isinstance(node, ast.Import):
      found.update(alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      found.update(f"{node.module}.{alias.name}" for alias in node.names)
  return found


def run_nodes(node: ast.AST, functions: bool):
  """The nodes below one that can run, those in functions if asked for."""
  for child in ast.iter_child_nodes(node):
    typing = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(
        child.test)
    if not typing and (functions or not isinstance(
        child, ast.FunctionDef | ast.Lambda)):
      yield child
      yield from run_nodes(child, functions)


@functools.cache
def imports(module: str) -> tuple[set[str], set[str]]:
  """What a module of ours imports: when it is imported, and at any time."""
  tree = ast.parse(FILES[module].read_text(encoding="utf-8"))
  nodes = list(run_nodes(tree, True))
  lazy = {n.value for n in nodes if isinstance(n, ast.Constant)
          and n.value in FILES}
  return names(run_nodes(tree, False)), names(nodes) | lazy


def closure(modules, at_any_time: bool = True) -> set[str]:
  """All modules of ours, and all others, that some modules of ours reach."""
  found, todo = set(), list(modules)
  while todo:
    module = todo.pop()
    if module in found:
      continue
    found.add(module)
    if module not in FILES or module == "sora_jax":  # the door opens on demand
      continue
    for name in imports(module)[at_any_time]:
      parts = name.split(".")
      parents = {".".join(parts[:i]) for i in range(1, len(parts) + 1)}
      todo += parents & FILES.keys() or {parts[0]}
    todo += {module.rpartition(".")[0]} & FILES.keys()
  return found


def size(modules) -> tuple[int, int]:
  """Files and lines of ours."""
  paths = [FILES[m] for m in modules if m in FILES]
  return len(paths), sum(len(p.read_text(encoding="utf-8").splitlines())
                         for p in paths)


def of_verb(verb: str, at_any_time: bool = True) -> set[str]:
  """The closure of `sora-jax VERB`."""
  start = "sora_jax.cli." + verb.replace("-", "_")
  return closure([start], at_any_time)


def room(name: str) -> list[str]:
  """The modules of a room."""
  return [m for m in FILES if (m + ".").startswith(f"sora_jax.{name}.")]


def table() -> str:
  """Files and lines that each verb reaches."""
  lines = [f"{'verb':10} {'at import':>18} {'at any time':>18}"]
  for verb in main.VERBS:
    shown = ["{:3} files {:5} lines".format(*size(of_verb(verb, any_time)))
             for any_time in (False, True)]
    lines.append(f"{verb:10} {shown[0]:>18} {shown[1]:>18}")
  for kind, module in task.TASKS.items():  # what one run of it needs
    run = closure(["sora_jax.cli.train", module], False)
    lines.append(f"train {kind:4} {{:3}} files {{:5}} lines".format(*size(run)))
  return "\n".join(lines)


def test_every_verb_is_counted():
  print("\n" + table())
  for verb in main.VERBS:
    files, lines = size(of_verb(verb))
    assert 5 < files <= len(FILES) and lines > 500
    assert of_verb(verb, False) <= of_verb(verb)


@pytest.mark.parametrize("name", ["training", "data.loading"])
def test_training_reaches_nothing_of_other_rooms(name):
  reached = closure(room(name))
  wrong = reached & {m for other in OTHERS for m in room(other)}
  assert room(name) and not wrong


def test_workers_of_prepare_reach_no_jax():
  reached = closure([*room("data.prepare"), *room("data.sources")])
  assert {"numpy", "av"} <= reached
  users = {m: [{name.split(".")[0] for name in names} & {"jax", "flax", "optax"}
               for names in imports(m)] for m in reached & FILES.keys()}
  # The game of craft is a program in jax, which is loaded when it is played.
  assert {m: u for m, u in users.items() if any(u)} == {
      "sora_jax.worlds.craft_game": [set(), {"jax"}],
      "sora_jax.worlds.craft_screen": [set(), {"jax"}]}


def test_an_import_in_a_function_is_counted(monkeypatch, tmp_path):
  top, lazy = tmp_path / "top.py", tmp_path / "lazy.py"
  top.write_text("import av\ndef f():\n  from sora_jax import lazy\n")
  lazy.write_text("import jax\n")
  monkeypatch.setitem(FILES, "sora_jax.top", top)
  monkeypatch.setitem(FILES, "sora_jax.lazy", lazy)
  imports.cache_clear()
  assert {"av"} <= closure(["sora_jax.top"], False)
  assert "jax" not in closure(["sora_jax.top"], False)
  assert {"av", "jax", "sora_jax.lazy"} <= closure(["sora_jax.top"])
  imports.cache_clear()


def loaded(code: str, *argv: str) -> set[str]:
  """The packages that a fresh process has after some code."""
  code += "\nprint(*sorted({m.split('.')[0] for m in sys.modules}))"
  done = subprocess.run([sys.executable, "-c", "import sys\n" + code, *argv],
                        cwd=ROOT, env=os.environ | {
                            "JAX_PLATFORMS": "cpu",
                            "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"},
                        capture_output=True, text=True, check=False)
  assert done.returncode == 0, done.stderr[-2000:]
  return set(done.stdout.splitlines()[-1].split())


def test_a_worker_of_prepare_loads_no_jax():
  found = loaded("import multiprocessing\n"
                 "from sora_jax.data.prepare import prepare, transcode, scan\n"
                 "from sora_jax.cli import prepare")
  assert "av" in found and not {"jax", "tensorflow"} & found


@pytest.mark.slow
def test_training_from_latents_loads_no_video_library(pixels, tmp_path):
  digest = pretrained.load(find.find("tiny"), components=("vae",)).digest
  toy_data.synthetic(pixels, tmp_path / "latents", vae=digest, channels=16,
                     splits=("train", "val"))
  found = loaded(
      "from sora_jax import main\nassert main.main(sys.argv[1:]) == 0",
      "train", "--config=configs/dit.py:test", "--config.steps=1",
      "--config.loop.preview_every=0", "--config.transformer.layers=1",
      "--config.optimizer.name=adamw",
      "--config.data.shapes=((2,64),)", f"--data={tmp_path}/latents",
      "--vae=tiny", f"--workdir={tmp_path}/run")
  line = json.loads((tmp_path / "run" / "metrics.jsonl").read_text())
  assert "jax" in found and line["val_loss"] > 0
  assert not {"av", "tensorflow_datasets"} & found


if __name__ == "__main__":
  print(table())

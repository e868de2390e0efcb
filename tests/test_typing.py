"""The package is typed: the type checker agrees, and no signature is bare."""

import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent


@pytest.mark.slow
def test_mypy_has_nothing_to_say():
  done = subprocess.run(
      [sys.executable, "-m", "mypy", "--no-error-summary"], cwd=ROOT,
      capture_output=True, text=True, check=False)
  assert done.returncode == 0, done.stdout + done.stderr


def bare(tree: ast.AST) -> list[str]:
  """The public functions and methods that lack an annotation, and of what."""
  found = []

  def visit(node: ast.AST, method: bool):
    for child in ast.iter_child_nodes(node):
      if isinstance(child, ast.ClassDef):
        if not child.name.startswith("_"):
          visit(child, True)
      elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
        if not child.name.startswith("_") or child.name in ("__call__",
                                                            "__init__"):
          check(child, method)
      elif isinstance(child, ast.If | ast.Try):
        visit(child, method)

  def check(function, method: bool):
    a = function.args
    named = [*a.posonlyargs, *a.args, *a.kwonlyargs, a.vararg, a.kwarg]
    static = any(getattr(d, "id", "") == "staticmethod"
                 for d in function.decorator_list)
    named = [x for x in named if x][method and not static:]
    missing = [x.arg for x in named if x.annotation is None]
    if function.returns is None and function.name != "__init__":
      missing.append("the result")
    if missing:
      found.append(f"{function.name} (line {function.lineno}): "
                   f"{', '.join(missing)}")

  visit(tree, False)
  return found


def test_public_functions_are_annotated():
  found = {str(p.relative_to(ROOT)): bare(ast.parse(p.read_text("utf-8")))
           for p in (ROOT / "sora_jax").rglob("*.py")}
  assert not {name: functions for name, functions in found.items() if functions}


def test_a_bare_signature_is_seen():
  source = """
def f(x, *args) -> int: ...
class A:
  def g(self, y: int): ...
  def __call__(self, z) -> int: ...
def whole(x: int) -> int: ...
def _private(x): ...
"""
  assert bare(ast.parse(source)) == [
      "f (line 2): x, args", "g (line 4): the result", "__call__ (line 5): z"]

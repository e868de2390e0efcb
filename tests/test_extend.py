"""The recipes of docs/extend.md, followed step by step in a copy of the package.

A fenced block says what is done with it: ```python FILE is written, ```diff FILE
is applied, ```python check is run, and so is every line of ```sh.
"""

import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
PAGE = ROOT / "docs" / "extend.md"
BLOCK = re.compile(r"^```(\w+) ?(.*)\n((?:.*\n)*?)^```$", re.MULTILINE)


def recipes() -> dict[str, list[tuple[str, str, str]]]:
  """Title -> its blocks (language, file or "check", text)."""
  sections = re.split(r"^## (.+)\n", PAGE.read_text(), flags=re.MULTILINE)[1:]
  return {title: BLOCK.findall(text)
          for title, text in zip(sections[::2], sections[1::2])}


def apply(diff: str, text: str) -> str:
  """A text with each hunk of a diff applied; hunks are divided by @@ lines."""
  for hunk in re.split(r"^@@.*\n", diff, flags=re.MULTILINE):
    lines = hunk.splitlines()
    old = "".join(f"{line[1:]}\n" for line in lines if line[:1] != "+")
    new = "".join(f"{line[1:]}\n" for line in lines if line[:1] != "-")
    assert text.count(old) == 1, f"found {text.count(old)} times:\n{old}"
    text = text.replace(old, new)
  return text


@pytest.fixture(scope="module")
def house(tmp_path_factory):
  """A copy of the package in which all recipes are followed."""
  at = tmp_path_factory.mktemp("house")
  for name in ("sora_jax", "configs"):
    shutil.copytree(ROOT / name, at / name,
                    ignore=shutil.ignore_patterns("__pycache__"))
  for blocks in recipes().values():
    for language, name, text in blocks:
      if language == "diff":
        (at / name).write_text(apply(text, (at / name).read_text()))
      elif language == "python" and name != "check":
        assert not (at / name).exists(), name
        (at / name).write_text(text)
  return at


def run(house, argv) -> None:
  """Runs a command in the copy, on a CPU that looks like two devices."""
  env = os.environ | {
      "PYTHONPATH": str(house), "JAX_PLATFORMS": "cpu",
      "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
  done = subprocess.run([sys.executable, *argv], cwd=house, env=env, text=True,
                        capture_output=True, check=False)
  assert done.returncode == 0, done.stdout + done.stderr[-3000:]


@pytest.mark.parametrize("title", recipes())
def test_a_recipe_works(title, house):
  blocks = recipes()[title]
  ran = 0
  for language, name, text in blocks:
    if language == "python" and name == "check":
      run(house, ["-c", text])
      ran += 1
    for line in text.splitlines() if language == "sh" else ():
      program, *argv = shlex.split(line)
      assert program == "sora-jax", line
      run(house, ["-m", "sora_jax", *argv])
      ran += 1
  assert ran


@pytest.mark.parametrize("title", recipes())
def test_a_recipe_takes_two_files(title):
  blocks = recipes()[title]
  assert 1 <= len({name for language, name, _ in blocks
                   if language != "sh" and name != "check"}) <= 2


def test_the_copy_keeps_to_the_layers(house):
  import test_layering
  for path in (house / "sora_jax").rglob("*.py"):
    parts = path.relative_to(house / "sora_jax").with_suffix("").parts
    module = ".".join(p for p in parts if p != "__init__")
    assert not test_layering.violations(module, path.read_text(),
                                        path.name == "__init__.py")


def test_a_diff_must_fit_once():
  assert apply(" a\n-b\n+c\n", "a\nb\nd\n") == "a\nc\nd\n"
  with pytest.raises(AssertionError, match="found 2 times"):
    apply(" a\n+b\n", "a\na\n")

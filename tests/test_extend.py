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


def script(blocks) -> str:
  """The checks and commands of a recipe, in their order, as one program."""
  lines = []
  for language, name, text in blocks:
    if language == "python" and name == "check":
      lines.append(text)
    for line in text.splitlines() if language == "sh" else ():
      program, *argv = shlex.split(line)
      assert program == "sora-jax", line
      lines.append("from sora_jax import main as door\n"
                   f"assert door.main({argv!r}) == 0, {line!r}\n")
  return "".join(lines)


@pytest.mark.slow
@pytest.mark.parametrize("title", recipes())
def test_a_recipe_works(title, house):
  program = script(recipes()[title])
  assert program
  env = os.environ | {  # a CPU that looks like two devices
      "PYTHONPATH": str(house), "JAX_PLATFORMS": "cpu",
      "XLA_FLAGS": os.environ["XLA_FLAGS"]
                   + " --xla_force_host_platform_device_count=2"}
  done = subprocess.run([sys.executable, "-c", program], cwd=house, env=env,
                        text=True, capture_output=True, check=False)
  assert done.returncode == 0, done.stdout + done.stderr[-3000:]


@pytest.mark.parametrize("title", recipes())
def test_a_recipe_takes_two_files(title):
  blocks = recipes()[title]
  assert 1 <= len({name for language, name, _ in blocks
                   if language != "sh" and name != "check"}) <= 2


@pytest.mark.parametrize("title", recipes())
def test_a_recipe_keeps_to_the_layers(title, house):
  import test_layering
  for name in {n for _, n, _ in recipes()[title] if n.startswith("sora_jax/")}:
    parts = pathlib.Path(name).relative_to("sora_jax").with_suffix("").parts
    module = ".".join(p for p in parts if p != "__init__")
    assert not test_layering.violations(
        module, (house / name).read_text(), name.endswith("__init__.py"))


def test_a_diff_must_fit_once():
  assert apply(" a\n-b\n+c\n", "a\nb\nd\n") == "a\nc\nd\n"
  with pytest.raises(AssertionError, match="found 2 times"):
    apply(" a\n+b\n", "a\na\n")

"""Every `sora-jax` command line of the documents is one that the verb takes."""

import ast
import importlib
import pathlib
import re
import shlex

from absl import flags
import pytest
import test_layering

from sora_jax import main

ROOT = pathlib.Path(__file__).parent.parent
DOCUMENTS = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md",
             *sorted(ROOT.glob("docs/*.md")),
             ROOT / "experiments" / "README.md",
             ROOT / "sora_jax" / "weights" / "tiny" / "README.md")


class Parsed(Exception):
  """The flags of a verb, its argument, were read: it would begin its work."""


def commands(text: str) -> list[list[str]]:
  """The arguments of each `sora-jax ..`, without comments and placeholders."""
  shown = re.findall(r"^    .*?\bsora-jax +(.+)", text, re.MULTILINE)
  named = re.findall(r"`sora-jax +([^`]+)`", text)
  found = [shlex.split(line.split(" && ")[0], comments=True)
           for line in [*shown, *named]]
  return [line for line in found if line[0] in main.VERBS or line[0].islower()]


def read(monkeypatch, argv: list[str]) -> flags.FlagValues:
  """Lets the verb read its flags, and stops it there."""
  parse = flags.FlagValues.__call__

  def stop(values, given, *args):
    parse(values, given, *args)
    raise Parsed(values)

  argv = [a for a in argv if a not in ("..", "--help")]
  if argv[0] == "train" and not any(a.startswith("--config=") for a in argv):
    argv.append("--config=configs/dit.py:tiny")  # a `..` stands for it
  verb = importlib.import_module(f"sora_jax.cli.{argv[0].replace('-', '_')}")
  with monkeypatch.context() as patch, pytest.raises(Parsed) as found:
    patch.setattr(flags.FlagValues, "__call__", stop)
    verb.run(argv)
  return found.value.args[0]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: str(
    p.relative_to(ROOT)))
def test_commands_are_taken(path, monkeypatch):
  monkeypatch.chdir(ROOT)  # where configs/ is
  wrong = []
  for argv in commands(path.read_text()):
    if argv[0] not in main.VERBS:
      wrong.append(f"{argv[0]}: no such verb")
      continue
    try:
      read(monkeypatch, argv)
    except (flags.Error, ValueError, OSError) as e:
      wrong.append(f"{shlex.join(argv)}: {e}")
  assert not wrong, "\n".join(wrong)


def test_the_videos_of_the_readme_were_judged():
  """Whoever changes these commands runs experiments/prompting/commands.py."""
  *lines, held = (ROOT / "experiments" / "prompting" / "commands.txt").read_text(
      ).splitlines()
  section = DOCUMENTS[0].read_text().split("## Make videos")[1].split("\n## ")[0]
  wanted = set()
  for argv in commands(section):
    flag = dict(a.split("=", 1) for a in argv if a.startswith("--"))
    stem, end = flag["--out"].split(".")
    first, count = int(flag.get("--seed", 0)), int(flag.get("--count", 1))
    wanted |= {f"{stem}-{first + i}.{end}" if count > 1 else flag["--out"]
               for i in range(count)}
  judged = {line.split()[0] for line in lines}
  assert judged == wanted - {"minute.mp4"} and len(judged) > 12
  assert held == "held" and not any("WRONG" in line for line in lines)


def test_commands_are_found():
  text = """
    python3 -m venv .venv && .venv/bin/sora-jax generate --prompt="a b" --out=c
    sora-jax loop --help  # a comment
`sora-jax VERB --help` and `sora-jax plan --what=decode`.
"""
  assert commands(text) == [["generate", "--prompt=a b", "--out=c"],
                            ["loop", "--help"], ["plan", "--what=decode"]]
  assert len(commands(DOCUMENTS[0].read_text())) > 20


@pytest.mark.parametrize("line", [
    "generate --promt=x", "generate --frames=many",
    "train --config=configs/dit.py:huge", "train --config=configs/no.py:tiny",
    "train --config=configs/dit.py:tiny --config.data.shape=3"])
def test_wrong_commands_are_seen(line, monkeypatch):
  monkeypatch.chdir(ROOT)
  with pytest.raises((flags.Error, ValueError, OSError)):
    read(monkeypatch, line.split())


def test_the_format_page_has_every_flag_of_prepare(monkeypatch):
  page = (ROOT / "docs" / "data.md").read_text()
  values = read(monkeypatch, ["prepare", "folder:clips", "--out=data"])
  named = re.findall(r"`--([\w-]+)`", page)
  assert {n.replace("-", "_") for n in named} == set(values) - {"out"}
  for names, cell in re.findall(r"^\| `--([^|]+)` \| ([^|]+) \|", page,
                                re.MULTILINE):
    for name, default in zip(names.split("`, `--"), cell.split(", ")):
      value = values[name.replace("-", "_")].value
      if value is not None and not isinstance(value, bool):
        assert str(value) == default, name


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: str(
    p.relative_to(ROOT)))
def test_links_lead_somewhere(path):
  links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text())
  local = [link for link in links if "://" not in link]
  assert not [link for link in local if not (path.parent / link).exists()]


@pytest.mark.parametrize("name", ["docs/architecture.md", "docs/videos.md",
                                  "docs/train.md", "CONTRIBUTING.md"])
def test_named_files_exist(name):
  text = (ROOT / name).read_text()
  named = re.findall(r"`((?:[\w.]+/)+(?:[\w.]+\.\w+)?)`", text)
  assert not [n for n in named
              if not any((ROOT / top / n).exists() for top in ("", "sora_jax"))]


def test_the_page_has_the_rooms_that_are_checked():
  page = (ROOT / "docs" / "architecture.md").read_text()
  rooms = page[page.index("## Rooms"):page.index("## A clip")]
  assert tuple(re.findall(r"^\| `([\w.]+)` \|", rooms, re.MULTILINE)) == tuple(
      room for room in test_layering.ROOMS if room != "__main__")


@pytest.mark.parametrize("path", [p for p in DOCUMENTS if p.name != "extend.md"],
                         ids=lambda p: str(p.relative_to(ROOT)))
def test_examples_import_what_is_there(path):
  for block in re.findall(r"^```python\n(.*?)^```$", path.read_text(),
                          re.MULTILINE | re.DOTALL):
    for node in ast.walk(ast.parse(block)):
      if isinstance(node, ast.ImportFrom) and node.module.startswith("sora_jax"):
        for alias in node.names:
          try:
            importlib.import_module(f"{node.module}.{alias.name}")
          except ModuleNotFoundError:
            assert hasattr(importlib.import_module(node.module), alias.name)

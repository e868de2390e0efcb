"""What is said of a prompt before it is drawn: its words and its length."""

import dataclasses
import json
import pathlib
import tarfile
import types

import numpy as np
import pytest
import tiny_model

import bad_files
import sora_jax
from sora_jax import main
from sora_jax.cli import drawing
from sora_jax.data.store import latents
from sora_jax.data.store import manifest
from sora_jax.formats import find
from sora_jax.formats import pretrained
from sora_jax.formats import writing
from sora_jax.generation import prompting
from sora_jax.media import video_io
from sora_jax.tasks import dit_model
from sora_jax.text import open_tokenizer
from sora_jax.text import tokenizer as tokenizer_lib
from sora_jax.text import words

pytestmark = pytest.mark.quick_compile

STORED = pathlib.Path(__file__).parent / "stored" / "stored.tar.xz"
CAPTIONS = ["A red Ball moves up", "a red box", "红色的球向左移动"]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
  return tokenizer_lib.train(CAPTIONS * 3, tmp_path_factory.mktemp("t") / "t")


UNKNOWN = {
    "a cat dances on the moon": ["cat", "dances", "on", "the", "moon"],
    "A RED ball, moves Up!": [],
    "two red balls": ["two", "balls"],
    "红色的球": [],
    "红色的月亮向左移动": ["月亮"],
    "猫在月亮上跳舞": ["猫在月亮上跳舞"],
    "red 猫 ball": ["猫"],
    "": [],
}


@pytest.mark.parametrize("text", UNKNOWN)
def test_unknown_words_are_named(tokenizer, text):
  listed = words.count(CAPTIONS)
  assert words.unknown(text, listed, tokenizer) == UNKNOWN[text]
  # Of so few captions every word is a piece: without the list it is the same.
  assert words.unknown(text, (), tokenizer) == UNKNOWN[text]


def test_the_most_frequent_words_come_first(tokenizer):
  listed = words.count(CAPTIONS)
  assert listed[:2] == ("a", "red") and set("红色的球") <= set(listed)
  assert "red" in words.examples(listed, None)
  assert {"red", "ball", "moves"} <= set(words.examples((), tokenizer))


def test_an_open_text_encoder_knows_all_words():
  theirs = open_tokenizer.OpenTokenizer(lambda text: [1], 9, 1, 0)
  assert words.unknown("猫 dances", ("a",), theirs) == []


def test_the_weights_of_the_package_know_their_worlds():
  tiny = pretrained.load(find.find("tiny"), components=())
  ours = tokenizer_lib.load(tiny.tokenizer)
  known = ("a red ball moves to the right", "a purple ball passes behind a wall, "
           "moving right", "A large yellow disc moves down")
  assert [words.unknown(text, tiny.words, ours) for text in known] == [[]] * 3
  assert words.unknown("a cat dances on the moon", tiny.words, ours) == [
      "cat", "dances", "moon"]
  assert words.unknown("红色的球", tiny.words, ours) == ["红色的球"]
  assert {"ball", "red", "triangle"} & set(words.examples((), ours))


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
  """A model folder that lists its words, without guidance."""
  at = tmp_path_factory.mktemp("model")
  model = tiny_model.make(at, 2, 1.0, expand_timesteps=True)
  writing.save(str(at / "old"), model, np.float32)
  writing.save(str(at / "m"), dataclasses.replace(
      model, words=("a", "red", "ball")), np.float32)
  return at


@pytest.mark.slow
def test_a_folder_keeps_its_words(ours, tmp_path):
  folder = ours / "m"
  assert (folder / "tokenizer" / "words.txt").read_text() == "a\nred\nball\n"
  assert "tokenizer/words.txt" in (folder / "SHA256SUMS").read_text()
  assert main.main(["export", f"--model={folder}", f"--out={tmp_path}/x"]) == 0
  assert pretrained.load(str(tmp_path / "x")).words == ("a", "red", "ball")
  assert "3 words, such as red, ball" in repr(sora_jax.load(folder))
  assert not (ours / "old" / "tokenizer" / "words.txt").exists()


def test_export_lists_the_words_of_the_captions(tmp_path, monkeypatch):
  with tarfile.open(STORED) as f:
    f.extractall(tmp_path, filter="data")
  data = manifest.open_manifest(tmp_path / "latents")
  records = [data.record(i) for i in range(len(data))]
  wanted = {word for r in records for caption in latents.decode(r).captions
            for word in words.split(caption)}
  assert len(wanted) > 5
  assert set(dit_model.words_of({"data": {}}, data)) == wanted
  before = types.SimpleNamespace(words=("zebra",))
  monkeypatch.setattr(pretrained, "load", lambda *_, **__: before)
  assert set(dit_model.words_of(
      {"init_from": "tiny", "data": {}}, data)) == wanted | {"zebra"}
  before.words = ()  # what it knew is not known
  assert dit_model.words_of(
      {"init_from": "tiny", "data": {}}, data) == ()
  assert dit_model.words_of(
      {"init_from": "/gone", "data": {}}, data) == ()
  with pytest.raises(ValueError, match="no record of latents"):
    latents.captions_of(b"no record")


@pytest.fixture(autouse=True)
def nothing_is_drawn(monkeypatch):
  """Videos of one grey frame, so that no program is compiled."""
  result = types.SimpleNamespace(frames=lambda: iter(bad_files.moving(1, 32, 48)))
  monkeypatch.setattr(drawing, "draw", lambda *_: result)


def told(capsys, folder, tmp_path, *argv):
  out = tmp_path / "x.png"
  size = [] if "@" in argv[1] else ["--size=48x32"]
  argv = [a.replace("@", f"{tmp_path}/") for a in argv]
  assert main.main([*argv, *size, f"--model={folder}", f"--out={out}"]) == 0
  assert out.exists()
  return capsys.readouterr().err.splitlines()


LONG = "a red ball " * 6
TOLD = {
    ("generate", "--prompt=a 月亮 cat"): [
        "'月亮', 'cat'; they have 3 words such as red, ball"],
    ("generate", "--prompt=a red ball"): [],
    ("generate", f"--prompt={LONG}"): ["has 19 ids and the limit of this model "
                                       "is 9"],
    ("generate", "--prompt=a red ball", f"--negative={LONG}", "--guidance=2"): [
        "--negative has 19 ids"],
    ("generate", "--prompt=a ball", "--negative=a cat", "--guidance=2"): [
        "--negative: the captions of this model do not have 'cat'"],
    ("generate", "--prompt=a", "--negative=a ball"): [
        "--negative does nothing at --guidance=1"],
    ("generate", "--prompt=a", "--negative=a cat", "--guidance=1"): [
        "--negative does nothing at --guidance=1"],
    ("animate", "@a.png", "--prompt=a dog"): ["'dog'"],
    # A loop begins inside a video: one id more.
    ("loop", "--prompt=" + "a red ball " * 2 + "a red"): ["has 10 ids"],
    ("generate", "--prompt=" + "a red ball " * 2 + "a red"): [],
}


@pytest.mark.parametrize("argv", TOLD, ids=" ".join)
def test_prompts_are_told_of(ours, tmp_path, capsys, argv):
  video_io.write(tmp_path / "a.png", bad_files.moving(1, 32, 48), 8)
  lines = told(capsys, ours / "m", tmp_path, *argv)
  assert len(lines) == len(TOLD[argv])
  for line, said in zip(lines, TOLD[argv]):
    assert line.startswith(f"sora-jax {argv[0]}: --") and said in line


def test_a_folder_without_a_list_asks_its_tokenizer(ours, tmp_path, capsys):
  line, = told(capsys, ours / "old", tmp_path, "generate", "--prompt=a red cat")
  assert "may not know 'cat'" in line and "such as" in line


def test_every_prompt_of_a_file_is_told_of(ours, tmp_path, capsys):
  prompts = tmp_path / "p.jsonl"
  prompts.write_text("".join(json.dumps({"prompt": p}) + "\n" for p in (
      "a red ball", "a blue ball", LONG)))
  assert main.main(["generate", f"--prompts={prompts}", f"--model={ours}/m",
                    f"--out={tmp_path}/out", "--size=48x32", "--frames=1"]) == 0
  lines = capsys.readouterr().err.splitlines()
  assert len(lines) == 2
  assert "p.jsonl: prompt 2: --prompt" in lines[0] and "'blue'" in lines[0]
  assert "p.jsonl: prompt 3: --prompt has 19 ids" in lines[1]


def test_python_warns(ours):
  model = sora_jax.load(ours / "m")
  canvas = prompting.text(model.model, (48, 32), 1, 8.)
  assert model.notes(canvas, "a ball") == []
  one, two = model.notes(canvas, ["a cat", "a dog"])
  assert "'cat'" in one and "'dog'" in two
  with pytest.warns(UserWarning, match="'cat'"), pytest.raises(ValueError):
    model.generate("a cat", size=32, frames=1, steps=0)

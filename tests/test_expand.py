"""A longer prompt may add; what drops, contradicts or repeats is not used."""

import dataclasses
import pathlib
import re
import warnings

import jax
import loopback
import numpy as np
import pytest

from sora_jax import contracts
from sora_jax import main
from sora_jax import worlds
from sora_jax.cli import sampling
from sora_jax.data.loading import pair_plan
from sora_jax.data.store import pairs as pairs_lib
from sora_jax.formats import pretrained
from sora_jax.formats import writing
from sora_jax.generation import pipeline
from sora_jax.generation import prompting
from sora_jax.generation import requests
from sora_jax.language import endpoint
from sora_jax.language import expand
from sora_jax.language import keeps
from sora_jax.language import local
from sora_jax.language import pairs
from sora_jax.media import video_io
from sora_jax.models import expander as expander_lib
from sora_jax.text import tokenizer as tokenizer_lib

pytestmark = pytest.mark.quick_compile
SHORT = "a red ball moves to the right"
LONG = "a clip of a small red disc on a grey background. it rolls right."
CAT = "a cat walks on the moon"
FAULTS = {  # (prompt, text) -> what is wrong
    (SHORT, LONG): "",
    ("一个红色的球向右移动", LONG): "",
    (SHORT, LONG.replace("right", "left")): "red.direction is left, not right",
    (SHORT, LONG.replace("red", "blue")): "does not tell|objects is blue",
    (SHORT, LONG.replace("disc", "box")): "red.shape is square, not disc",
    (SHORT, "a small red disc and a blue box move right"): "objects",
    ("a shiny red ball moves to the right", LONG): "drops 'shiny'",
    ("three red balls move right", LONG): "drops 'three'",
    ("a red ball moves left and right",
     "a small red disc moves left on grey."): "drops 'right'",
    ("a yellow ball on sand leaves the frame on the left and comes back",
     "on the sand, a small yellow ball goes out to the left and returns, drawn "
     "with outlines."): "",
    ("a yellow ball on sand leaves the frame on the left and comes back",
     "in the snow, a small yellow ball goes out to the left and returns."):
        "setting is snow, not sand",
    (CAT, "a grey cat walks slowly across the dusty moon under stars."): "",
    (CAT, "a grey cat walks slowly across the lunar dust."): "drops 'moon'",
    (CAT, "a cat walks on the moon. a cat walks on the moon."): "repeats",
    ("running dogs", "two dogs run over a meadow, running fast"): "",
    ("no people", "an empty street"): "drops 'no', 'people'",
    ("一只猫在月亮上走", "一只灰色的猫在满是尘土的月亮上慢慢地走"): "",
    ("一只猫在月亮上走", "a grey cat walks on the moon"): "drops '猫'",
    ("قطة على القمر", "قطة رمادية تمشي على سطح القمر"): "",
    ("👩‍🚀", "a woman in a space suit"): "",
}


@pytest.mark.parametrize("prompt, text", FAULTS)
def test_what_is_wrong_is_found(prompt, text):
  found, wanted = keeps.fault(prompt, text), FAULTS[prompt, text]
  if wanted:
    assert any(w in found for w in wanted.split("|")), found
  else:
    assert found == ""


@pytest.mark.parametrize("name", ("balls", "lookaway", "hidden", "figures",
                                  "painter", "bite", "shatter"))
def test_captions_of_the_same_facts_are_kept_and_of_others_are_not(name):
  world, others = worlds.WORLDS[name], 0
  for seed in range(4):
    facts = world.sample(worlds.key(seed, name), (128, 72), 33, 8.0)
    other = world.what_if(facts, worlds.key(seed, name, "other"))
    for language in ("en", "zh"):
      key = lambda seed=seed: worlds.key(seed, name, "caption")
      short, long = world.describe(facts, key(), language)
      if world.read(short).items() <= world.read(long).items():
        found = keeps.fault(short, long)
        assert not found or "drops 'but', 'not', 'break'" in found, (short, long)
      wrong = world.describe(other, key(), language)[1]
      if not world.read(short).items() <= world.read(wrong).items():
        assert keeps.fault(short, wrong), (short, wrong)
        others += 1
  assert others


@dataclasses.dataclass
class Toy:
  """Says its texts one after the other; an exception is raised."""

  texts: list
  asked: int = 0
  name = "toy"

  def expand(self, prompt, seed=0, seen=""):
    """The next text."""
    self.asked += 1
    text = self.texts[seed % len(self.texts)]
    if isinstance(text, Exception):
      raise text
    return f"{seen}{text}"


def test_it_is_asked_again_until_the_text_is_faithful():
  found = expand.expand(Toy(["a blue ball", "Sorry, no.", ValueError("x"), LONG]),
                        SHORT)
  assert (found.text, found.note, found.tries) == (LONG, "", 4)
  toy = Toy(["a blue ball"])
  found = expand.expand(toy, SHORT)
  assert found.text == SHORT and toy.asked == expand.TRIES == found.tries
  assert "toy was not faithful: it" in found.note


def test_an_expander_that_fails_is_not_asked_again():
  toy = Toy([RuntimeError("out of\nmemory")])
  found = expand.expand(toy, SHORT)
  assert found.text == SHORT and toy.asked == 1
  assert found.note.endswith("out of memory")


@pytest.mark.parametrize("prompt, why", (
    ("", "is empty"), (" \n", "is empty"), ("?! ...", "no word"),
    ("ball " * 2000, "10000 characters"),
    ("a red\x1b[2J ball", r"U+001B"), ("a \u202ered ball", "U+202E"),
    ("a red ball moves left, the red ball moves right", "left, not"),
    ("cat", "drops 'cat'"), ("🐱🐱🐱 🚀", ""), ("كرة حمراء", "drops")))
def test_a_prompt_that_cannot_be_expanded_is_used_as_it_is(prompt, why):
  found = expand.expand(Toy(["a small red ball moves left"]), prompt)
  assert found.text == prompt or not why
  assert why in found.note and "\n" not in found.note and len(found.note) < 200


def test_all_tries_share_the_time_out_of_an_endpoint():
  with loopback.serve(loopback.drip(b"HTTP/1.1 200 OK\r\n\r\n")) as (url, asked):
    found = expand.expand(endpoint.Endpoint(url, "toy", 0.3), SHORT)
  assert found.text == SHORT and "did not answer within 0.3 s" in found.note
  assert len(asked) == 1


def test_python_warns_where_the_prompt_itself_is_used():
  with pytest.warns(UserWarning, match="not faithful"):
    assert expand.checked(Toy(["a cat"]))(SHORT) == SHORT
  with warnings.catch_warnings():
    warnings.simplefilter("error")
    assert expand.checked(Toy([LONG]))(SHORT) == LONG


@pytest.fixture(scope="module")
def model():
  """The default model."""
  return pipeline.load("tiny")


@pytest.fixture
def undrawn(monkeypatch, model):
  """Videos are grey and cost nothing."""
  class Grey:
    """A result."""

    def frames(self):
      """One frame."""
      return iter(self.video())

    def video(self):
      """All frames."""
      return np.full((1, 16, 16, 3), 128, np.uint8)

  drawn = []
  monkeypatch.setattr(sampling, "load", lambda f: model)
  monkeypatch.setattr(pipeline.Pipeline, "draw", lambda self, canvas, prompt, seed,
                      **how: drawn.append(prompt) or Grey())
  return drawn


def test_both_texts_are_printed_and_stand_in_the_file(undrawn, tmp_path, capsys,
                                                      monkeypatch):
  monkeypatch.setattr(prompting, "animate", lambda model, image, frames, fps, *a:
                      prompting.text(model, (16, 16), frames, fps))
  monkeypatch.setenv("SORA_JAX_LLM_KEY", key := "sk-0123456789-of-a-test")
  out = tmp_path / "ball.png"
  with loopback.serve(loopback.chat(LONG)) as (url, asked):
    ask = ["generate", f"--prompt={SHORT}", "--frames=1", "--size=16x16",
           f"--llm_url={url}", "--llm_model=toy"]
    assert main.main([*ask, "--expand=show"]) == 0
    assert not undrawn
    told = capsys.readouterr()
    assert f"prompt: {SHORT}\nexpanded: {LONG}\n" in told.out
    assert main.main([*ask, "--expand", f"--out={out}"]) == 0
    assert capsys.readouterr().out.startswith(told.out)
  assert undrawn == [LONG]
  made = video_io.metadata(out)
  assert (made["asked"], made["prompt"]) == (SHORT, LONG)
  assert key.encode() not in out.read_bytes()
  assert asked[0][0]["Authorization"].endswith(key)
  # The image is described, its caption goes in, and a failure is told.
  with loopback.serve(loopback.chat(LONG)) as (url, asked):
    assert main.main(["animate", str(out), f"--prompt={CAT}", f"--llm_url={url}",
                      "--llm_model=toy", "--expand=show"]) == 0
  assert len(asked) == 1 + expand.TRIES
  assert LONG in asked[1][1]["messages"][0]["content"]
  told = capsys.readouterr()
  assert f"prompt: {CAT}\nexpanded: {CAT}\n" in told.out
  assert "the prompt is used as it is: toy at 127.0.0.1 was not faithful" in told.err


def test_python_is_the_same(undrawn, model):
  video = model.generate(SHORT, (16, 16), 1, expand=expand.checked(Toy([LONG])))
  assert undrawn == [LONG] and video.prompt == LONG and video.made["asked"] == SHORT
  two = requests.Request(None, (SHORT, CAT)).expanded(str.upper)
  assert two.prompt == (SHORT.upper(), CAT.upper())
  assert two.asked == (SHORT, CAT)


@pytest.mark.parametrize("flags, said", (
    (["--llm_url=http://a/v1", "--llm_model=b"], "go with --expand"),
    (["--expand", "--llm_url=http://a/v1"], "go together"),
    (["--expand", "--llm_url=a", "--llm_model=b"], "URL"),
    (["--expand", "--expander=c", "--llm_url=http://a/v1", "--llm_model=b"],
     "not both"),
    (["--expander=a"], "goes with --expand"),
    (["--expand=all"], "write --expand or --expand=show")))
def test_flags_that_do_not_go_together(flags, said, capsys):
  assert main.main(["generate", "--prompt=a ball", "--out=a.mp4", *flags]) == 2
  assert said in capsys.readouterr().err


@pytest.fixture(scope="module")
def few(tmp_path_factory):
  """A folder of pairs of two worlds, with the tokenizer."""
  found = list(pairs.draw(("figures", "bite"), 12))
  return pairs_lib.write(tmp_path_factory.mktemp("pairs"), found)


def test_pairs_keep_what_is_asked_in_both_languages(few):
  assert pairs_lib.open_pairs(few.root) == few
  assert list(pairs.draw(("figures", "bite"), 12)) == list(few.pairs)
  chinese = [short for short, _ in few.pairs if not short.isascii()]
  assert len(few) / 3 < len(chinese) < len(few)
  assert all(long.isascii() for _, long in few.pairs)
  assert not [pair for pair in few.pairs[::6] if keeps.fault(*pair)]


def test_a_batch_follows_from_seed_and_step(few):
  plan = lambda seed: pair_plan.pair_plan(few, pair_plan.PairConfig(4, seed), (64, 80))
  whole, again = plan(0).batch(20), plan(0).batch(20)
  parts = [plan(0).batch(20, contracts.Share((i,), 2)) for i in range(2)]
  joined = jax.tree.map(lambda *x: np.concatenate(x), *parts)
  for a, b, c in zip(*map(jax.tree.leaves, (whole, again, joined))):
    np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(a, c)
  other = plan(1).batch(20)
  assert (other.text.ids != whole.text.ids).any()
  assert plan(0).digest == plan(0).digest != plan(1).digest
  texts = {tuple(ids) for step in range(len(few) // 4)
           for ids in plan(0).batch(step).text.ids.tolist()}
  assert len(texts) > 0.8 * len(few) // 4 * 4  # an epoch shows each once
  short = pair_plan.pair_plan(few, pair_plan.PairConfig(4), (24, 80))
  assert 0 < len(short.kept) < len(few) and "are left out" in short.notes[0]
  with pytest.raises(ValueError, match="no pair has at most 2 and 80 ids"):
    pair_plan.pair_plan(few, pair_plan.PairConfig(4), (2, 80))


def test_bytes_spell_what_captions_lack(few):
  processor = tokenizer_lib.of(few).processor
  text = "a cat 猫 on the moon, 🚀"
  assert processor.decode(processor.encode(text)) == text
  assert tokenizer_lib.UNK not in processor.encode(text)


@pytest.mark.parametrize("line", ('["a"]', '["a", 1]', "{}", "a"))
def test_a_line_that_is_no_pair_is_named(line, tmp_path):
  (tmp_path / pairs_lib.FILE).write_text(f'["a", "b"]\n{line}\n')
  with pytest.raises(ValueError, match='line 2 .*write \\["short", "descriptive"'):
    pairs_lib.open_pairs(tmp_path)


@pytest.mark.slow
def test_an_expander_is_stored_and_writes_the_same(few, tmp_path, undrawn, capsys):
  module = expander_lib.Expander(2048, 16, 1, 1, 2, 32, 64, 12)
  part = pretrained.Component(module, jax.tree.map(
      lambda x: 4 * x, expander_lib.init(module, jax.random.key(0))))
  tokenizer = tokenizer_lib.of(few)
  mine = local.Local("mine", part, tokenizer)
  folder = str(tmp_path / "expander")
  writing.save(folder, pretrained.Model(
      None, np.zeros(0), np.zeros(0), expander=part, tokenizer=tokenizer.model),
      np.float32)
  read = local.load(folder)
  texts = [mine.expand(SHORT, seed) for seed in (0, 0, 1)]
  assert texts[0] == texts[1] != texts[2] == read.expand(SHORT, 1)
  with pytest.raises(ValueError, match="ids, and mine reads at most 64"):
    mine.expand("a red ball " * 50)
  assert main.main(["generate", f"--prompt={SHORT}", "--expand=show",
                    f"--expander={folder}"]) == 0
  told = capsys.readouterr()
  assert f"prompt: {SHORT}\nexpanded: {SHORT}\n" in told.out
  assert f"the prompt is used as it is: {folder} was not faithful" in told.err
  assert not undrawn
  with pytest.raises(ValueError, match="has no expander"):
    local.load("tiny")
  with pytest.raises(ValueError, match="holds a VAE alone|cannot generate"):
    pipeline.load(folder)


def test_the_examples_of_the_document_run(undrawn, model, monkeypatch, capsys):
  monkeypatch.setattr(pipeline, "load", lambda name: model)
  text = (pathlib.Path(__file__).parent.parent / "docs" / "language.md").read_text()
  names: dict = {}
  for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
    exec(block, names)  # pylint: disable=exec-used
  assert undrawn == [f"{SHORT} on a plain grey background"]
  assert capsys.readouterr().out == f"{undrawn[0]}\n{SHORT} {undrawn[0]}\n"
  grey = np.full((1, 4, 4, 3), 200, np.uint8)
  assert names["Bright"]().describe(grey, 8.0) == "a bright clip"


@pytest.mark.parametrize("prompt", (SHORT, "一个蓝色的方块向左移动"))
def test_the_expander_of_the_worlds_adds_and_keeps(prompt):
  found = expand.expand(local.load(), prompt, 0, "")
  assert not found.note and found.text != prompt and found.text.isascii()


def test_the_expander_of_the_worlds_reads_no_emoji():
  found = expand.expand(local.load(), "\U0001f534 ball")
  assert found.text == found.prompt and "reads words alone" in found.note

"""What the commands say of themselves and of mistakes, and names of models."""

import pathlib

import pytest

from sora_jax import main
from sora_jax.formats import pretrained

ROOT = pathlib.Path(__file__).parent.parent
DIT = f"--config={ROOT}/configs/dit.py:test"

pytestmark = pytest.mark.quick_compile


def command(*argv, code=0):
  """Runs a verb in this process."""
  assert main.main([str(a) for a in argv]) == code


@pytest.mark.slow
def test_a_model_may_be_named_all_along(tmp_path):
  command("prepare", "world:balls", f"--out={tmp_path}/data", "--count=24",
          "--size=32x32", "--frames=1", "--workers=0", "--test_share=0")
  command("encode", "--vae=tiny", f"--data={tmp_path}/data",
          f"--out={tmp_path}/latents")
  command("train", DIT, f"--data={tmp_path}/latents", "--vae=tiny",
          f"--workdir={tmp_path}/run", "--config.steps=1",
          "--config.optimizer.name=adamw", "--config.loop.preview_every=0",
          "--config.data.shapes=((2, 64),)")
  command("export", f"--workdir={tmp_path}/run", f"--out={tmp_path}/model")
  assert pretrained.load(str(tmp_path / "model")).vae.module.z == 16


@pytest.mark.parametrize("argv, what", [
    ([DIT, "--config.optimiser.learning_rate=1"], "optimizer.learning_rate"),
    (["--config=configs/nothing.py:tiny"], "no config file"),
    ([DIT.replace(":test", ":huge")], "huge"),
    ([], "--config=FILE:VARIANT")])
def test_config_mistakes_name_what_is_right(tmp_path, capsys, argv, what):
  command("train", *argv, f"--data={tmp_path}", f"--workdir={tmp_path}/w",
          code=2)
  assert what in capsys.readouterr().err


def test_an_unknown_verb_names_the_nearest(capsys):
  command("generat", code=2)
  assert "did you mean generate" in capsys.readouterr().err


@pytest.mark.parametrize("verb, flag", [
    *zip(main.VERBS, [""] * len(main.VERBS)), ("train", "--config"),
    ("prepare", "--vocab"), ("generate", "--method=euler|ab2|ancestral|heun|folder"),
    ("loop", "--[no]grid"), ("plan", "--topology"), ("plan-data", "--shards")])
def test_help_lists_the_flags_of_every_verb(verb, flag, capsys):
  command(verb, "--help")
  out = capsys.readouterr().out
  assert out.startswith(f"`sora-jax {verb}") and "\nflags:\n  --" in out
  assert f"\n  {flag}" in out and "\n      " in out
  assert max(map(len, out.splitlines())) <= 80


def test_help_wins_over_a_flag_that_is_wrong(capsys):
  command("train", "--config=configs/none.py", "--steps", "--help")
  assert "--max_seconds" in capsys.readouterr().out

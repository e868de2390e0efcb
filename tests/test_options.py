"""Flags that have a new name are refused by their old one."""

import pytest

from sora_jax import main
from sora_jax.cli import options


@pytest.mark.parametrize("old", ["--speed=8", "-speed", "--nospeed"])
def test_an_old_flag_names_the_new_one(monkeypatch, capsys, old):
  monkeypatch.setitem(options.RENAMED_FLAGS, "speed", "fps")
  assert main.main(["animate", "x.png", old]) == 2
  error = capsys.readouterr().err
  assert error == "sora-jax animate: --speed is called --fps now\n"


def test_a_verb_without_the_new_flag_does_not_know_the_old_one(
    monkeypatch, capsys):
  monkeypatch.setitem(options.RENAMED_FLAGS, "speed", "fps")
  assert main.main(["encode", "--speed=8"]) == 2
  assert "Unknown command line flag 'speed'" in capsys.readouterr().err

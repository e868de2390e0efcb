"""The flags of a verb: its arguments, and what is said of old names."""

import inspect

import pytest

from sora_jax import main
from sora_jax.cli import options
from sora_jax.cli import sampling
from sora_jax.generation import pipeline
from sora_jax.generation import requests


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


@pytest.mark.parametrize("old, new", [
    ("--tails=1", "suffixes"), ("--stills=1", "keyframes"),
    ("--noboxes", "regions")])
def test_old_flags_of_encode(capsys, old, new):
  assert main.main(["encode", old]) == 2
  assert capsys.readouterr().err.endswith(f" is called --{new} now\n")


INPUTS = {"self", "image", "video", "a", "b"}
VERBS = [name for name in vars(requests.Requests) if not name.startswith("_")]


@pytest.mark.parametrize("verb", VERBS)
def test_the_arguments_of_a_verb_are_its_flags(verb):
  request = getattr(requests.Requests, verb)
  f = sampling.define(request)
  for name, argument in inspect.signature(request).parameters.items():
    if name in INPUTS or name == "region":  # cli/inpaint.py reads it
      continue
    assert name in f and f[name].help
    if argument.default is not argument.empty:
      assert f[name].default == argument.default, name


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_is_a_method_of_the_pipeline_and_of_the_command_line(verb):
  assert getattr(pipeline.Pipeline, verb).__wrapped__ is getattr(
      requests.Requests, verb)
  assert verb in main.VERBS


def test_the_help_of_a_flag_is_the_line_of_its_argument(capsys):
  assert main.main(["extend", "--help"]) == 0
  assert ("Number of new frames, on each side if --direction=both. By default "
          "16." in capsys.readouterr().out)

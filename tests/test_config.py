"""A config that cannot be used is refused in one line."""

import experiment
import pytest

from sora_jax import main
from sora_jax.tasks import check
from sora_jax.tasks import config

DIT = "configs/dit.py:tiny"
WRONG = experiment.load("faults/configs")
BAD = {
    "syntax": ("def get_config(:\n", "SyntaxError"),
    "raises": ("def get_config():\n  return {}['k']\n", "KeyError: 'k'"),
    "refuses": ("def get_config():\n  raise ValueError('no such size')\n",
                "no such size"),
    "number": ("def get_config():\n  return 3\n", "gives int"),
    "kind": ("import ml_collections\n\ndef get_config():\n"
             "  return ml_collections.ConfigDict({'kind': 'foo'})\n",
             "kind is 'foo'"),
}


def refused(verb, capsys, *flags):
  assert main.main([verb, *flags, "--data=/nowhere"]) == 2
  error = capsys.readouterr().err
  assert error.count("\n") == 1 and "Traceback" not in error
  return error


@pytest.mark.parametrize("text, said", BAD.values(), ids=BAD.keys())
def test_a_bad_config_file(tmp_path, capsys, text, said):
  (tmp_path / "x.py").write_text(text)
  error = refused("plan-data", capsys, f"--config={tmp_path}/x.py")
  assert f"{tmp_path}/x.py: " in error and said in error


@pytest.mark.parametrize("verb", ["plan-data", "train"])
@pytest.mark.parametrize("flags", [["--config.kind=foo"],
                                   ["--config.kind", "vae"]])
def test_the_kind_is_the_files(capsys, verb, flags):
  error = refused(verb, capsys, f"--config={DIT}", *flags)
  assert "--config.kind=" in error and "is of kind dit" in error


def test_a_variant_that_there_is_not(capsys):
  error = refused("plan-data", capsys, "--config=configs/dit.py:nope")
  assert "no variant 'nope'" in error and "tiny_cpu" in error


@pytest.mark.parametrize("config, flag, said", [
    ("configs/dit.py:wan_1_3b", "data.masks=()", "data.masks is called "
     "data.conditioning now"),
    ("configs/dit.py:test", "data.block=9", "data.block is called data.chunk")])
def test_an_old_key_names_the_new_one(capsys, config, flag, said):
  assert said in refused("train", capsys, f"--config={config}",
                         f"--config.{flag}", "--workdir=/nowhere")


def test_the_config_of_an_older_run_is_read_in_new_names():
  saved = {"data": {"masks": [["stills", 0.2], ["interior", 0.0]], "block": 9}}
  assert config.with_new_names(saved) == {"data": {
      "conditioning": [["keyframes", 0.2], ["interior", 0.0]], "chunk": 9}}


@pytest.mark.parametrize("file, key, value", WRONG.cases()[::4], ids=str)
def test_a_wrong_value_is_one_line_with_its_key(file, key, value, monkeypatch):
  monkeypatch.chdir(experiment.ROOT)
  code, said = WRONG.from_flags(file, key, value)
  assert code == 2 and WRONG.is_good(key, said), said
  assert WRONG.is_good(key, told := WRONG.from_python(file, key, value)), told


@pytest.mark.parametrize("change, said", [
    (lambda c: c.update(loop=3), "loop is 3, it must be a section"),
    (lambda c: c["optimizer"].update(lr=1), "there is no key lr, the nearest"),
    (lambda c: c["text_encoder"].pop("vocab"), "text_encoder.vocab is missing"),
    (lambda c: c["sampling"].update(step=1), "no key step, the nearest is steps"),
    (lambda c: c["optimizer"].update(accumulate=3), "must divide the 4 rows"),
    (lambda c: c["data"].update(conditioning=(("first", -1.),)), "first is -1.0"),
    (lambda c: c["data"].update(conditioning=3), "conditioning is 3"),
    (lambda c: c.pop("preview"), "the key preview is missing")])
def test_a_wrong_section_is_one_line(change, said):
  cfg = config.load(f"{experiment.ROOT}/configs/dit.py:test").to_dict()
  change(cfg)
  told = WRONG.train(cfg)
  assert said in told and "\n" not in told, told


@pytest.mark.parametrize("file", ["dit", "vae"])
def test_every_variant_is_taken(file):
  path = f"{experiment.ROOT}/configs/{file}.py"
  names = {"dit": "tiny tiny_cpu test wan_1_3b wan_14b wan_5b s b l xl 3b 14b",
           "vae": "tiny tiny_cpu tiny_decoder worlds test wan_2_1 wan_2_2 base "
                  "large"}[file]
  for name in names.split():
    check.check(config.load(f"{path}:{name}"))

"""Samples of the sweeps of experiments/faults, which try thousands of cases."""

import os

import experiment

DATA = experiment.load("faults/data")
FLAGS = experiment.load("faults/flags")


def test_edited_data_sets_are_read_or_one_line(tmp_path):
  folders = DATA.make(tmp_path)
  cases = DATA.cases(folders)
  assert len(cases) == DATA.CASES
  verdicts = []
  for i, case in enumerate(cases[::8]):
    verdict, said = DATA.judge(case[0], folders[case[0]], case, tmp_path / str(i))
    assert verdict != "BAD", (case, said)
    verdicts.append(verdict)
  assert {"taken", "one line"} == set(verdicts)
  for name in ("train.npy", DATA.SHARD):
    for what in ("gone", "pipe", "half"):
      case = ("latents", what, name, None)
      assert DATA.judge("latents", folders["latents"], case,
                        tmp_path / "x")[0] == "one line", case


def test_wrong_values_of_flags_are_one_line(tmp_path, monkeypatch):
  monkeypatch.setenv("HF_HUB_OFFLINE", "1")
  os.symlink(experiment.ROOT / "configs", tmp_path / "configs")
  monkeypatch.chdir(tmp_path)
  cases = FLAGS.cases()
  assert len(cases) > 2500
  verdicts = []
  for verb, flag, value in cases[::41]:
    verdict, said = FLAGS.judge(verb, flag, value)
    assert verdict != "BAD", (verb, flag, value, said)
    verdicts.append(verdict)
  assert verdicts.count("refused") > len(verdicts) / 2
  assert FLAGS.judge("train", "nothing", "3")[0] == "refused"
